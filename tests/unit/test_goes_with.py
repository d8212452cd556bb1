"""What goes with an item: from a bundle, by pairs and else by groups, with reasons in its name's language."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from _bundle import random_bundle, remade
from _shop import PROTOCOL, Shop

from kgdistill.cli import main
from kgdistill.config import GoesWithConfig
from kgdistill.derive.together import Baskets
from kgdistill.errors import ArtefactError, InputError
from kgdistill.serve.bundle import Bundle, load_bundle
from kgdistill.serve.complements import Complements
from kgdistill.serve.goes_with import goes_with
from kgdistill.serve.items import Items
from kgdistill.serve.pack_complements import bought_baskets, pack_complements

DAY = 24 * 3_600_000_000
# Of 120 items the first 40 are of four categories of ten, the others of one; 0 and 10 go together, so do the
# categories 2 (20 to 29) and 3 (30 to 39), though no two items of these do; 119 nobody bought.
CATEGORIES = ["a > pans", "a > lids", "b > tea", "b > mugs", "c > rest"]


def shop_baskets() -> Baskets:
    draw, rows = np.random.default_rng(0), []
    for user in range(300):
        lists = [draw.choice(np.arange(40, 119), 3, replace=False).tolist() for _ in range(3)]
        lists += [[0, 10]] if user % 10 == 0 else [[int(draw.integers(0, 20))]]
        if user % 3 == 0:
            lists.append([20 + user // 3 % 10, 30 + user // 30 % 10])
        # Sold with everything.
        lists = [[*items, 40] if draw.random() < 0.4 else items for items in lists]
        rows += [(user, item, n * DAY) for n, items in enumerate(lists) for item in set(items)]
    user, item, at = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    return Baskets.of(user, item, at, 0)


def with_pairs(bundle: Bundle, config: GoesWithConfig | None = None) -> Bundle:
    bundle.complements = pack_complements(shop_baskets(), bundle.items, config)
    return bundle


def plain_bundle() -> Bundle:
    made = random_bundle(120, dim=4, text=True)
    table = made.items.table
    of = [CATEGORIES[min(n // 10, 4)] for n in range(120)]
    for name, values in (("category", of), ("brand", [f"maker {n % 3}" for n in range(120)])):
        table = table.set_column(table.column_names.index(name), name, pa.array(values, pa.string()))
    made.items = Items(table)
    return made


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return with_pairs(plain_bundle())


def test_a_pair_beyond_chance_leads_and_says_why(bundle: Bundle) -> None:
    keys, titles = bundle.keys, bundle.items.titles
    found = goes_with(bundle, [keys[0]])
    assert found.basis == "together"
    assert found[0].id == keys[10]
    assert found[0].because.startswith(f"30 bought it together with {titles[0]}, ")
    assert "times as many as by chance" in found[0].because
    assert [hit.rank for hit in found] == list(range(1, len(found) + 1))
    assert keys[0] not in {hit.id for hit in found}


def test_what_is_sold_with_everything_goes_with_nothing_beyond_chance(bundle: Bundle) -> None:
    keys = bundle.keys
    assert keys[40] not in {hit.id for hit in goes_with(bundle, [keys[50]], 120)}
    usual = goes_with(bundle, [keys[50]], 120, usual=True)
    assert usual[0].id == keys[40]
    assert usual[0].because == f"{_count(bundle, 50, 40)} bought it together with {bundle.items.titles[50]}"


def _count(bundle: Bundle, one: int, other: int) -> int:
    assert bundle.complements is not None
    return bundle.complements.items.evidence(one, other)[0]


def test_a_category_stands_in_for_what_too_few_bought_and_says_so(bundle: Bundle) -> None:
    keys, titles = bundle.keys, bundle.items.titles
    found = goes_with(bundle, [keys[25]], 8)
    assert found.basis == "groups"
    assert {hit.category for hit in found} == {"b > mugs"}
    assert found[0].because.startswith(f"{titles[25]} is of tea: with that people buy mugs, ")


def test_a_new_item_has_its_categorys(bundle: Bundle) -> None:
    made = with_pairs(plain_bundle())
    made.add_items(["a new tea"], ids=["new"], groups=[{"category": "b > tea"}])
    found = goes_with(made, ["new"], 3)
    assert found.basis == "groups"
    assert {hit.category for hit in found} == {"b > mugs"}
    made.add_items(["of no kind"], ids=["none"], groups=[{}])
    assert goes_with(made, ["none"]) == type(found)("nothing")


def test_a_brand_stands_in_where_there_is_no_category() -> None:
    made = plain_bundle()
    table = made.items.table
    brand = ["tea maker" if 20 <= n < 30 else "mug maker" if 30 <= n < 40 else None for n in range(120)]
    for name, values in (("category", [None] * 120), ("brand", brand)):
        table = table.set_column(table.column_names.index(name), name, pa.array(values, pa.string()))
    made.items = Items(table)
    found = goes_with(with_pairs(made), [made.keys[22]], 5)
    assert {hit.brand for hit in found} == {"mug maker"}


def test_several_items_are_asked_of_together(bundle: Bundle) -> None:
    keys = bundle.keys
    found = goes_with(bundle, [keys[0], keys[22]], 100)
    assert keys[10] in {hit.id for hit in found}
    assert {"b > mugs", "a > lids"} <= {hit.category for hit in found}
    assert not {keys[0], keys[22]} & {hit.id for hit in found}
    one = goes_with(bundle, [keys[0]], 1)[0].score
    assert found[0].score == pytest.approx(one / 2)


def test_filters_hold_before_ranking(bundle: Bundle) -> None:
    assert {hit.brand for hit in goes_with(bundle, [bundle.keys[25]], where={"brand": "maker 1"})} == {
        "maker 1"
    }


def test_a_chinese_name_is_told_of_in_chinese() -> None:
    made = remade(plain_bundle(), titles=["不粘平底锅", *plain_bundle().items.titles[1:]])
    found = goes_with(with_pairs(made), [made.keys[0]])
    assert found[0].because.startswith("有30人把它和不粘平底锅一起买，是偶然情况的")


def test_it_is_saved_with_the_bundle(bundle: Bundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "b")
    loaded = load_bundle(tmp_path / "b")
    for keys in (["0"], bundle.keys[:1], bundle.keys[20:23]):
        if keys[0] in bundle.items.places:
            assert goes_with(loaded, keys) == goes_with(bundle, keys)
            assert goes_with(loaded, keys, usual=True) == goes_with(bundle, keys, usual=True)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("items.partner", np.array([-1], np.int32), "is no sparse table"),
        ("items.support", None, "'complements.items.support' is missing"),
        ("group0.users", np.zeros(3, np.int64), "group0.users is int64"),
        ("items.users", np.zeros(500, np.int64), "500 items, not of 120"),
        ("group1.expected", -1.0, "holds a negative number"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(bundle: Bundle, name: str, value: object, said: str) -> None:
    assert bundle.complements is not None
    held = dict(bundle.complements.arrays())
    if value is None:
        del held[name]
    elif isinstance(value, np.ndarray):
        held[name] = np.r_[held[name][:-1], value].astype(value.dtype) if len(value) == 1 else value
    else:
        held[name] = held[name] * 0 + np.float32(-1)
    with pytest.raises(ArtefactError, match=said):
        Complements(bundle.complements.settings(), held, 120)
    with pytest.raises(ArtefactError, match="'columns' is missing"):
        Complements({}, held, 120)


def test_what_cannot_be_answered_is_one_message(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="knows no item 'nosuch'"):
        goes_with(bundle, ["nosuch"])
    with pytest.raises(InputError, match="no item is given"):
        goes_with(bundle, [])
    with pytest.raises(InputError, match="holds nothing of what is bought together"):
        goes_with(random_bundle(20, dim=4), [bundle.keys[0]])


def test_the_command_answers_as_python_does(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle.save(tmp_path / "b")
    at, (one, other) = ["--bundle", str(tmp_path / "b")], (bundle.keys[0], bundle.keys[22])
    assert main(["goes-with", one, other, "-k", "4", "--where", "brand=maker 1", *at, "--json"]) == 0
    told, want = (
        json.loads(capsys.readouterr().out),
        goes_with(bundle, [one, other], 4, where={"brand": "maker 1"}),
    )
    assert told["hits"] == [hit._asdict() for hit in want]
    assert told["rests_on"].endswith("baskets, beyond chance")
    assert main(["goes-with", one, "--usual", *at]) == 0
    said = capsys.readouterr()
    assert "because" in said.out
    assert "rests on what was bought in the same baskets\n" in said.err
    assert main(["goes-with", one, "--usual", "--where", "brand=nosuch", *at]) == 0
    said = capsys.readouterr().err
    assert "nothing is known to go with that among what --where leaves" in said
    assert "--usual" not in said
    assert main(["goes-with", "nosuch", *at]) == 2
    assert "knows no item" in capsys.readouterr().err


def test_baskets_of_a_snapshot_are_what_counts_before_its_cut(shop: Shop) -> None:
    items = np.arange(10, 70)
    found = bought_baskets(shop.snapshot, PROTOCOL, items, 0)
    rows = shop.snapshot.edge_table(PROTOCOL.interaction)
    inside = (rows["target"].to_numpy() >= 10) & (rows["target"].to_numpy() < 70)
    assert len(found.item) == inside.sum()
    assert found.item.max() < 60
    day = bought_baskets(shop.snapshot, PROTOCOL, items, 24.0)
    assert day.basket.max() < found.basket.max()
