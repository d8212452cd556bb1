"""How often the rows of a job contradict or repeat each other."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from kgdistill.ingest.archive import RowFile
from kgdistill.ingest.model import TypeKey, type_name
from kgdistill.ingest.rows import row_schema
from kgdistill.ingest.sql import quoted, read
from kgdistill.store.schema import Schema


def repeats(
    connection: duckdb.DuckDBPyConnection, schema: Schema, files: Sequence[RowFile]
) -> dict[str, int]:
    """By type, how many rows give way to another row of the same job.

    Of nodes, facts and single events: rows that say something else of the same key than the one that
    counts. Of events with ids: further rows with the same id.

    Args:
        connection: from `engine`.
        schema: the schema in force.
        files: the job's.
    """
    by_key: dict[TypeKey, list[RowFile]] = {}
    for file in files:
        by_key.setdefault(file.key, []).append(file)
    found: dict[str, int] = {}
    for key, mine in by_key.items():
        given = [n for n in row_schema(schema, key).names if any(n in f.staged.columns for f in mine)]
        if isinstance(key, str):
            identity = [schema.node(key).key]
        else:
            rel = schema.relationship(key)
            identity = ["source", "target", *rel.identity]
            if rel.aggregated:
                if not any(f.staged.ids for f in mine):
                    continue
                identity, given = ["_id"], ["_line", "_source"]
        others = [n for n in given if n not in identity]
        if not others:
            continue
        names = ", ".join(quoted(n) for n in identity)
        rows = read(mine, list(dict.fromkeys([*identity, *others, "_deleted"])), row_schema(schema, key))
        said = ", ".join(quoted(n) for n in others)
        # A row with the key alone contradicts nothing.
        says = " OR ".join(f"{quoted(n)} IS NOT NULL" for n in others)
        many = (
            f"SELECT count(DISTINCT ROW({said})) AS n FROM {rows} "
            f"WHERE NOT _deleted AND ({says}) AND {quoted(identity[0])} IS NOT NULL GROUP BY {names}"
        )
        total = f"SELECT coalesce(sum(n - 1), 0)::BIGINT FROM ({many})"
        count = connection.execute(total).fetchall()[0][0]
        if count:
            found[type_name(key)] = int(count)
    return found
