"""Why a student ranks an item where it does: terms add up to the score, ranks are those of answers."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from _bundle import arrays, history_of, random_bundle, remade

from kgdistill.cli import main
from kgdistill.errors import InputError
from kgdistill.serve.bundle import Bundle
from kgdistill.serve.why import Why, why


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return random_bundle(300, dim=6, neighbours=20, rank=4)


def asked(bundle: Bundle, items: int, seed: int = 0) -> list[str]:
    return [bundle.keys[i] for i in np.random.default_rng(seed).permutation(len(bundle))[:items]]


@pytest.mark.parametrize("items", [1, 5, 40])
def test_ranks_are_those_of_the_answers_with_and_without_a_purchase(bundle: Bundle, items: int) -> None:
    history = asked(bundle, items)
    for hit in bundle.recommend(history, k=30)[::7]:
        told = why(bundle, history, hit.id)
        assert (told.rank, told.score, told.ranked) == (hit.rank, hit.score, 300 - items)
        for gone in [(carrier.id,) for carrier in told.carriers] + [told.without.ids]:
            left = [key for key in history if key not in gone]
            answer = bundle.recommend(left, k=300, exclude=history)
            ranks = {other.id: other.rank for other in answer}
            want = told.without.rank if gone == told.without.ids else None
            for carrier in told.carriers:
                want = carrier.rank if want is None and gone == (carrier.id,) else want
            assert ranks[hit.id] == want


@pytest.mark.parametrize("items", [4, 60])
def test_the_terms_add_up_to_the_score_and_the_shares_to_one(bundle: Bundle, items: int) -> None:
    history = asked(bundle, items)
    for hit in bundle.recommend(history, k=5):
        told = why(bundle, history, hit.id)
        assert told.base + sum(term.part for term in told.terms) == pytest.approx(hit.score, abs=1e-4)
        assert sum(term.share for term in told.terms) == pytest.approx(1.0)
        assert all(term.share == 0 for term in told.terms if term.part <= 0)
        assert [t.part for t in told.terms] == sorted((t.part for t in told.terms), reverse=True)


def test_what_carries_most_of_a_long_history_is_found_among_all_of_it() -> None:
    bundle, right = random_bundle(400, dim=6, neighbours=40, rank=4), 0
    history = asked(bundle, 80)
    known = bundle.index(history)[0]
    hits = bundle.recommend(history, k=20)
    for hit in hits:
        ranked = bundle.ranked()
        column = int(np.searchsorted(ranked.items, bundle.items.places[hit.id]))
        scorer = history_of(bundle).scorer
        falls = [hit.score - scorer.scores(known[known != one], ranked)[column] for one in known]
        found = why(bundle, history, hit.id)
        right += found.carriers[0].id == bundle.keys[known[int(np.argmax(falls))]]
        assert found.carriers[0].less >= 0.9 * max(falls)
    assert right >= len(hits) - 2


def only(term: int) -> Bundle:
    """A bundle in whose score one term alone counts."""
    made = random_bundle(300, dim=6, neighbours=20)
    for name in ("blend.weight", "blend.bias", "blend.user", "blend.new_boost"):
        arrays(made)[name][:] = 0
    arrays(made)["blend.bias"][term] = 1
    return remade(made)


def test_a_score_of_one_term_rests_on_it_and_falls_without_its_purchases() -> None:
    bundle = only(5)
    codes = history_of(bundle).scorer.groups[0].codes
    brand = int(np.bincount(codes[codes < codes.max()]).argmax())
    inside, outside = np.flatnonzero(codes == brand), np.flatnonzero(codes != brand)
    history = [bundle.keys[i] for i in [*inside[:2], *outside[:3]]]
    told = why(bundle, history, bundle.keys[inside[2]])
    assert (told.terms[0].term, told.terms[0].share) == ("the same brand", 1.0)
    assert {carrier.id for carrier in told.carriers} == set(history[:2])
    both = why(bundle, history, bundle.keys[inside[2]], without=history[:2])
    assert both.without.rank > told.rank
    assert str(both).endswith(f"it would be rank {both.without.rank:,}.")


def told_of(category: str, title: str) -> Why:
    """Of four purchases three are of the category, and one of them carries most."""
    made, inside = random_bundle(300, dim=6, neighbours=20), [3, 77, 150]
    table = made.items.table
    for name, values in (
        ("category", [category if i in inside else f"c{i}" for i in range(300)]),
        ("title", [f"{title} {i}" for i in range(300)]),
    ):
        table = table.set_column(table.column_names.index(name), name, [values])
    made.items = type(made.items)(table)
    history = [made.keys[i] for i in (*inside, 200)]
    found = [why(made, history, hit.id) for hit in made.recommend(history, k=20)]
    return next(one for one in found if one.carriers and one.carriers[0].id in history[:3])


def test_the_purchases_of_one_category_are_taken_out_together_and_named_after_it() -> None:
    told = told_of("Food > Coffee", "coffee")
    assert (len(told.without.ids), told.without.name, told.without.shared) == (3, "Coffee", True)
    assert str(told).endswith(f"without the 3 of Coffee it would be rank {told.without.rank:,}.")
    chinese = told_of("食品 > 咖啡", "咖啡")
    assert str(chinese).endswith(f"如果没买过那3件“咖啡”，会排第{chinese.without.rank:,}。")


def test_without_any_purchase_it_stands_where_popularity_puts_it(bundle: Bundle) -> None:
    history = asked(bundle, 3)
    item = bundle.recommend(history, k=9)[8].id
    told = why(bundle, history, item, without=history)
    ranks = {hit.id: hit.rank for hit in bundle.recommend((), k=300, exclude=history)}
    assert told.without.rank == ranks[item]
    assert "by popularity alone" in str(told)


def test_what_is_not_ranked_is_ranked_among_its_like() -> None:
    bundle = random_bundle(300, dim=6, neighbours=9, pool="warm")
    cold = bundle.recommend(asked(bundle, 4), k=3, pool="cold")[1]
    told = why(bundle, asked(bundle, 4), cold.id)
    assert (told.pool, told.rank) == ("cold", 2)
    with pytest.raises(InputError, match="not in the pool 'warm'"):
        why(bundle, asked(bundle, 4), cold.id, pool="warm")


def test_what_cannot_be_told_is_refused_in_one_sentence(bundle: Bundle) -> None:
    history = asked(bundle, 3)
    item = bundle.recommend(history, k=1)[0].id
    for args, options, says in (
        ((history, history[0]), {}, "is in the history"),
        ((["nowhere"], item), {}, "nothing that was bought is known"),
        ((history, "nowhere"), {}, "knows no item 'nowhere'"),
        ((history, item), {"without": [item]}, "is not in the history"),
        ((history, item), {"limit": 0}, "limit is 0"),
    ):
        with pytest.raises(InputError, match=says):
            why(bundle, *args, **options)


def test_the_command_tells_it_in_words_and_as_json(
    bundle: Bundle, tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle.save(f"{tmp_path}/bundle")
    history = asked(bundle, 4)
    item = bundle.recommend(history, k=3)[2].id
    command = ["why", item, "--bundle", f"{tmp_path}/bundle", "--history", ",".join(history)]
    assert main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["id"], told["rank"]) == (item, 3)
    assert told["because"] == str(why(bundle, history, item))
    assert main([*command, "--without", history[0]]) == 0
    assert "it would be rank" in capsys.readouterr().out
    assert main(["why", item, "--bundle", f"{tmp_path}/bundle"]) == 2
    assert "give one of: --user, --history" in capsys.readouterr().err


def test_what_would_be_otherwise_is_told_only_where_the_rank_would_be_or_it_was_asked(bundle: Bundle) -> None:
    history = asked(bundle, 5)
    item = bundle.recommend(history, k=1).hits[0].id
    told = why(bundle, history, item)
    moved = replace(told, without=replace(told.without, rank=told.rank + 3))
    stays = replace(told, without=replace(told.without, rank=told.rank))
    assert f"it would be rank {told.rank + 3}" in moved.otherwise
    assert stays.otherwise == ""
    assert str(moved) == f"{str(stays)[:-1]}, {moved.otherwise}."
    found = [why(bundle, history, item, without=[key]) for key in history]
    assert any(one.without.rank == one.rank for one in found)
    assert all(f"it would be rank {one.without.rank}" in str(one) for one in found)
