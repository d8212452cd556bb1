"""Files of aliases: CSV with the columns `alias` and `name`, or YAML with a key for each alias."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from kgdistill.declared import parse_yaml
from kgdistill.errors import InputError
from kgdistill.ingest.aliases import resolved
from kgdistill.ingest.readers import Source
from kgdistill.ingest.readers.detect import encoding_of, scan

_COLUMNS = ["alias", "name"]


def read_aliases(file: Path) -> dict[str, str]:
    """The aliases of a file, each with the name at the end of its chain.

    Raises:
        InputError: there is no such file, it is not of its form, an alias stands twice, or aliases lead in a
            circle.
    """
    if not file.is_file():
        hint = "kgdistill graph check --aliases FILE drafts one"
        raise InputError("there is no such alias file", where=str(file), hint=hint)
    pairs = _of_yaml(file) if file.suffix.lower() in (".yaml", ".yml") else _of_csv(file)
    places: dict[str, str] = {}
    for place, alias, _ in pairs:
        if alias in places:
            told = f"the alias {alias!r} stands twice, first in {places[alias]}"
            raise InputError(told, where=f"{file}, {place}", hint="leave one of them")
        places[alias] = place
    return resolved([(alias, name) for _, alias, name in pairs], str(file))


def _text(file: Path) -> str:
    """The file's text, in the encoding that its bytes tell."""
    source = Source(file.name, file)
    if not file.stat().st_size:
        return ""
    encoding = encoding_of(source, scan(source)).name
    return file.read_bytes().decode(encoding, "replace").removeprefix("\ufeff")


def _of_csv(file: Path) -> list[tuple[str, str, str]]:
    rows = csv.reader(io.StringIO(_text(file), newline=""), strict=True)
    found: list[tuple[str, str, str]] = []
    try:
        header = [cell.strip() for cell in next(rows, [])]
        if header != _COLUMNS:
            told = f"has the columns {', '.join(header)}, not alias, name" if header else "is empty"
            raise InputError(told, where=f"{file}, line 1", hint="the first line is: alias,name")
        for cells in rows:
            line = f"line {rows.line_num:,}"
            some = [cell.strip() for cell in cells]
            if any(some) and (len(some) != 2 or not all(some)):
                told = f"holds {', '.join(some)}, not an alias and a name"
                raise InputError(told, where=f"{file}, {line}", hint="quote a name with a comma in it")
            if any(some):
                found.append((line, some[0], some[1]))
    except csv.Error as error:
        raise InputError(f"is not CSV: {error}", where=f"{file}, line {rows.line_num:,}") from error
    return found


def _of_yaml(file: Path) -> list[tuple[str, str, str]]:
    raw = parse_yaml(_text(file), where=str(file))
    if not isinstance(raw, dict) or not all(isinstance(t, str) and t.strip() for p in raw.items() for t in p):
        raise InputError("is not a text for each text", where=str(file), hint="such as: SUPOR: 苏泊尔")
    return [(f"key {alias}", alias.strip(), name.strip()) for alias, name in raw.items()]
