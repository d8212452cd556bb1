from __future__ import annotations

import gzip
import json
import random
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from _jobs import SCHEMA, rows

from kgdistill.cli import main
from kgdistill.errors import InputError
from kgdistill.ingest.archive import Archive
from kgdistill.ingest.job import JobOptions, JobReport, foresee, run_job
from kgdistill.ingest.mapping.load import Mapping, parse_mapping
from kgdistill.store import GraphStore, open_store

BOUGHT = ("User", "BOUGHT", "Product")
NAME = "User-BOUGHT-Product"


def mapping(**more: Any) -> Mapping:
    piece = {
        "type": "BOUGHT",
        "from": {"User": "u"},
        "to": {"Product": "p"},
        "missing": "stub",
        "properties": {"at": "t"},
    }
    source = {"files": ["*.csv*"], "relationships": [piece | more]}
    return parse_mapping({"version": 1, "name": "m", "sources": {"orders": source}})


def lines(numbers: range, users: int = 7) -> str:
    start = datetime(2024, 1, 1)
    each = (f"u{i % users},p{i % 11},{(start + timedelta(hours=i)).isoformat()},o{i}" for i in numbers)
    return "\n".join(["u,p,t,o", *each, ""])


@pytest.fixture
def store() -> Iterator[GraphStore]:
    with open_store("memory:") as opened:
        yield opened


def job(store: GraphStore, work: Path, told: Mapping | None = None, **options: Any) -> JobReport:
    (work / "data").mkdir(exist_ok=True)
    place = work / "archive"
    tables = options.pop("tables", None)
    how = JobOptions(threads=1, **options)
    return run_job(store, told or mapping(), work / "data", how, archive=place, schema=SCHEMA, tables=tables)


def count(store: GraphStore) -> int:
    return sum(row["count"] for row in rows(store, BOUGHT))


@pytest.mark.parametrize(
    ("first", "second", "gone"),
    [
        (range(500), range(0), 500),
        (range(500), range(39), 461),
        (range(10), range(7), 3),
        (range(10), range(6), 4),
        (range(1), range(0), 1),
        (range(500), range(400), 100),
        (range(500), range(399), 101),
    ],
)
def test_a_version_that_lacks_too_many_events_is_refused_and_changes_nothing(
    first: range, second: range, gone: int, store: GraphStore, tmp_path: Path
) -> None:
    # Of 77 pairs each stands in several lines: what goes is counted in lines.
    file = tmp_path / "data" / "a.csv"
    file.parent.mkdir()
    file.write_text(lines(first))
    job(store, tmp_path)
    assert count(store) == len(first)
    file.write_text(lines(second))
    archive = Archive(tmp_path / "archive")
    foreseen, _ = foresee(mapping(), file.parent, archive=archive, schema=SCHEMA)
    told = [(removal.source, removal.type, removal.rows, removal.gone, removal.left) for removal in foreseen]
    assert told == [("orders:a.csv", NAME, len(first), gone, len(second))]
    if gone > 0.2 * len(first) and (gone > 3 or not len(second)):
        with pytest.raises(InputError, match=f"lacks {gone} of the {len(first)} {NAME} rows") as error:
            job(store, tmp_path)
        assert error.value.where == "orders:a.csv"
        assert "--max-removed-share" in error.value.hint
        assert count(store) == len(first)
        assert archive.numbers() == [1]
        assert len(archive.failures()) == 1
        assert job(store, tmp_path, max_removed_share=1.0).gone == gone
    else:
        assert job(store, tmp_path).gone == gone
    assert count(store) == len(second)


