"""Functions outside the command line have at most 60 lines and 8 parameters, modules at most 500 lines."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "kgdistill"
LINES, PARAMETERS, MODULE_LINES = 60, 8, 500


def functions(node: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (f for f in ast.walk(node) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef))


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many it takes; `self` is none."""
    a = function.args
    every = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))]
    return len(every) - (bool(every) and every[0].arg in ("self", "cls"))


def too_large(source: str) -> list[str]:
    """Names of functions over either bound."""
    return [
        f.name
        for f in functions(ast.parse(source))
        if (f.end_lineno or 0) - f.lineno + 1 > LINES or parameters(f) > PARAMETERS
    ]


def test_functions_outside_the_command_line_and_modules_keep_their_size() -> None:
    files = {p.relative_to(PACKAGE).as_posix(): p.read_text("utf-8") for p in PACKAGE.rglob("*.py")}
    long = sorted(name for name, text in files.items() if len(text.splitlines()) > MODULE_LINES)
    assert not long, f"over {MODULE_LINES} lines: {long}"
    over = sorted(
        f"{name}:{function}"
        for name, text in files.items()
        if not name.startswith("cli/")
        for function in too_large(text)
    )
    assert not over, f"over {LINES} lines or {PARAMETERS} parameters: {over}"


def test_what_is_too_large_is_seen() -> None:
    body = "    pass\n" * LINES
    assert too_large(f"def long():\n{body}") == ["long"]
    assert too_large(f"def fits():\n{body[: -len('    pass' + chr(10))]}") == []
    names = ", ".join("abcdefgh")
    assert too_large(
        f"class C:\n    def eight(self, {names}): pass\n    def nine(self, {names}, *, i): pass"
    ) == ["nine"]
