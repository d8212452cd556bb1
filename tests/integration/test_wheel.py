"""The built wheel with its base dependencies alone: what it holds, does, and says is missing."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import sysconfig
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from _load_script import load_script
from packaging.requirements import Requirement

from kgdistill import Graph

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), "."]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("kgdistill-*.whl"))


def base_distributions(wheel: Path) -> set[str]:
    """The names of what the wheel needs without an extra, and of what that needs."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        asked = Parser().parsestr(archive.read(metadata).decode()).get_all("Requires-Dist") or []
    names: set[str] = set()
    wanted = [(Requirement(text), "") for text in asked]
    while wanted:
        requirement, extra = wanted.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        for own in ("", *requirement.extras):
            if f"{requirement.name}[{own}]" not in names:
                names.add(f"{requirement.name}[{own}]")
                needs = importlib.metadata.requires(requirement.name) or []
                wanted += [(Requirement(text), own) for text in needs]
    return {name.partition("[")[0] for name in names}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's package and what it needs, in a folder of their own, which the checkout is not on."""
    folder = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(wheel).extractall(folder)
    purelib = Path(sysconfig.get_path("purelib"))
    for name in base_distributions(wheel):
        for file in importlib.metadata.files(name) or []:
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (folder / top).exists():
                (folder / top).symlink_to(purelib / top)
    (folder / "run.py").write_text(
        f"import sys\nsys.path[:0] = [{str(folder)!r}]\n"
        "from kgdistill.cli import main\n"
        "if sys.argv[1] == '-c':\n    exec(sys.argv[2])\nelse:\n    sys.exit(main(sys.argv[1:]))\n"
    )
    return folder


def run(installed: Path, work: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    # -I -S: neither the environment's paths nor its .pth files, which lead to the checkout.
    command = [sys.executable, "-I", "-S", str(installed / "run.py"), *arguments]
    return subprocess.run(
        command, cwd=work, env=os.environ | more, capture_output=True, text=True, timeout=300
    )


def test_the_wheel_holds_the_package_and_the_graphs_files_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "kgdistill/py.typed",
        "kgdistill/_graph/schema.yaml",
        "kgdistill/_graph/queries/why.neo4j.cypher",
        "kgdistill/page/static/vendor/cytoscape.min.js",
        "kgdistill/page/static/vendor/cytoscape.LICENSE",
        "kgdistill/page/templates/parts/found.html.j2",
    ):
        assert wanted in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"kgdistill"}
    assert not [name for name in names if "/tests/" in name or name.endswith((".pyc", ".bak"))]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that another machine filled."""
    folder = tmp_path_factory.mktemp("shop")
    with Graph(f"ladybug:{folder / 'shop.db'}") as graph:
        graph.ingest(ROOT / "data" / "sample_shop")
    return folder


def test_it_watches_statements_without_extras(installed: Path, tmp_path: Path) -> None:
    script = ROOT / "data" / "sample_statements" / "make.py"
    subprocess.run([sys.executable, str(script), str(tmp_path / "s.jsonl")], check=True)
    done = run(installed, tmp_path, "watch", "s.jsonl", "--state", "state.json")
    assert done.returncode == 0, done.stderr
    assert "tea: a surge of negatives" in done.stdout
    drawn = run(installed, tmp_path, "watch", "s.jsonl", "--page", "page.html")
    assert drawn.returncode == 2
    assert "pip install 'kgdistill[ingest]'" in drawn.stderr


def test_it_needs_no_training_library(wheel: Path) -> None:
    heavy = {"torch", "torch-geometric", "transformers", "sentence-transformers", "scipy", "pandas", "duckdb"}
    assert not heavy & base_distributions(wheel)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["--help"], "Distils a shop's knowledge graph"),
        (["query", "list"], "history_of_user"),
        (["query", "run", "history_of_user", "-p", "user=ann", "--json"], "Green tea"),
        (["query", "MATCH (p:Product) RETURN count(p) AS n"], "n"),
        (["explain", "ann", "tea-2"], "bought Green tea"),
        (["store", "stats"], "Product"),
        (["neo4j", "status", "--folder", "none"], ""),
    ],
)
def test_it_explores_without_extras(installed: Path, shop: Path, command: list[str], says: str) -> None:
    done = run(installed, shop, *command, **{"KGDISTILL_STORE": "ladybug:shop.db"})
    assert done.returncode == 0 or not says, done.stderr
    assert says in done.stdout
    assert "Traceback" not in done.stderr


def test_a_bundle_answers_without_extras(installed: Path, tmp_path: Path) -> None:
    bundle = load_script("bench/serving.py").random_bundle(60, text=True)
    bundle.save(tmp_path / "bundle")
    told = run(installed, tmp_path, "recommend", "--bundle", "bundle", "--history", bundle.keys[0], "-k", "3")
    assert told.returncode == 0, told.stderr
    assert "rests on what was bought before" in told.stderr
    code = (
        "import kgdistill as kg\n"
        "bundle = kg.load('bundle')\n"
        "print(len(bundle.recommend(bundle.keys[:2], k=5)), len(bundle.search('green tea', k=4)))\n"
        "print(len(bundle.similar(bundle.keys[0], k=3)))\n"
        "bundle.add_items(['green tea'], ids=['new'])\n"
    )
    done = run(installed, tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "5 4\n3\n"


def test_a_run_is_made_where_the_extra_is(installed: Path, shop: Path) -> None:
    code = (
        "import kgdistill as kg\n"
        "graph = kg.Graph('ladybug:shop.db')\n"
        "print(graph.history('ann'), graph.explain('ann', 'tea-2')[0])\n"
        "try:\n    kg.Run.create('runs/mine', graph).fit()\n"
        "except kg.KgdistillError as error:\n    print(error)"
    )
    done = run(installed, shop, "-c", code)
    assert done.returncode == 0, done.stderr
    assert "bought Green tea" in done.stdout
    assert "pip install 'kgdistill[train]'" in done.stdout


def test_it_reaches_a_neo4j_without_extras(installed: Path, shop: Path) -> None:
    done = run(
        installed, shop, "store", "stats", "--store", "bolt://127.0.0.1:9", KGDISTILL_NEO4J_PASSWORD="x"
    )
    assert done.returncode == 2
    assert "no Neo4j answers there" in done.stderr


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (["ingest", "folder", "{data}/sample_shop", "--store", "ladybug:s.db"], "ingest"),
        (["derive", "also-bought", "--cut", "2024-03-01"], "ingest"),
        (["graph", "check"], "ingest"),
        (["explain", "ann", "tea-2", "--picture", "why.png"], "ingest"),
        (["explore", "--port", "0"], "page"),
        (["demo", "--quick", "--out", "demo"], "demo"),
    ],
)
def test_what_an_extra_brings_is_named_where_it_is_missing(
    installed: Path, shop: Path, command: list[str], extra: str
) -> None:
    filled = [word.format(data=ROOT / "data") for word in command]
    done = run(installed, shop, *filled, KGDISTILL_STORE="ladybug:shop.db")
    assert done.returncode == 2
    assert f"pip install 'kgdistill[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr
