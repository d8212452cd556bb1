"""Writes the parts of the documentation that are made from the code: `make docs`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from kgdistill.cli.reference import reference
from kgdistill.config import RunConfig
from kgdistill.explore import saved_queries
from kgdistill.ingest.mapping.load import mapping_json_schema
from kgdistill.store import load_schema
from kgdistill.store.picture import mermaid
from kgdistill.store.schema import Property
from kgdistill.tasks.spec import task_json_schema

ROOT = Path(__file__).resolve().parents[1]
_HEAD = ["| key | default | what it is |", "| --- | --- | --- |"]


def settings() -> str:
    """Every key of a configuration file in Markdown."""
    parts = [
        "# Settings\n\nThe keys of `--config FILE.yaml` (`kgdistill snapshot`), made from the code by "
        "`make docs`; a test compares. What is left out keeps its default; an unknown key is refused with "
        "the nearest valid one. `RUN/config.json` says what is in force. Words are explained in the "
        "[training.md](training.md#words).\n"
    ]
    top = []
    for name, field in RunConfig.model_fields.items():
        model = field.annotation
        if not isinstance(model, type) or not issubclass(model, BaseModel):
            top.append(_row(name, field))
            continue
        about = field.description if name == "protocol" else (model.__doc__ or "").strip()
        rows = [_row(key, inner) for key, inner in model.model_fields.items()]
        parts.append("\n".join([f"## {name}\n", f"{about}\n", *_HEAD, *rows]) + "\n")
    parts.insert(1, "\n".join(["## At the top\n", *_HEAD, *top]) + "\n")
    return "\n".join(parts)


def _row(name: str, field: FieldInfo) -> str:
    words = " ".join((field.description or "").split()).rstrip(".")
    if not words:
        raise SystemExit(f"docs/generate.py: nothing is said of the key {name!r}")
    if get_origin(field.annotation) is Literal:
        words += f" ({', '.join(get_args(field.annotation))})"
    given = "" if field.is_required() else field.get_default(call_default_factory=True)
    if isinstance(given, BaseModel):
        given = getattr(given, "name", "")
    if isinstance(given, tuple | list):
        given = "[" + ", ".join(map(str, given)) + "]"
    shown = "" if given in ("", None) else f"`{str(given).lower() if isinstance(given, bool) else given}`"
    return f"| {name} | {shown} | {words} |"


def catalogue() -> str:
    """Every saved query in Markdown."""
    rows = ["| query | asks | takes |", "| --- | --- | --- |"]
    for query in saved_queries():
        takes = ", ".join(
            f"`{p.name}`" + ("" if p.default is None else f" = {p.default}") for p in query.parameters
        )
        asks = f"**{query.title}.** {query.description}".replace("|", "\\|")
        rows.append(f"| `{query.name}` | {asks} | {takes} |")
    return (
        "# Saved queries\n\nMade from the heads of `graph/queries/*.cypher` by `make docs`; a test compares. "
        "`kgdistill query show NAME` says more of one, [exploring.md](exploring.md#saved-queries) how "
        "they run.\n\n" + "\n".join(rows) + "\n"
    )


def data_model() -> str:
    """Every type of the schema in Markdown."""
    schema = load_schema()
    parts = [
        "# Data model\n\nMade from `graph/schema.yaml` by `make docs`; a test compares. "
        "[The graph](../graph/README.md) says what the kinds mean and draws it. `!` marks what must be "
        "there, *sensitive* what nothing is aimed by, *cumulative* what later events change, so that a "
        "snapshot leaves it out, *planned* a time that is known beforehand.\n",
        "## Nodes\n\n| label | is | key | properties |\n| --- | --- | --- | --- |",
    ]
    for label, node in schema.nodes.items():
        parts.append(f"| {label} | {_cell(node.description)} | {node.key} | {_properties(node.properties)} |")
    parts.append(
        "\n## Relationships\n\n| type | kind | leads | is | properties |\n| --- | --- | --- | --- | --- |"
    )
    for name, rel in schema.relationships.items():
        ends = "<br>".join(f"{source} → {target}" for source, target in rel.endpoints)
        kind = rel.kind + (", sensitive" if rel.sensitive else "")
        about = _cell(rel.description)
        parts.append(f"| {name} | {kind} | {ends} | {about} | {_properties(rel.properties)} |")
    return "\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _properties(properties: Mapping[str, Property]) -> str:
    shown = []
    for name, prop in properties.items():
        marks = [mark for mark in ("sensitive", "cumulative", "planned") if getattr(prop, mark)]
        about = ", ".join([prop.type, *(f"*{mark}*" for mark in marks)])
        words = f": {_cell(prop.description)}" if prop.description else ""
        shown.append(f"`{name}`{'!' if prop.required else ''} ({about}){words}")
    return "<br>".join(shown)


def pages() -> dict[Path, str]:
    """Every generated page and its text."""
    picture = ROOT / "graph" / "README.md"
    drawn = f"```mermaid\n{mermaid(load_schema())}```"
    text = re.sub(r"```mermaid\n.*?```", lambda _: drawn, picture.read_text(encoding="utf-8"), flags=re.S)
    return {
        ROOT / "docs" / "cli.md": reference(),
        ROOT / "docs" / "settings.md": settings(),
        ROOT / "docs" / "saved-queries.md": catalogue(),
        ROOT / "docs" / "data-model.md": data_model(),
        picture: text,
        ROOT / "kgdistill" / "ingest" / "mapping.schema.json": mapping_json_schema(),
        ROOT / "kgdistill" / "tasks" / "task.schema.json": task_json_schema(),
    }


if __name__ == "__main__":
    # Help would name the value that the environment happens to hold.
    os.environ.pop("KGDISTILL_STORE", None)
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")
        print(page.relative_to(ROOT), file=sys.stderr)
