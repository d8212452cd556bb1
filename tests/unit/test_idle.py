"""Pieces of a mapping that make nothing: no condition holds, or a key is empty."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kgdistill.ingest.idle import PieceRows, idle_pieces, joined_pieces
from kgdistill.ingest.job import JobOptions, run_job
from kgdistill.ingest.mapping.load import parse_mapping
from kgdistill.ingest.propose.propose import preview
from kgdistill.store import open_store
from kgdistill.store.schema import load_schema

SCHEMA = load_schema()
LOOSE = JobOptions(max_reject_share=1.0)
MAPPING = """
version: 1
name: log
sources:
  log:
    files: "*.csv"
    nodes:
      - {label: User, key: who}
      - {label: Product, key: {column: sku, required: false, split: "|"}}
      - {label: Brand, key: {column: maker, required: false}}
    relationships:
      - type: BOUGHT
        from: {User: who}
        to: {Product: {column: sku, required: false}}
        missing: stub
        when: [{column: kind, in: [order]}]
        properties: {at: at}
      - type: VIEWED
        from: {User: who}
        to: {Product: {column: sku, required: false, split: "|"}}
        missing: stub
        when: [{column: kind, in: [look]}]
        properties: {at: at}
      - type: RATED
        from: {User: who}
        to: {Product: {column: sku, required: false}}
        missing: stub
        when: [{column: kind, in: [stars]}]
        properties: {at: at}
    trees:
      - label: Category
        path: {column: shelf, split: ">"}
        from: {Product: {column: sku, required: false}}
"""
HEAD = "who,kind,sku,maker,shelf,at\n"
ORDERS = "ann,order,,,,2024-03-05\nbob,order,,,,2024-03-06\n"
LOOKS = "ann,look,p1|p2,,,2024-03-05\n"


def told(folder: Path, **files: str) -> list[tuple[str, int, dict[str, int]]]:
    """What a dry run and a job tell of pieces that make nothing of these files; they agree."""
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(HEAD + text)
    mapping = parse_mapping(MAPPING)
    seen = preview(mapping, SCHEMA, folder).idle
    with open_store("memory:") as store:
        done = run_job(store, mapping, folder, LOOSE, archive=folder / "archive", schema=SCHEMA)
    assert done.idle == seen
    assert {piece.source for piece in seen} <= {"log"}
    return [(piece.type, piece.rows, piece.empty) for piece in seen]


def test_pieces_that_make_nothing_are_told_with_the_reason(tmp_path: Path) -> None:
    assert told(tmp_path, one=ORDERS + LOOKS) == [
        ("Brand", 3, {"maker": 3}),
        ("User-BOUGHT-Product", 2, {"who": 0, "sku": 2}),
        ("User-RATED-Product", 0, {"who": 0, "sku": 0}),
        ("Category", 3, {"shelf": 3}),
    ]


def test_what_another_file_of_the_source_makes_is_made(tmp_path: Path) -> None:
    more = "ann,order,p1,Acme,Tea > Green,2024-03-05\nbob,stars,p1,,,2024-03-05\n"
    assert told(tmp_path, one=ORDERS + LOOKS, two=more) == []


def test_of_a_source_without_rows_nothing_is_told(tmp_path: Path) -> None:
    assert told(tmp_path, one="") == []
    # A row that is rejected makes nothing of its own accord.
    assert [rows for _, rows, _ in told(tmp_path, one="ann,order,p1,,,no time\n")] == [0] * 7


@pytest.mark.parametrize(
    ("rows", "empty", "sentence"),
    [
        (0, {"sku": 0}, "log: Product makes nothing: no row fits, or has what its when asks"),
        (1200, {"sku": 1200}, "log: Product makes nothing: of 1,200 rows sku is empty in all"),
        (1, {"sku": 1}, "log: Product makes nothing: of 1 row sku is empty in all"),
        (
            5,
            {"who": 2, "x": 0, "sku": 3},
            "log: Product makes nothing: of 5 rows who is empty in 2 and sku is empty in 3",
        ),
    ],
)
def test_the_sentence_names_the_keys_that_are_empty(rows: int, empty: dict[str, int], sentence: str) -> None:
    (idle,) = idle_pieces([("log:a.csv", rows + 1, 0, [PieceRows("Product", rows, 0, empty)])])
    assert str(idle) == sentence


def test_counts_of_batches_are_added_up_piece_by_piece() -> None:
    one: list[Any] = [PieceRows("A", 3, 0, {"k": 3}), PieceRows("B", 3, 1, {})]
    two = [PieceRows("A", 2, 1, {"k": 1}), PieceRows("B", 1, 1, {})]
    assert joined_pieces([(), one, two]) == (PieceRows("A", 5, 1, {"k": 4}), PieceRows("B", 4, 2, {}))
    assert joined_pieces([()]) == ()
