"""The archive: whole jobs or none, and what kills, damage and other versions leave of it."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

import pytest

from kgdistill.errors import DiskError, InputError, StoreLockedError
from kgdistill.ingest.archive import Archive, Failure, JobRecord, StagedSource, StagedType, default_archive
from kgdistill.store import Schema, load_schema

WHEN = datetime(2024, 1, 1)
SCHEMA = load_schema().restricted(("User", "Product"), ("BOUGHT",))


def seal(archive: Archive, *names: str, schema: Schema = SCHEMA) -> int:
    """A job that read these sources, each with a row file of users."""
    number, part = archive.begin()
    sources = []
    for place, name in enumerate(names):
        file = part / "rows" / "User" / f"{place:05d}.parquet"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"rows")
        kept = {"User": StagedType(rows=2, files=(file.name,))}
        sources.append(
            StagedSource(name=name, sha256="0", size=1, digest="d", rows=4, skipped=1, rejected=1, types=kept)
        )
    record = JobRecord(
        number=number, mapping="m", started_at=WHEN, sealed_at=WHEN, sources=tuple(sources), schema=schema
    )
    archive.seal(record)
    return number


def test_a_job_is_there_when_it_is_sealed_and_survives_reopening(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "a")
    _, part = archive.begin()
    (part / "rows" / "half").write_bytes(b"x")
    assert (archive.numbers(), archive.unfinished()) == ([], [1])
    # What a kill left is cleared away by the next job, whose number nobody had.
    assert seal(archive, "s:a", "s:b") == 2
    again = Archive(tmp_path / "a")
    assert again.id == archive.id
    assert (again.numbers(), again.unfinished()) == ([2], [])
    record = again.job(2)
    assert (record.rows, record.skipped, record.rejected, record.accepted) == (8, 2, 2, 4)
    assert again.schema() == SCHEMA
    assert all(file.path.read_bytes() == b"rows" for file in again.files(SCHEMA))


def test_the_newest_version_of_a_source_counts_and_its_former_files_are_known_as_such(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    seal(archive, "s:a", "s:b")
    seal(archive, "s:b", "s:c")
    assert {name: job for name, (_, job) in archive.versions().items()} == {"s:a": 1, "s:b": 2, "s:c": 2}
    found = {(file.job, file.name): (file.newest, file.superseded) for file in archive.files(SCHEMA)}
    assert found == {
        (1, "s:a"): (1, False),
        (1, "s:b"): (2, True),
        (2, "s:b"): (2, False),
        (2, "s:c"): (2, False),
    }


def test_types_of_former_schemas_stay(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    seal(archive, "s:a")
    seal(archive, "s:b", schema=load_schema().restricted(("Product", "Brand"), ("MADE_BY",)))
    whole = archive.schema()
    assert set(whole.nodes) == {"User", "Product", "Brand"}
    assert set(whole.relationships) == {"BOUGHT", "MADE_BY"}


def test_failures_are_kept_in_order_but_for_a_line_that_a_kill_cut_off(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    for message in ("one", "two"):
        number, _ = archive.begin()
        failure = Failure(number=number, mapping="m", started_at=WHEN, failed_at=WHEN, message=message)
        archive.abandon(number, failure)
    path = tmp_path / "failures.jsonl"
    path.write_text(path.read_text()[:-20])
    assert [f.message for f in Archive(tmp_path).failures()] == ["one"]
    third, _ = archive.begin()
    archive.abandon(third, failure.model_copy(update={"number": third, "message": "three"}))
    assert [f.message for f in archive.failures()] == ["one", "three"]
    assert archive.unfinished() == []


def test_the_lock_is_one_jobs_and_names_its_process(tmp_path: Path) -> None:
    first, second = Archive(tmp_path), Archive(tmp_path)
    with first.lock():
        for wait_s in (0.0, 0.05):
            with pytest.raises(StoreLockedError, match=f"process {os.getpid()}"), second.lock(wait_s):
                pass
    with second.lock():
        pass


def test_a_beginning_that_was_cut_off_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "archive.json.new").write_text('{"form')
    seal(Archive(tmp_path), "s:a")
    assert Archive(tmp_path).numbers() == [1]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda a: (a / "archive.json").unlink(), "not an archive"),
        (lambda a: (a / "archive.json").write_text("{"), "is damaged"),
        (lambda a: (a / "archive.json").write_text("[]"), "is damaged"),
        (lambda a: (a / "archive.json").write_text(json.dumps({"format": 2, "id": "x"})), "format 2"),
        (lambda a: (a / "jobs" / "000001" / "job.json").unlink(), "missing or damaged"),
        (lambda a: (a / "jobs" / "000001" / "job.json").write_text("{}"), "missing or damaged"),
    ],
)
def test_what_is_damaged_is_named(tmp_path: Path, damage: object, message: str) -> None:
    seal(Archive(tmp_path), "s:a")
    assert callable(damage)
    damage(tmp_path)
    with pytest.raises(InputError, match=message):
        Archive(tmp_path).jobs()


def test_a_folder_with_other_things_and_a_file_are_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="not an archive"):
        Archive(tmp_path)
    with pytest.raises(DiskError):
        Archive(tmp_path / "thesis.tex")
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_archive_stands_beside_an_embedded_store_and_under_a_servers_name_otherwise() -> None:
    assert default_archive("ladybug:/data/shop.db") == Path("/data/shop.db.archive")
    assert default_archive("bolt://db:7687") == Path("kgdistill-db-7687.archive")
