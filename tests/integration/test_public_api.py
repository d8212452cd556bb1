"""The curated names at the top of the package."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import kgdistill
from kgdistill.errors import ToolMissingError

ROOT = Path(__file__).parents[2]


def test_every_public_name_is_there_and_shown() -> None:
    assert set(kgdistill.__all__) == {*kgdistill._WHERE, "__version__"}
    assert dir(kgdistill) == sorted(kgdistill.__all__)
    for name in kgdistill.__all__:
        assert getattr(kgdistill, name)
    assert len(kgdistill.__all__) <= 16
    assert re.fullmatch(r"\d+\.\d+\.\d+", kgdistill.__version__)


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'grpah'"):
        kgdistill.grpah  # noqa: B018


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, kgdistill; print([m for m in ('torch', 'pandas', 'pyarrow') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_serving_and_exploring_load_no_library_of_an_extra() -> None:
    code = (
        "import sys, kgdistill as kg\n"
        "from kgdistill import explore\n"
        "kg.Graph, kg.Bundle, kg.load, kg.open_store, kg.KgdistillError\n"
        "explore.explain, explore.run_query, explore.write_back, explore.count_types\n"
        "from kgdistill.refusals import _LIBRARIES\n"
        "print(sorted(_LIBRARIES & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("module", "library", "extra"),
    [
        ("kgdistill.train.teacher", "torch", "train"),
        ("kgdistill.train.teacher", "scipy", "train"),
        ("kgdistill.ingest.job", "duckdb", "ingest"),
        ("kgdistill.derive.also_bought", "scipy", "ingest"),
        ("kgdistill.explore.picture", "matplotlib", "ingest"),
    ],
)
def test_what_an_absent_library_needs_is_one_line(module: str, library: str, extra: str) -> None:
    code = (
        f"import sys\nsys.modules['{library}'] = None\n"
        "import importlib\nfrom kgdistill.refusals import refusal\n"
        f"try:\n    importlib.import_module('{module}')\n"
        "except ImportError as error:\n    print(refusal(error))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == f"this needs {library}, which is not installed\n  pip install 'kgdistill[{extra}]'\n"


def test_a_public_name_whose_library_is_absent_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "kgdistill.train.losses", raising=False)
    monkeypatch.setitem(kgdistill._WHERE, "Fitted", ("train.losses", "list_loss"))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ToolMissingError, match=r"pip install 'kgdistill\[train\]'"):
        kgdistill.Fitted  # noqa: B018
