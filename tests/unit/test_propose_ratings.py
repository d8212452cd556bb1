"""Ratings as people write them: 4/5, and stars."""

from __future__ import annotations

from pathlib import Path

import pytest

from kgdistill.ingest.mapping.load import parse_mapping
from kgdistill.ingest.propose.propose import preview, propose
from kgdistill.store.schema import load_schema

SCHEMA = load_schema()
RATED = ("User", "RATED", "Product")


def ratings(folder: Path, written: list[str]) -> tuple[str, list[float | None], list[dict[str, object]]]:
    """What is proposed for ratings, what is read of them, and what is rejected."""
    rows = (f'c{i},s{i},"{text}",2024-01-31\n' for i, text in enumerate(written))
    path = folder / "ratings.csv"
    path.write_text("customer_id,sku,rating,date\n" + "".join(rows), encoding="utf-8")
    yaml = propose([path], SCHEMA)
    shown = preview(parse_mapping(yaml), SCHEMA, folder, 5_000)
    return yaml, shown.examples[RATED]["rating"].to_pylist(), shown.rejects.to_pylist()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["5/5", "4/5", "3 / 5", "4.5/5"], [5, 4, 3, 4.5]),
        (["8/10", "10/10"], [8, 10]),
        (["4,5/5", "3/5"], [4.5, 3]),
        (["★★★★☆", "★★★☆☆", "☆☆☆☆☆", "★★★★★"], [4, 3, 0, 5]),
        (["★★★", "★", "★★★☆"], [3, 1, 3]),
        (["⭐⭐⭐⭐", "⭐\ufe0f⭐\ufe0f"], [4, 2]),
        # Of one scale.
        (["5/5", "★★★", "★★☆☆☆", "4"], [5, 3, 2, 4]),
    ],
)
def test_ratings_of_so_many_and_in_stars_are_read(
    tmp_path: Path, written: list[str], read: list[float]
) -> None:
    yaml, rated, rejects = ratings(tmp_path, written)
    assert ("not used: rating" in yaml, rated, rejects) == (False, read, [])


@pytest.mark.parametrize(
    ("plain", "odd", "reason"),
    [
        ("4/5", "7/5", "is above 5"),
        ("4/5", "4/6", "is not a number"),
        ("4/5", "4/", "is not a number"),
        ("4/5", "★★★", "is not a number"),
        ("★★★★☆", "4/5", "is not a number"),
        ("★★★★☆", "★★★★★★", "is not a number"),
        ("★★★★☆", "★☆★", "is not a number"),
        ("★★★★☆", "★★x", "is not a number"),
    ],
)
@pytest.mark.parametrize("place", [40, 1_050])
def test_a_rating_of_another_kind_is_rejected_with_its_line(
    tmp_path: Path, plain: str, odd: str, reason: str, place: int
) -> None:
    written = [plain] * 1_100
    written[place] = odd
    # What the first rows hold of another kind on the same scale is read.
    read = place < 1_000 and {plain, odd} in ({"4/5", "★★★"}, {"4/5", "★★★★☆"})
    yaml, rated, rejects = ratings(tmp_path, written)
    told = [(r["line"], r["column"], r["value"], r["reason"]) for r in rejects]
    assert told == ([] if read else [(place + 2, "rating", odd, reason)])
    assert set(rated) <= {4, 3}
    doubt = f"1 of 1,000 values, such as {odd}, are written in another way and would be rejected"
    assert (doubt in yaml) == (place < 1_000 and not read and reason != "is above 5")


@pytest.mark.parametrize("written", [["4/5", "8/10"], ["8/10", "★★★"], ["1/2", "2/3"]])
def test_ratings_on_several_scales_are_not_used(tmp_path: Path, written: list[str]) -> None:
    yaml, rated, _ = ratings(tmp_path, written)
    assert ("not used: rating" in yaml, rated) == (True, [None, None])


def test_files_with_ratings_in_figures_and_in_stars_are_read_as_one(tmp_path: Path) -> None:
    for name, text in (("ratings-1.csv", "4/5"), ("ratings-2.csv", "★★★")):
        (tmp_path / name).write_text(f"customer_id,sku,rating,date\nc1,{name},{text},2024-01-31\n")
    mapping = parse_mapping(propose(sorted(tmp_path.glob("*.csv")), SCHEMA))
    assert len(mapping.sources) == 1
    assert sorted(preview(mapping, SCHEMA, tmp_path).examples[RATED]["rating"].to_pylist()) == [3, 4]


@pytest.mark.parametrize(("one", "two"), [("4/5", "8/10"), ("★★★", "8/10"), ("8/10", "★★★")])
def test_files_with_ratings_on_several_scales_are_not_read_as_one(tmp_path: Path, one: str, two: str) -> None:
    (tmp_path / "ratings").mkdir()
    for name, text in (("1", one), ("2", two)):
        path = tmp_path / "ratings" / f"{name}.csv"
        path.write_text(f"customer_id,sku,rating,date\nc1,s{name},{text},2024-01-31\n")
    yaml = propose(sorted(tmp_path.rglob("*.csv")), SCHEMA)
    assert (len(parse_mapping(yaml).sources), "/10|/5" in yaml) == (2, False)


def test_what_is_of_so_many_is_no_quantity(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("customer_id,sku,quantity,date\nc1,s1,3/5,2024-01-31\n")
    assert "not used: quantity" in propose([tmp_path / "orders.csv"], SCHEMA)
