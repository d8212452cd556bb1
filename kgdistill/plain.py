"""Values as JSON holds them."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

# What steers a terminal or turns the direction of writing, and what no encoding takes.
STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def json_text(value: Any) -> str:
    """`value` as indented JSON; times in ISO 8601, numbers that are none as null."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=False)
    # JSON itself escapes what is below U+0020; its own line breaks stand between values.
    return STEERING.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text)


def json_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The pieces of what `json_text` gives of the list of rows, and a line break; holds a row at a time."""
    before = "["
    for row in rows:
        yield before + "\n  " + json_text(row).replace("\n", "\n  ")
        before = ","
    yield "[]\n" if before == "[" else "\n]\n"


def plain(value: Any) -> Any:
    """A value in lists, dictionaries, texts, numbers, true, false and null alone."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, str | int | bool) or value is None:
        return value
    return str(value)
