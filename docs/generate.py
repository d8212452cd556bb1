"""Writes the parts of the documentation that are made from the code: `make docs`."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from kgdistill.cli._reference import reference
from kgdistill.ingest.mapping import mapping_json_schema
from kgdistill.store import load_schema
from kgdistill.store.picture import mermaid

ROOT = Path(__file__).resolve().parents[1]


def pages() -> dict[Path, str]:
    """Every generated page and its text."""
    picture = ROOT / "graph" / "README.md"
    drawn = f"```mermaid\n{mermaid(load_schema())}```"
    text = re.sub(r"```mermaid\n.*?```", lambda _: drawn, picture.read_text(encoding="utf-8"), flags=re.S)
    return {
        ROOT / "docs" / "cli.md": reference(),
        picture: text,
        ROOT / "kgdistill" / "ingest" / "mapping.schema.json": mapping_json_schema(),
    }


if __name__ == "__main__":
    # Help would name the value that the environment happens to hold.
    os.environ.pop("KGDISTILL_STORE", None)
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")
        print(page.relative_to(ROOT), file=sys.stderr)
