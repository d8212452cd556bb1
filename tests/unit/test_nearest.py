"""What a message offers in the place of a name that nobody knows."""

from __future__ import annotations

import pytest

from kgdistill.nearest import nearest, there_are


@pytest.mark.parametrize(
    ("name", "known", "offered"),
    [
        ("mim", ["min", "max"], "min"), ("cvs", ["csv", "json"], "csv"), ("BOUGTH", ["BOUGHT"], "BOUGHT"),
        ("user", ["user_id"], "user_id"), ("histry_of_usr", ["history_of_user"], "history_of_user"),
        ("lable", ["title", "label"], "label"), ("min_items", ["min_item_users"], "min_item_users"),
        # Half of a short word is another one.
        ("land", ["brand"], None), ("dutch", ["ditto"], None), ("", ["x"], None), ("x", [], None),
    ],
)  # fmt: skip
def test_only_what_is_near_is_offered(name: str, known: list[str], offered: str | None) -> None:
    assert nearest(name, known) == ("" if offered is None else f"did you mean {offered!r}? ")


def test_the_values_that_there_are_stand_nearest_first_eight_at_most() -> None:
    assert there_are("Dutch", ["pl", "nl", "german dutch", "pl"]) == "there are: german dutch, nl, pl"
    many = [f"value {n:02}" for n in range(20)]
    told = there_are("value 13", many)
    assert told.startswith("there are: value 13, ")
    assert told.endswith(" and 12 more")
    assert told.count(",") == 7
    assert there_are("x", ["y" * 50]) == f"there are: {'y' * 39}…"
    assert there_are("x", []) == ""
