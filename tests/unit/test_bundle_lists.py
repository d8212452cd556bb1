"""A bundle of items whose text lists values answers as the student does, and names what part is shared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from _bundle import arrays, history_of, random_bundle, remade
from _planted import Planted, colour_world
from _train import train_student

from kgdistill.config import StudentConfig
from kgdistill.errors import ArtefactError
from kgdistill.listed import parts_of
from kgdistill.models.scorer import Scorer
from kgdistill.models.terms import SharedGroups
from kgdistill.run import artefacts
from kgdistill.serve import scores
from kgdistill.serve.bundle import Bundle, load_bundle
from kgdistill.serve.facets import Facets
from kgdistill.serve.history import Family
from kgdistill.serve.items import Items
from kgdistill.serve.pack import pack_student
from kgdistill.serve.why import why
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.item_groups import ItemGroups
from kgdistill.train.student import TrainedStudent, student_scorer

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    # An item without attributes, and one that has but one.
    world = colour_world()
    said = ["", "red", *world.attributes[2:]]
    return replace(world, attributes=said).planted(tmp_path_factory.mktemp("colours"))


@pytest.fixture(scope="module")
def trained(planted: Planted) -> TrainedStudent:
    return train_student(
        planted.catalogue(), planted.fields(), planted.tokens, None, StudentConfig(epochs=1, candidates=20),
        dim=6, inner_share=0.15, validate=lambda scorer: {"x": 0.0},
    )  # fmt: skip


@pytest.fixture(scope="module")
def scorer(planted: Planted, trained: TrainedStudent) -> Scorer:
    draw, blend = torch.Generator().manual_seed(0), trained.model.blend
    with torch.no_grad():
        for table in (trained.model.tokens, trained.model.ids):
            table.weight.normal_(generator=draw)
        blend.weights.weight.normal_(generator=draw)
        blend.user.weight.normal_(generator=draw)
        blend.typed_scale.uniform_(0.3, 3, generator=draw)
    catalogue = planted.catalogue()
    return student_scorer(trained, catalogue, planted.tokens, catalogue.view(), CPU)


@pytest.fixture
def bundle(planted: Planted, scorer: Scorer) -> Bundle:
    return pack_student(scorer, planted.catalogue(), planted.snapshot)


def test_it_scores_histories_of_every_length_as_the_student_does(
    planted: Planted, scorer: Scorer, bundle: Bundle
) -> None:
    assert [f.get("split") for f in history_of(bundle).settings()["families"]] == [
        None, ["attributes"], ["attributes"],
    ]  # fmt: skip
    draw, items = np.random.default_rng(2), planted.catalogue().items
    histories = [draw.permutation(100)[:n] for n in (0, 1, 2, 5, 30, 100)] + [np.array([0]), np.array([1, 0])]
    rows = np.repeat(np.arange(len(histories)), [len(h) for h in histories])
    ages = np.concatenate([np.arange(len(h), 0, -1) for h in histories]).astype(np.float32)
    bought = sp.csr_matrix((ages, (rows, np.concatenate(histories))), shape=(len(histories), 100))
    asking, known = Interactions(sp.csr_matrix(bought > 0, dtype=np.float32), bought.data, 3), scorer.view
    asking.counts, asking.recent = known.counts, known.recent
    for term in scorer.terms.terms:
        if isinstance(term, SharedGroups):
            asking._shares[term.family] = (
                asking.group_shares(term.family)[0],
                known.group_shares(term.family)[1],
            )
    want = replace(scorer, terms=scorer.terms.over(asking))(np.arange(len(histories)), items)
    places = [np.searchsorted(items, history) for history in histories]
    for row, history in enumerate(places):
        np.testing.assert_allclose(bundle.scores(history, pool="all"), want[row], rtol=1e-4, atol=1e-4)
        for pool in ("warm", "cold"):
            some = bundle.ranked(pool).items
            np.testing.assert_allclose(
                bundle.scores(history, pool=pool), want[row][some], rtol=1e-4, atol=1e-4
            )
    part = history_of(bundle).scorer
    pool, columns = bundle.ranked("all"), np.tile(np.arange(100), (len(places), 1))
    block = part.block(places, pool)
    said = part.terms(block, pool, np.arange(len(places)), columns)
    parts = [term.family for term in scorer.terms.terms if isinstance(term, SharedGroups)]
    for n, family in enumerate(parts, start=part.estimates + 2):
        own = SharedGroups(asking, family, CPU).pairs(np.arange(len(places)), items)
        np.testing.assert_allclose(said[n], own, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cells", [1, 250, 1 << 21])
def test_many_are_answered_as_each_alone(cells: int, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "_CELLS", cells)
    draw = np.random.default_rng(0)
    asked = [[bundle.keys[i] for i in draw.permutation(100)[:n]] for n in (0, 1, 3, 20, 2, 90)]
    for pool in ("all", "warm"):
        for one, answer in zip(asked, bundle.recommend_many(asked, 100, pool=pool), strict=True):
            alone = bundle.recommend(one, 100, pool=pool)
            assert [(r.id, r.score) for r in answer] == [(r.id, r.score) for r in alone]


def groups_of(bundle: Bundle, m: int, item: int) -> list[int]:
    indptr, indices = (arrays(bundle)[f"family{m}.{part}"] for part in ("indptr", "indices"))
    return [int(group) for group in indices[indptr[item] : indptr[item + 1]]]


def grown(bundle: Bundle, said: list[str | None]) -> Bundle:
    """With new items of no title that say so."""
    part = history_of(bundle)
    old = bundle.items.columns(part.columns)
    titles: list[str | None] = ["thing"] * len(said)
    new = part.with_items(np.zeros((len(said), 6), np.float32), old, {"title": titles, "attributes": said})
    rows = [{"id": f"n{len(bundle)}-{n}", "title": "thing", "attributes": a} for n, a in enumerate(said)]
    return Bundle(bundle.config, bundle.items.with_rows(rows), history=new, search=bundle.search_index)


def test_new_items_are_in_the_groups_of_the_parts_that_are_known(bundle: Bundle, planted: Planted) -> None:
    said = [parts_of(text) for text in planted.world.attributes]
    # Added twice: those of before, of which a part is not known, tell nothing of the later ones.
    made = grown(grown(bundle, ["mauve;  red", "hemp，L，red", None]), ["XL, mauve", "mauve", "red"])
    for m in (1, 2):
        group = {
            part: groups_of(bundle, m, i)[n] for i, parts in enumerate(said) for n, part in enumerate(parts)
        }
        want = [["red"], ["L", "hemp", "red"], [], ["XL"], [], ["red"]]
        for item, parts in enumerate(want, start=100):
            assert groups_of(made, m, item) == [group[part] for part in parts]
    scores, before = made.scores(np.array([5, 6]), pool="all"), bundle.scores(np.array([5, 6]), pool="all")
    np.testing.assert_array_equal(scores[:100], before)


def test_what_is_a_list_does_not_change_with_the_items_that_are_added(bundle: Bundle) -> None:
    made = grown(bundle, [f"shade {n}, fabric {n}" for n in range(40)])
    for items in (made.items, Items.from_bytes(made.items.to_bytes())):
        assert items.values("attributes")[:3] == bundle.items.values("attributes")[:3]
        assert "red" in items.values("attributes")
        assert items.mask({"attributes": "red"}).sum() == bundle.items.mask({"attributes": "red"}).sum() > 1
        assert "red" in Facets(items).words


def test_it_is_saved_and_loaded_and_a_family_that_is_not_split_has_one_value(
    bundle: Bundle, tmp_path: Path
) -> None:
    bundle.save(tmp_path / "bundle")
    history = bundle.keys[3:9]
    assert load_bundle(tmp_path / "bundle").recommend(history, 50) == bundle.recommend(history, 50)
    families = history_of(bundle).settings()["families"]
    with pytest.raises(ArtefactError, match="several values of attributes"):
        remade(bundle, settings={"families": [{**f, "split": []} for f in families]})
    for split in (["brand"], "attributes", [3]):
        with pytest.raises(ArtefactError, match="'families' is of the wrong kind"):
            remade(bundle, settings={"families": [families[0], {**families[1], "split": split}, families[2]]})
    turned = {**arrays(bundle), "family1.indices": arrays(bundle)["family1.indices"][::-1].copy()}
    with pytest.raises(ArtefactError, match="the values of an item's attributes are in no order"):
        remade(bundle, held=turned)


def test_a_bundle_of_before_which_knows_of_no_lists_answers_as_it_did() -> None:
    made = random_bundle(200, dim=6, neighbours=5)
    families = history_of(made).settings()["families"]
    assert all("split" not in family for family in families)
    again = remade(made, settings={"families": [{**family, "split": []} for family in families]})
    for history in ([], made.keys[:1], made.keys[5:30]):
        assert again.recommend(history, 200, reasons=True) == made.recommend(history, 200, reasons=True)
    # What looks like a list is one value there.
    said, times = Family.of({"fields": ["a"], "above": False}).said({"a": ["red, L", None, "red"]})
    assert (said, times.tolist()) == ([("red, L",), ("red",)], [1, 0, 1])


def only(bundle: Bundle, term: int) -> Bundle:
    """In whose score one family alone counts."""
    for name in ("blend.weight", "blend.bias", "blend.user", "blend.new_boost"):
        arrays(bundle)[name][:] = 0
    arrays(bundle)["blend.bias"][history_of(bundle).scorer.estimates + 2 + term] = 1
    return remade(bundle)


def test_a_reason_names_the_part_that_raises_most_and_the_latest_purchase_that_has_it(
    bundle: Bundle, planted: Planted
) -> None:
    # Without titles items are called by their keys.
    made = remade(only(bundle, 1), titles=[""] * 100)
    said = [parts_of(text) for text in planted.world.attributes]
    names = sorted({part for parts in said for part in parts})
    usual = dict(zip(names, arrays(made)["family1.everybody"].tolist(), strict=True))
    history = [0, 5, 15, 25, 7]
    times = Counter[str]()
    for item in history[1:]:
        times.update({part: 1 / len(said[item]) / 4 for part in said[item]})

    def want(parts: Sequence[str]) -> str:
        part = max(parts, key=lambda one: times[one] / usual[one])
        latest = next(item for item in reversed(history) if part in said[item])
        return f"{part}, as p{latest:03} is"

    hits = made.recommend([made.keys[i] for i in history], 100, reasons=True)
    told = {bundle.items.places[hit.id]: hit.because for hit in hits}
    assert told == {
        item: want(said[item]) if any(times[part] for part in said[item]) else "" for item in told
    }
    assert len(set(told.values())) > 5
    part = hits[0].because.partition(", as ")[0]
    found = why(made, [made.keys[i] for i in history], hits[0].id)
    assert found.terms[0].term == f"the same attributes ({part})"
    # Of a new item, one of whose parts nobody has, what was bought says it; what it lacks has no name.
    more = grown(made, ["mauve, red", "mauve", "红, red"])
    said_of = {hit.id: hit.because for hit in more.recommend([made.keys[5]], 103, pool="all", reasons=True)}
    assert (said_of["n100-0"], said_of["n100-1"]) == ("red, as p005 is", "")
    chinese = remade(made, titles=["红色连衣裙"] * 100)
    assert "与红色连衣裙同为“red”" in {
        hit.because for hit in chinese.recommend([made.keys[5]], 9, reasons=True)
    }


def test_a_reason_of_a_pair_names_both(bundle: Bundle) -> None:
    made = only(bundle, 2)
    hit = made.recommend([made.keys[10]], reasons=True)[0]
    assert hit.because in {f"thing and {part}, as thing is" for part in ("wool", "S", "red")}
    terms = {term.term for term in why(made, [made.keys[10]], hit.id).terms}
    assert hit.because.removesuffix(", as thing is") in {
        term.removeprefix("the same title and attributes (").removesuffix(")") for term in terms
    }


@pytest.mark.parametrize("term", [1, 2])
def test_what_carries_most_of_a_long_history_is_found_by_its_parts(term: int, bundle: Bundle) -> None:
    made, draw = only(bundle, term), np.random.default_rng(1)
    known = draw.permutation(60)[:30]
    history = [made.keys[i] for i in known]
    part, ranked, right = history_of(made).scorer, made.ranked("all"), 0
    hits = made.recommend(history, 20)
    for hit in hits:
        column = made.items.places[hit.id]
        falls = [hit.score - part.scores(known[known != one], ranked)[column] for one in known]
        carriers = why(made, history, hit.id).carriers
        assert carriers[0].less >= 0.9 * max(falls)
        right += carriers[0].id == made.keys[known[int(np.argmax(falls))]]
    assert right >= 15


def test_the_one_purchase_of_another_part_carries_more_than_many_of_the_first(
    bundle: Bundle, planted: Planted
) -> None:
    made, said = only(bundle, 1), [set(parts_of(text)) for text in planted.world.attributes]
    item, (first, second, _) = 15, parts_of(planted.world.attributes[15])
    many = [i for i, parts in enumerate(said) if parts & said[item] == {first}][:13]
    (one, *_) = (i for i, parts in enumerate(said) if parts & said[item] == {second})
    assert (len(many), first, second) == (13, "XL", "red")
    told = why(made, [made.keys[i] for i in [*many, one]], made.keys[item])
    assert told.carriers[0].id == made.keys[one]


def test_an_artefact_says_which_fields_were_split(
    trained: TrainedStudent, planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artefacts.save_student(tmp_path, trained)
    artefacts.load_student(tmp_path, planted.fields())
    whole = [ItemGroups(f.name, f.incidence, f.kind) for f in planted.fields()]
    with pytest.raises(ArtefactError, match="before a property could list several values"):
        artefacts.load_student(tmp_path, whole)
