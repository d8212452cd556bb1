"""What a person's query returns, as an Arrow table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import pyarrow as pa
from neo4j.graph import Node, Path, Relationship
from neo4j.spatial import Point
from neo4j.time import Date, DateTime, Duration, Time

from kgdistill.moment import naive_utc


def result_table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> pa.Table:
    """One column per name, its type inferred.

    Date-times become timestamp[us] in UTC, dates date32; nodes, relationships, paths, maps and columns
    of mixed types become JSON strings.
    """
    columns = [_column([row[i] for row in rows]) for i in range(len(names))]
    return pa.table(columns, names=list(names)) if names else pa.table({})


def _column(values: list[Any]) -> pa.Array:
    plain = [_plain(value) for value in values]
    if not any(_is_graph(value) for value in plain):
        if all(v is None or (isinstance(v, (int, float)) and not isinstance(v, bool)) for v in plain) and any(
            isinstance(v, float) for v in plain
        ):
            return pa.array(plain, pa.float64())
        try:
            found = pa.array(plain)
            is_naive_time = pa.types.is_timestamp(found.type)
            return found.cast(pa.timestamp("us")) if is_naive_time else found
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            pass
    return pa.array([v if v is None or isinstance(v, str) else _text(v) for v in plain], pa.string())


def _is_graph(value: Any) -> bool:
    if isinstance(value, list):
        return any(_is_graph(item) for item in value)
    return isinstance(value, (Node, Relationship, Path, dict))


def _plain(value: Any) -> Any:
    if isinstance(value, DateTime):
        return naive_utc(value.to_native())
    if isinstance(value, Date):
        return value.to_native()
    if isinstance(value, (Time, Duration)):
        return value.iso_format()
    if isinstance(value, Point):
        return {"srid": value.srid, "coordinates": list(value)}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _text(value: Any) -> str:
    return json.dumps(_readable(value), ensure_ascii=False, sort_keys=True)


def _readable(value: Any) -> Any:
    value = _plain(value)
    if isinstance(value, Node):
        return {"labels": sorted(value.labels), "properties": _readable(dict(value.items()))}
    if isinstance(value, Relationship):
        return {"type": value.type, "properties": _readable(dict(value.items()))}
    if isinstance(value, Path):
        steps: list[Any] = [_readable(value.nodes[0])]
        for relationship, node in zip(value.relationships, value.nodes[1:], strict=True):
            steps += [_readable(relationship), _readable(node)]
        return steps
    if isinstance(value, dict):
        return {name: _readable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_readable(item) for item in value]
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    return value