def test_other_rows_in_a_files_place_are_a_loss_too(store: GraphStore, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    file = tmp_path / "data" / "a.csv"
    file.write_text("u,p,t\n" + "".join(f"u{i},p1,2024-01-01\n" for i in range(50)))
    job(store, tmp_path)
    file.write_text("u,p,t\n" + "".join(f"u{i},p1,2024-01-02\n" for i in range(50, 100)))
    with pytest.raises(InputError, match="lacks 50 of the 50"):
        job(store, tmp_path)


def test_what_is_corrected_or_stands_in_another_file_now_is_no_loss(
    store: GraphStore, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    whole, other = tmp_path / "data" / "a.csv", tmp_path / "data" / "b.csv"
    whole.write_text(lines(range(100)))
    job(store, tmp_path)
    # An hour later each, and half of them in a file of their own.
    whole.write_text(lines(range(50)).replace("T", " ").replace(":00:00", ":30:00"))
    other.write_text(lines(range(50, 100)))
    assert job(store, tmp_path).gone == 0
    assert count(store) == 100
    # Files that are gone change nothing.
    other.unlink()
    whole.unlink()
    with pytest.raises(InputError, match="matches no file"):
        job(store, tmp_path)
    assert count(store) == 100


def test_another_mapping_may_make_other_keys_of_all_rows(store: GraphStore, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text(lines(range(100)))
    job(store, tmp_path)
    upper = {"from": {"User": {"column": "u", "case": "upper"}}}
    assert job(store, tmp_path, mapping(**upper)).gone == 0
    fewer = {"when": [{"column": "u", "in": ["u1"]}]}
    with pytest.raises(InputError, match="lacks 85 of the 100"):
        job(store, tmp_path, mapping(**fewer))


def test_a_table_from_python_is_held_to_it_too(store: GraphStore, tmp_path: Path) -> None:
    frame = pd.DataFrame({"u": [f"u{i}" for i in range(9)], "p": "p", "t": "2024-01-01"})
    job(store, tmp_path, tables={"orders": frame})
    with pytest.raises(InputError, match="lacks 5 of the 9"):
        job(store, tmp_path, tables={"orders": frame.iloc[:4]})
    with pytest.raises(InputError, match="max_removed_share is 2"):
        job(store, tmp_path, tables={"orders": frame}, max_removed_share=2)


@pytest.mark.parametrize("copy", ["a (1).csv", "b.csv.gz", "b.csv"])
@pytest.mark.parametrize("later", [False, True])
def test_the_same_bytes_under_a_second_name_are_told(
    copy: str, later: bool, store: GraphStore, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.csv").write_text(lines(range(20)))
    (data / "empty.csv").write_text(lines(range(0)))
    (data / "empty-too.csv").write_text(lines(range(0)))
    if later:
        assert job(store, tmp_path).warnings == []
    text = lines(range(20)).encode()
    (data / copy).write_bytes(gzip.compress(text) if copy.endswith(".gz") else text)
    archive = Archive(tmp_path / "archive")
    _, foreseen = foresee(mapping(), data, archive=archive, schema=SCHEMA)
    report = job(store, tmp_path)
    (told,) = report.warnings
    assert {told.source, told.reason.split(": every")[0].removeprefix("holds the same as ")} == {
        "orders:a.csv",
        f"orders:{copy}",
    }
    assert "every event in it counts twice" in told.reason
    assert foreseen == [told]
    # Said once, when it is read.
    assert job(store, tmp_path).warnings == []


@pytest.mark.parametrize("later", [False, True])
def test_exports_that_overlap_by_some_days_are_told(later: bool, store: GraphStore, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "2023.csv").write_text(lines(range(20)))
    if later:
        assert job(store, tmp_path).warnings == []
    # It has seconds, too.
    (data / "2024.csv").write_text(lines(range(15, 40)).replace(":00,o", ":29,o"))
    (told,) = job(store, tmp_path).warnings
    assert (told.source, told.rows) == ("orders:2024.csv", 5)
    assert "5 of its User-BOUGHT-Product events are in orders:2023.csv too" in told.reason
    assert "count twice; event_id or overlap" in told.reason
    # Told once; and events with ids are one.
    assert job(store, tmp_path).warnings == []


def test_exports_that_overlap_and_tell_their_events_apart_are_none(store: GraphStore, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "2023.csv").write_text(lines(range(20)))
    (data / "2024.csv").write_text(lines(range(15, 40)))
    assert job(store, tmp_path, mapping(event_id="o")).warnings == []


@pytest.mark.parametrize(("rows", "few"), [(2_000, 3), (100, 2)])
def test_a_few_events_that_are_the_same_by_chance_are_not_told(
    rows: int, few: int, store: GraphStore, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.csv").write_text(lines(range(2 * rows)))
    (data / "b.csv").write_text(lines(range(2 * rows - few, 4 * rows)))
    assert job(store, tmp_path).warnings == []


def days(seed: int, users: int, products: int, rows: int, first: int = 0, last: int = 28) -> list[str]:
    dice = random.Random(seed)
    some = [
        (dice.randrange(users), dice.randrange(products), dice.randrange(first, last)) for _ in range(rows)
    ]
    return [f"u{u},p{p},{datetime(2024, 1, 1) + timedelta(days=d):%Y-%m-%d},o" for u, p, d in sorted(some)]


@pytest.mark.parametrize(("users", "products", "rows"), [(100, 20, 4_000), (10, 3, 600), (10, 3, 4_000)])
def test_two_shops_that_sell_the_same_on_the_same_days_are_no_overlap(
    users: int, products: int, rows: int, store: GraphStore, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for seed, name in enumerate(("shop", "web")):
        each = days(seed, users, products, rows)
        (data / f"{name}.csv").write_text("\n".join(["u,p,t,o", *each, ""]))
    assert job(store, tmp_path).warnings == []


def test_an_overlap_of_days_is_told_beside_what_is_the_same_by_chance(
    store: GraphStore, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    both = days(3, 100, 20, 1_500, 7, 14)
    for seed, name in enumerate(("shop", "web")):
        each = days(seed, 100, 20, 1_500, 0, 7) + both + days(seed + 5, 100, 20, 1_500, 14, 28)
        (data / f"{name}.csv").write_text("\n".join(["u,p,t,o", *each, ""]))
    (told,) = job(store, tmp_path).warnings
    assert (told.source, told.rows) == ("orders:web.csv", 1_500)


def test_a_copy_that_counts_once_or_a_file_of_two_sources_is_no_double(
    store: GraphStore, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("a.csv", "b.csv"):
        (data / name).write_text(lines(range(20)))
    (told,) = job(store, tmp_path, mapping(event_id="o")).warnings
    assert told.reason == "holds the same as orders:a.csv"
    assert count(store) == 20
    shutil.rmtree(tmp_path / "archive")
    piece = {"type": "BOUGHT", "from": {"User": "u"}, "to": {"Product": "p"}, "missing": "stub"}
    raw = {
        "orders": {"files": "a.csv", "relationships": [piece | {"properties": {"at": "t"}}]},
        "users": {"files": "a.csv", "nodes": [{"label": "User", "key": "u"}]},
    }
    both = parse_mapping({"version": 1, "name": "m", "sources": raw})
    with open_store("memory:") as other:
        assert job(other, tmp_path, both).warnings == []


def test_the_command_says_both_before_and_after(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text(lines(range(20)))
    (tmp_path / "b.csv").write_text(lines(range(20)))
    raw = mapping().model_dump(mode="json", by_alias=True, exclude_defaults=True) | {"version": 1}
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(raw))
    command = ["ingest", "run", f"{tmp_path}/m.yaml", str(tmp_path), "--store", f"ladybug:{tmp_path}/s.db"]
    command += ["--rejects", f"{tmp_path}/rejects.csv"]
    for dry in (["--dry-run"], []):
        assert main([*command, *dry, "--json"]) == 0
        (told,) = json.loads(capsys.readouterr().out)["warnings"]
        assert (told["source"], told["line"], told["rows"]) == ("orders:b.csv", 0, 20)
    (tmp_path / "a.csv").write_text(lines(range(2)))
    assert main([*command, "--dry-run"]) == 0
    out = capsys.readouterr()
    assert "orders:a.csv: 18 of 20" in out.err
    assert "the job would be refused" in out.err
    assert main(command) == 2
    assert "lacks 18 of the 20" in capsys.readouterr().err
    assert main([*command, "--max-removed-share", "0.95", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["gone"] == 18
