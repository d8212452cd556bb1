"""Nodes without the time by which a cut tells them: left out, and never unsaid."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from _campaigns import CAMPAIGNS, campaign_start, fill_campaigns, make_campaigns, target_spec
from _tables import write_rows

from kgdistill.errors import InputError
from kgdistill.graphcheck import inspect_graph
from kgdistill.snapshot import take_snapshot
from kgdistill.store import GraphStore, MemoryStore, Schema, load_schema
from kgdistill.tasks.check import check_graph
from kgdistill.tasks.spec import load_task, parse_task
from kgdistill.tasks.undated import check_dated, no_positive

CUT = campaign_start(CAMPAIGNS - 3)
WHAT = "when the first campaign that carries it starts"


class _Without(MemoryStore):
    """A store of campaigns of which some coupons have no start."""

    def __init__(self, kept: int) -> None:
        super().__init__()
        self.kept = kept
        fill_campaigns(self, make_campaigns())

    def read_nodes(self, label: str, columns: list[str]) -> pa.Table:  # type: ignore[override]
        table = super().read_nodes(label, columns)
        if label != "Coupon" or "start_at" not in table.column_names:
            return table
        place = table.column_names.index("start_at")
        some = table["start_at"].to_pylist()[: self.kept]
        column = pa.array([*some, *[None] * (table.num_rows - self.kept)], table["start_at"].type)
        return table.set_column(place, "start_at", column)


def test_a_snapshot_says_what_it_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with _Without(5) as store:
        later = take_snapshot(store, tmp_path / "later", cut=None)
        assert "start_at" not in capsys.readouterr().err
        assert later.num_nodes("Coupon") == CAMPAIGNS
        known = take_snapshot(store, tmp_path / "known", cut=CUT)
    assert known.num_nodes("Coupon") == 5
    said = capsys.readouterr().err
    assert "10 of 15 Coupons have no start_at, so that nobody knows whether they were there" in said
    assert f"give each Coupon its start_at ({WHAT}) in the mapping and ingest again" in said
    assert "Campaigns have no" not in said


def test_what_needs_them_is_refused_before_anything_is_trained() -> None:
    spec = load_task("target")
    with _Without(0) as store, pytest.raises(InputError, match="all 15 Coupons have no start_at") as error:
        check_graph(spec, store, where="mine.yaml")
    assert WHAT in str(error.value)
    assert "mine.yaml" in str(error.value)
    # A task that learns from no cut asks for no time.
    with _Without(0) as store:
        check_graph(load_task("search"), store)


def test_what_is_one_of_several_ways_to_items_is_only_said(capsys: pytest.CaptureFixture[str]) -> None:
    raw = load_task("target").declared()
    raw["positives"] = {"event": "CLICKED", "reverse": True, "through": "PART_OF"}
    spec = parse_task(raw, name="clicks")
    with _Without(0) as store:
        check_dated(spec, store, store.schema, "mine.yaml")
    assert "mine.yaml: all 15 Coupons have no start_at" in capsys.readouterr().err


def test_where_some_have_it_that_is_said_and_is_the_cause_of_no_positive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with _Without(4) as store:
        check_graph(load_task("target"), store)
        later = take_snapshot(store, tmp_path / "later", cut=None)
    assert "11 of 15 Coupons have no start_at" in capsys.readouterr().err
    assert "have no positive: 11 of 15 Coupons have no start_at" in str(no_positive(target_spec(), later))
    with MemoryStore() as store:
        fill_campaigns(store, make_campaigns())
        check_graph(load_task("target"), store)
        whole = take_snapshot(store, tmp_path / "whole", cut=None)
    assert capsys.readouterr().err.count("start_at") == 0
    assert no_positive(target_spec(), whole) is None


def test_graph_check_finds_them() -> None:
    with _Without(4) as store:
        found = {f.code: f for f in inspect_graph(store, load_schema()).findings if f.subject == "Coupon"}
    assert (found["no-time"].severity, found["no-time"].count) == ("warning", 11)
    assert "have no start_at" in found["no-time"].message
    assert WHAT in found["no-time"].advice


def test_a_schema_of_ones_own_is_told_by_its_own_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = load_schema().model_dump()
    raw["nodes"]["Product"]["time"] = "listed_at"
    raw["nodes"]["Product"]["properties"]["listed_at"] = {"type": "timestamp"}
    with MemoryStore() as store:
        _fill(store, Schema.model_validate(raw))
        take_snapshot(store, tmp_path / "known", cut=CUT)
    assert "1 of 2 Products have no listed_at" in capsys.readouterr().err


def _fill(store: GraphStore, schema: Schema) -> None:
    store.apply_schema(schema)
    rows = {
        "User": [{"user_id": "u"}],
        "Product": [
            {"product_id": "p", "listed_at": CUT - timedelta(days=9)},
            {"product_id": "q", "listed_at": None},
        ],
    }
    write_rows(store, schema, rows)
