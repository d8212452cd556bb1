"""What `--dry-run` shows: what a job would write."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping as AnyMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgdistill.cli.jobs import print_titled, print_warnings, say_encodings, say_eventless
from kgdistill.cli.output import print_json, say
from kgdistill.cli.times import local

if TYPE_CHECKING:
    import pyarrow as pa

    from kgdistill.ingest.former import Removal
    from kgdistill.ingest.mapping.load import Mapping
    from kgdistill.ingest.model import Notice
    from kgdistill.store import Schema


@dataclasses.dataclass(frozen=True)
class JobChoice:
    """What the options of a command that ingests say."""

    store: str
    user: str
    password_file: Path | None
    archive: Path | None
    rejects: Path
    max_reject_share: float
    max_removed_share: float
    wait: float
    json: bool


def preview_job(
    mapping: Mapping,
    schema: Schema,
    root: Path,
    tables: AnyMapping[str, pa.Table | Path],
    salt: bytes | None,
    options: JobChoice,
) -> None:
    """Shows what a job would write, and writes nothing."""
    from kgdistill.ingest.model import type_name
    from kgdistill.ingest.propose.propose import preview

    mapping.read_aliases(schema, root)
    seen = preview(mapping, schema, root, tables=tables, salt=salt)
    counts = {type_name(key): count for key, count in seen.counts.items()}
    gone, twins = _foreseen(mapping, schema, root, tables, salt, options)
    warnings = [*seen.notices, *twins]
    considered = seen.rows - seen.skipped
    refused = seen.rejected > options.max_reject_share * considered
    if options.json:
        examples = {type_name(key): table.to_pylist() for key, table in seen.examples.items()}
        print_json(
            {
                "rows": seen.rows,
                "skipped": seen.skipped,
                "rejected": seen.rejected,
                "eventless": seen.eventless,
                "idle": [dataclasses.asdict(piece) for piece in seen.idle],
                "whole": seen.whole,
                "too_many_rejected": refused,
                "types": counts,
                "examples": examples,
                "rejects": seen.rejects.to_pylist(),
                "gone": [dataclasses.asdict(removal) for removal in gone],
                "too_many_gone": any(removal.above(options.max_removed_share) for removal in gone),
                "encodings": seen.encodings,
                "warnings": [dataclasses.asdict(notice) for notice in warnings],
            }
        )
        return
    print_warnings(warnings)
    say_encodings(seen.encodings)
    print_titled("would be written", ["type", "count"], list(counts.items()))
    for key, table in seen.examples.items():
        names = [n for n in table.column_names if table[n].null_count < table.num_rows]
        print()
        rows = [
            [_short(local(row[n], mapping.time_zone)) for n in names]
            for row in table.select(names).to_pylist()
        ]
        print_titled(f"{type_name(key)}, the first {len(rows)}", names, rows)
    if seen.rejects.num_rows:
        print()
        names = ["source", "line", "column", "value", "reason"]
        rows = [[_short(row[n]) for n in names] for row in seen.rejects.to_pylist()]
        print_titled(f"would be rejected, the first {len(rows)}", names, rows)
    if mapping.time_zone != "UTC":
        say(f"times are those of {mapping.time_zone}; the store has them in UTC")
    part = "" if seen.whole else " (the first of each file)"
    say(f"{seen.rows:,} rows read{part}: {seen.rejected:,} do not fit, {seen.skipped:,} make nothing")
    say_eventless(seen.eventless, seen.idle)
    if refused:
        say(f"with more than {options.max_reject_share:.2%} that do not fit, the job would be refused")
    for removal in gone:
        kept = f"{removal.rows:,} {removal.type} rows of the former version would go"
        above = removal.above(options.max_removed_share)
        more = f", more than {options.max_removed_share:.2%}: the job would be refused" if above else ""
        say(f"{removal.source}: {removal.gone:,} of {kept}{more}")
    say("nothing was written; whether relationships' ends exist was not looked up")


def _foreseen(
    mapping: Mapping,
    schema: Schema,
    root: Path,
    tables: AnyMapping[str, pa.Table | Path],
    salt: bytes | None,
    options: JobChoice,
) -> tuple[list[Removal], list[Notice]]:
    """What the archive tells of the sources; nothing where there is none yet."""
    from kgdistill.ingest.archive import Archive, default_archive
    from kgdistill.ingest.job import foresee

    place = options.archive or default_archive(options.store)
    if (place / "archive.json").is_file():
        return foresee(mapping, root, archive=Archive(place), schema=schema, tables=tables, salt=salt)
    with tempfile.TemporaryDirectory(prefix="kgdistill-") as folder:
        return foresee(mapping, root, archive=Archive(folder), schema=schema, tables=tables, salt=salt)


def _short(value: Any) -> Any:
    text = str(value)
    return f"{text[:57]}…" if isinstance(value, str | list) and len(text) > 58 else value
