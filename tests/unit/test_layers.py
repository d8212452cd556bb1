"""The packages stand on one another in one order, and no module reaches into another package's insides."""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
# From the ground up; those of one line do not know of each other.
LAYERS = (
    ("errors", "arrays", "resources", "nearest", "private", "plain"),
    ("whole_file",),
    ("moment", "progress", "refusals", "plotting", "pages", "words", "units", "declared", "listed"),
    ("store", "wording"),
    ("ranking", "snapshot", "ingest", "graphcheck"),
    ("derive", "tasks", "explore"),
    ("datasets", "config", "models"),
    ("train", "evaluate", "serve", "watch"),
    ("run",),
    ("graph",),
    ("demo", "page"),
    ("cli",),
)
LEVEL = {package: level for level, packages in enumerate(LAYERS) for package in packages}


class Import(NamedTuple):
    source: str
    target: str
    names: tuple[str, ...]
    typing_only: bool


def modules(root: Path) -> dict[str, Path]:
    return {
        ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): file
        for file in root.joinpath("kgdistill").rglob("*.py")
    }


@cache
def parsed(root: Path) -> dict[str, ast.Module]:
    return {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in modules(root).items()}


@cache
def imports(root: Path) -> tuple[Import, ...]:
    known = parsed(root)
    found: list[Import] = []
    for name, tree in known.items():
        typing = {
            inner
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "kgdistill":
                assert node.module
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    target = inner if inner in known else node.module
                    found.append(Import(name, target, (alias.name,), node in typing))
    return tuple(found)


def package(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_no_arrow_leads_upwards() -> None:
    wrong = [
        f"{i.source} imports {i.target}"
        for i in imports(ROOT)
        if package(i.source) not in ("", "__main__")
        and package(i.source) != package(i.target)
        and LEVEL[package(i.source)] <= LEVEL[package(i.target)]
    ]
    assert wrong == []


def test_no_module_needs_itself() -> None:
    edges: dict[str, set[str]] = {}
    for i in imports(ROOT):
        if not i.typing_only:
            edges.setdefault(i.source, set()).add(i.target)
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join((*way[way.index(module) :], module))
        if module not in done:
            for target in sorted(edges.get(module, ())):
                visit(target, (*way, module))
            done.add(module)

    for module in sorted(edges):
        visit(module, ())


def test_nobody_imports_the_insides_of_another_package() -> None:
    wrong = [
        f"{i.source} imports {i.target}: {', '.join(i.names)}"
        for i in imports(ROOT)
        if package(i.source) != package(i.target)
        and any(part.startswith("_") for part in (*i.target.split("."), *i.names) if part != "__main__")
    ]
    assert wrong == []


def test_every_package_has_its_place() -> None:
    top = {package(name) for name in modules(ROOT)} - {"", "__main__"}
    assert top == set(LEVEL)


def test_a_class_name_stands_once() -> None:
    names = Counter(
        node.name
        for tree in parsed(ROOT).values()
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert sorted(name for name, count in names.items() if count > 1) == []


@pytest.mark.parametrize(
    ("line", "test"),
    [
        ("from kgdistill.cli import main", test_no_arrow_leads_upwards),
        ("from kgdistill.store.schema import _Model", test_nobody_imports_the_insides_of_another_package),
    ],
)
def test_the_tests_see_what_is_wrong(
    line: str, test: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for layer in LAYERS:
        for name in layer:
            (tmp_path / "kgdistill" / name).mkdir(parents=True)
            (tmp_path / "kgdistill" / name / "__init__.py").write_text("")
    (tmp_path / "kgdistill" / "snapshot" / "take.py").write_text(line)
    monkeypatch.setattr("test_layers.ROOT", tmp_path)
    assert callable(test)
    with pytest.raises(AssertionError, match=r"snapshot\.take"):
        test()
