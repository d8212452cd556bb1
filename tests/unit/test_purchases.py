"""Answers rest on what is known by now: order, returns, unknown products and both places that know it."""

from __future__ import annotations

from datetime import datetime, timedelta

import pyarrow as pa
import pytest
from _shop import BOUGHT, CUT, Shop, fill_shop, purchases

from kgdistill.store import MemoryStore, load_schema
from kgdistill.tasks.histories import frozen_purchases, gone, histories, stored_purchases

DAY = datetime(2024, 1, 1)


def table(*rows: tuple[str, str, int | None, bool]) -> pa.Table:
    """user, product, day, bought."""
    types = {"user": pa.string(), "product": pa.string(), "at": pa.timestamp("us"), "bought": pa.bool_()}
    names = list(types)
    values = [(u, p, None if d is None else DAY + timedelta(days=d), b) for u, p, d, b in rows]
    return pa.Table.from_pylist(
        [dict(zip(names, row, strict=True)) for row in values], schema=pa.schema(types.items())
    )


def test_a_history_stands_in_the_order_of_first_purchases_and_ties_in_that_of_the_keys() -> None:
    found = histories(
        table(
            ("b", "p2", 5, True), ("a", "p3", 4, True), ("a", "p1", 2, True), ("a", "p2", 2, True),
            ("a", "p3", 1, True), ("a", "gone", 9, True), ("a", "p0", None, True),
        ),
        ["p0", "p1", "p2", "p3"],
    )  # fmt: skip
    assert list(found) == ["a", "b"]
    assert found["a"].items == ["p0", "p3", "p1", "p2"]
    # The product that no bundle knows counts for how fresh the history is.
    assert found["a"].until == DAY + timedelta(days=9)
    assert (found["b"].items, found["b"].beside) == (["p2"], [])


def test_what_was_only_returned_is_no_purchase_and_stands_beside() -> None:
    found = histories(table(("a", "p1", 1, False), ("a", "p2", 2, False), ("a", "p2", 3, True)), ["p1", "p2"])
    assert (found["a"].items, found["a"].beside) == (["p2"], ["p1"])
    assert histories(table(), ["p1"]) == {}


def test_store_and_folder_tell_the_same_until_the_store_learns_more(shop: Shop) -> None:
    keys = [f"p{n:02}" for n in range(80)]
    frozen = histories(frozen_purchases(shop.snapshot, shop.later, BOUGHT), keys)
    schema = load_schema()
    with MemoryStore() as store:
        fill_shop(store)
        assert histories(stored_purchases(store, BOUGHT, schema), keys) == frozen
        one = histories(stored_purchases(store, BOUGHT, schema, user="u07"), keys)
        assert one == {"u07": frozen["u07"]}
        assert histories(stored_purchases(store, BOUGHT, schema, user="x' OR 1=1"), keys) == {}
        unsold = next(key for key in keys if key not in frozen["u07"].items)
        row = {**purchases()[0], "source": "u07", "target": unsold, "first_at": CUT + timedelta(days=900)}
        store.write_relationships(
            BOUGHT, pa.Table.from_pylist([row], schema=schema.edge_arrow_schema(BOUGHT))
        )
        for user in (None, "u07"):
            now = histories(stored_purchases(store, BOUGHT, schema, user=user), keys)["u07"]
            assert now.items == [*frozen["u07"].items, unsold]
            assert now.until == CUT + timedelta(days=900)
    assert max(history.until for history in frozen.values()) > CUT


def test_products_that_the_store_lost_are_named() -> None:
    with MemoryStore() as store:
        fill_shop(store)
        store.delete_nodes("Product", pa.array(["p03"]))
        assert gone(store, "Product", ["p05", "p03", "other"]) == ["p03", "other"]


def test_what_has_no_time_has_no_history(shop: Shop) -> None:
    from kgdistill.errors import InputError

    with pytest.raises(InputError, match="MADE_BY has no time"):
        frozen_purchases(shop.snapshot, shop.later, ("Product", "MADE_BY", "Brand"))
