"""One column to its type in the schema, value by value where a whole column will not go."""

from __future__ import annotations

_WORDS = {
    "string": "text",
    "int64": "a whole number",
    "double": "a number",
    "bool": "true or false",
    "timestamp": "a time such as 2017-04-01 or 2017-04-01T13:05:00Z",
    "float_list": "a list of numbers",
}
_ZONED = r"[T ]\d{2}:?\d{2}.*(Z|[+-]\d{2}(:?\d{2})?)$"


class ColumnTypeError(Exception):
    """The column as a whole cannot hold values of the type."""


def words(kind: str) -> str:
    """The type in words, for messages."""
    return _WORDS[kind]
