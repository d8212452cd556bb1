"""What is put into baskets, wished for, shared and commented on: from a file to reasons, in every store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from kgdistill.explore import PathLink, explain, run_query
from kgdistill.ingest.mapping.load import parse_mapping
from kgdistill.ingest.propose.propose import propose
from kgdistill.snapshot import take_events, take_snapshot
from kgdistill.store import GraphStore, load_schema
from kgdistill.tasks.histories import frozen_purchases, stored_purchases
from tests._jobs import ingest, rows, write_rows
from tests.integration._stores import STORES, opened

KINDS = {"add_to_cart": "ADDED", "wishlist": "FAVORITED", "share": "SHARED", "comment": "COMMENTED"}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GraphStore]:
    yield from opened(request.param, request, tmp_path)


def log(root: Path) -> None:
    """Ann does each of the four with tea-1, carts it twice and gives it five stars; others do other."""
    done = [("ann", "tea-1", kind, day) for day, kind in enumerate(KINDS, 1)]
    done += [("ann", "tea-1", "add_to_cart", 9), ("ann", "tea-1", "purchase", 10)]
    done += [(f"u{n}", f"mug-{n}", kind, 5) for n in range(3) for kind in (*KINDS, "purchase")]
    done += [("ann", "tea-1", "rate", 11), ("ann", "mug-1", "rate", 12), ("ann", "mug-2", "rate", 13)]
    stars = {("ann", "tea-1"): 5, ("ann", "mug-1"): 1}
    brand = {"tea-1": "Hillside", "tea-2": "Hillside"}
    write_rows(
        root / "log.csv",
        ["user_id", "product_id", "title", "brand", "event", "time", "rating"],
        ([u, p, f"thing {p}", brand.get(p, "Kiln"), kind, f"2024-01-{day:02} 10:00:00",
          stars.get((u, p), "") if kind == "rate" else ""] for u, p, kind, day in
         [*done, ("u0", "tea-2", "view", 5)]),
    )  # fmt: skip


def test_events_of_a_basket_are_proposed_ingested_cut_and_explained(
    store: GraphStore, tmp_path: Path
) -> None:
    root, schema = tmp_path / "files", load_schema()
    log(root)
    mapping = parse_mapping(propose([root / "log.csv"], schema))
    for _ in range(2):  # Twice is once.
        ingest(store, root, tmp_path / "archive", mapping=mapping, schema=schema)
    for kind, name in KINDS.items():
        first, *others = rows(store, ("User", name, "Product"))
        twice = kind == "add_to_cart"
        day = list(KINDS).index(kind) + 1
        assert first == {
            "source": "ann", "target": "tea-1", "first_at": datetime(2024, 1, day, 10),
            "last_at": datetime(2024, 1, 9 if twice else day, 10), "count": 1 + twice,
        }  # fmt: skip
        assert len(others) == 3
    cut = take_snapshot(store, tmp_path / "snapshot", cut=datetime(2024, 1, 2))
    held = {name: cut.edge_table(("User", name, "Product")) for name in KINDS.values()}
    assert {name: table.num_rows for name, table in held.items()} == dict.fromkeys(held, 0) | {"ADDED": 1}
    # How often is a matter of later events.
    assert held["ADDED"].column_names == ["source", "target", "first_at"]

    # Stars in every store: five are liking, one is not, and none is not known to be otherwise.
    rated = ("User", "RATED", "Product")
    later = take_events(store, rated, start=datetime(2024, 1, 2), end=None, include_future=True)
    above = {"RATED.rating": 3.0}
    for table in (
        stored_purchases(store, rated, schema, user="ann", above=above),
        stored_purchases(store, rated, schema, above=above),
        frozen_purchases(cut, later, rated, above=above),
    ):
        liked = dict(zip(table["product"].to_pylist(), table["bought"].to_pylist(), strict=True))
        assert liked == {"tea-1": True, "mug-1": False, "mug-2": True}

    found = run_query(store, "why", {"user": "ann", "product": "tea-2"}).to_pylist()
    assert {(row["event"], row["kind"]) for row in found} == {
        (n, "MADE_BY") for n in (*KINDS.values(), "BOUGHT", "RATED")
    }
    english = {"ADDED": "put into the basket", "FAVORITED": "put on the wish list", "SHARED": "shared",
               "COMMENTED": "commented on"}  # fmt: skip
    chinese = {"ADDED": "加购过", "FAVORITED": "收藏过", "SHARED": "分享过", "COMMENTED": "评论过"}
    for language, words in (("en", english), ("zh", chinese)):
        told = explain(store, "ann", "tea-2", limit=50, language=language)
        for name, verb in words.items():
            (one,) = (e for e in told if e.steps[1] == PathLink(name, True))
            assert one.because.startswith(verb)
