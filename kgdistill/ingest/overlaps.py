"""Events that stand in two files of one kind, and count twice: exports of years that overlap by some days."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import timedelta

import duckdb
import pyarrow as pa

from kgdistill.ingest.archive import RowFile
from kgdistill.ingest.former import FEW_ROWS
from kgdistill.ingest.model import Notice, TypeKey, type_name
from kgdistill.ingest.sql import literal
from kgdistill.store.schema import Schema

# Of the events of a file, as few are the same as others by chance.
_FEW = 0.001
# So many of a week's are the same where exports overlap.
_MOST = 0.5
# One export may have seconds that another has not.
_MINUTE = "date_trunc('minute', first_at)"


def doubled(
    db: duckdb.DuckDBPyConnection,
    schema: Schema,
    files: Sequence[RowFile],
    archived: Sequence[RowFile],
    told: Collection[str],
) -> list[Notice]:
    """The sources of a job with events that another one holds too: the same ends, time and quantity.

    Args:
        db: from `engine`.
        schema: the schema in force.
        files: the job's.
        archived: those of jobs before.
        told: sources that are known to be copies.
    """
    now = {file.name for file in files}
    known = [file for file in archived if not file.superseded and file.name not in now]
    notices: list[Notice] = []
    for key in dict.fromkeys(file.key for file in files):
        if isinstance(key, str) or not schema.relationship(key).aggregated:
            continue
        mine = [file for file in files if _counts(file, key, told)]
        others = [file for file in known if _counts(file, key, told)]
        if mine and len({file.name for file in (*mine, *others)}) > 1:
            notices += _of_type(db, key, mine, others)
    return notices


def _counts(file: RowFile, key: TypeKey, told: Collection[str]) -> bool:
    """Whether nothing tells the events of a file from those of others, so that each of them counts."""
    kept = file.staged
    return file.key == key and not kept.ids and not kept.overlaps and file.name not in told


def _of_type(
    db: duckdb.DuckDBPyConnection, key: TypeKey, mine: Sequence[RowFile], others: Sequence[RowFile]
) -> list[Notice]:
    every = [*mine, *others]
    db.register(
        "read_files",
        pa.table(
            {
                "path": [str(file.path) for file in every],
                # A file that two sources read is read on purpose.
                "place": [file.name.partition(":")[2] for file in every],
                "name": [file.name for file in every],
                "fresh": [i < len(mine) for i in range(len(every))],
            }
        ),
    )
    quantity = any("count" in file.staged.columns for file in every)
    same = f"source, target, minute{', count' if quantity else ''}"
    first, last = db.execute(f"SELECT min({_MINUTE}), max({_MINUTE}) FROM {_rows(mine)}").fetchall()[0]
    if first is None:
        return []
    found = db.execute(_pairs(same, every), [first, last + timedelta(minutes=1)]).fetchall()
    rows = Counter[str]()
    for file in every:
        rows[file.name] += file.staged.rows
    what = "ends, minute and quantity" if quantity else "ends and minute"
    hint = "event_id or overlap makes one of them"
    return [
        Notice(
            two,
            0,
            "",
            "",
            f"{count:,} of its {type_name(key)} events are in {one} too, with the same {what}, and count "
            f"twice; {hint}",
            int(count),
        )
        for one, two, count in found
        if count >= max(FEW_ROWS, _FEW * min(rows[one], rows[two]))
    ]


def _pairs(same: str, every: Sequence[RowFile]) -> str:
    """The query of pairs of sources, and of how many events each has twice.

    Shops that sell the same on the same days have some events in common by chance, in all weeks a few.
    Of exports that overlap most are, and as often each, in the weeks that both of them cover.
    """
    # By the time itself, of which Parquet knows the ends: most of an archive is not read.
    read = f"SELECT *, {_MINUTE} AS minute FROM {_rows(every)} WHERE first_at >= ? AND first_at < ?"
    return (
        f"WITH r AS MATERIALIZED (SELECT {same}, f.place, f.name, f.fresh, count(*) AS times "
        f"FROM ({read}) AS e JOIN read_files AS f ON f.path = e.filename WHERE NOT _deleted GROUP BY ALL), "
        "g AS (SELECT minute, min_by(name, place) AS one, max_by(name, place) AS two, "
        f"any_value(times) AS twice FROM r GROUP BY {same}, times "
        "HAVING count(DISTINCT place) > 1 AND bool_or(fresh)), "
        "ends AS (SELECT name, min(minute) AS first, max(minute) AS last FROM r GROUP BY name), "
        "p AS (SELECT one, two, unnest([one, two]) AS name, greatest(a.first, b.first) AS first, "
        "least(a.last, b.last) AS last FROM (SELECT DISTINCT one, two FROM g) "
        "JOIN ends AS a ON a.name = one JOIN ends AS b ON b.name = two), "
        "n AS (SELECT one, two, week, min(rows) AS rows FROM (SELECT one, two, name, "
        "date_trunc('week', minute) AS week, sum(times) AS rows FROM r JOIN p USING (name) "
        "WHERE minute BETWEEN p.first AND p.last GROUP BY ALL) GROUP BY ALL), "
        "k AS (SELECT one, two, date_trunc('week', minute) AS week, sum(twice) AS twice FROM g GROUP BY ALL) "
        f"SELECT one, two, sum(twice) FROM k JOIN n USING (one, two, week) WHERE twice >= {_MOST} * rows "
        "GROUP BY one, two ORDER BY one, two"
    )


def _rows(files: Sequence[RowFile]) -> str:
    paths = ", ".join(literal(str(path)) for path in dict.fromkeys(file.path for file in files))
    return f"read_parquet([{paths}], union_by_name = true, filename = true)"
