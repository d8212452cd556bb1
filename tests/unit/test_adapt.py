"""Domain adaptation: which texts are neighbours, the ranking loss, and what adapting does to an encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from _shop import Shop
from _tiny_encoder import tiny_encoder, tiny_texts

from kgdistill.errors import InputError
from kgdistill.models.text.transformer import TransformerText
from kgdistill.tasks.interactions import Interactions, interactions_before
from kgdistill.tasks.item_groups import ItemGroups
from kgdistill.train.loop import Context
from kgdistill.train.tune import (
    AdaptConfig,
    DrawnPairs,
    NeighbourPairs,
    NeighbourSettings,
    adapt_encoder,
    later_purchases,
    neighbour_pairs,
    ranking_loss,
)

CPU = torch.device("cpu")
TEXTS = tiny_texts()
CONFIG = AdaptConfig(mode="all", epochs=6, batch=20, lr=1e-2, temperature=0.2, keep_weight=0.0)


def view_of(
    events: list[tuple[int, int, int]], *, until: int, items: int, min_count: int = 1
) -> Interactions:
    user, item, time = (np.array(column) for column in zip(*events, strict=True))
    shape = (user.max() + 1, items)
    bought = sp.csr_matrix((np.ones(len(user), np.float32), (user, item)), shape=shape)
    times = sp.csr_matrix((time.astype(np.int64), (user, item)), shape=shape)
    return interactions_before(bought, times, until_us=until, min_count=min_count)


def family(name: str, group_of: list[int]) -> ItemGroups:
    known = [i for i, g in enumerate(group_of) if g >= 0]
    groups = [group_of[i] for i in known]
    shape = (len(group_of), max(groups) + 1)
    matrix = sp.csr_matrix((np.ones(len(known), np.float32), (known, groups)), shape=shape)
    return ItemGroups(name, matrix, "pair" if "&" in name else "single")


EVENTS = [(0, 0, 1), (0, 1, 2), (1, 0, 3), (1, 1, 4), (1, 2, 5), (2, 3, 6)]


def test_items_bought_by_the_same_users_are_neighbours_by_the_shrunk_cosine_of_their_buyers() -> None:
    view = view_of(EVENTS, until=10, items=4)
    pairs = neighbour_pairs(view, [], np.arange(4), NeighbourSettings(shrink=2, bought_share=1), texts=4)
    # Two purchases count 1 / log2(3) and three 1 / log2(4), whoever makes them.
    first, second = 1 / np.log2(3), 1 / np.log2(4)
    one, two = (first + second) / (2 + 2), second / (np.sqrt(2) + 2)
    np.testing.assert_allclose(
        pairs.weights.toarray()[0], [0, one / (one + two), two / (one + two), 0], rtol=1e-5
    )
    assert pairs.anchors.tolist() == [0, 1, 2]


def test_an_event_at_or_after_the_views_time_changes_no_pair() -> None:
    later = [*EVENTS, (2, 0, 10), (0, 3, 11)]
    one, two = (
        neighbour_pairs(view_of(e, until=10, items=4), [], np.arange(4), texts=4) for e in (EVENTS, later)
    )
    assert (one.weights != two.weights).nnz == 0
    seen = neighbour_pairs(view_of(later, until=11, items=4), [], np.arange(4), texts=4)
    assert (seen.weights != one.weights).nnz


def test_facts_make_neighbours_of_items_that_share_two_of_them_in_a_group_that_is_small_enough() -> None:
    both = family("MADE_BY & IN_CATEGORY", [0, 0, -1, 1, 1, 1])
    one = family("MADE_BY", [0, 0, 0, 1, 1, 1])
    view = view_of([(0, 5, 1)], until=10, items=6)
    pairs = neighbour_pairs(view, [one, both], np.arange(6), NeighbourSettings(max_group=2), texts=6)
    assert sorted(zip(*pairs.weights.nonzero(), strict=True)) == [(0, 1), (1, 0)]
    alone = neighbour_pairs(view, [one], np.arange(6), NeighbourSettings(top=1, max_group=3), texts=6)
    # With one mate each the circle of three still keeps every member of the group from being a negative.
    assert np.diff(alone.weights.indptr).tolist() == [1] * 6
    known = DrawnPairs(alone, torch.device("cpu")).known(torch.tensor([3]), torch.tensor([4, 5, 0]))
    assert known.tolist() == [[True, True, False]]


def test_items_of_one_text_are_one_text_and_no_neighbour_of_themselves() -> None:
    view = view_of(EVENTS, until=10, items=4)
    pairs = neighbour_pairs(view, [], np.array([0, 0, 1, 2]), NeighbourSettings(bought_share=1), texts=3)
    assert (pairs.weights.toarray() > 0).tolist() == [
        [False, True, False],
        [True, False, False],
        [False, False, False],
    ]


def test_the_pairs_of_a_shop_are_within_its_blocks() -> None:
    rng = np.random.default_rng(0)
    events = [(u, int(i) * 3 + u % 3, 1) for u in range(30) for i in rng.choice(10, 4, replace=False)]
    pairs = neighbour_pairs(view_of(events, until=2, items=30), [], np.arange(30), texts=30)
    row, column = pairs.weights.nonzero()
    assert len(row) > 100
    assert (row % 3 == column % 3).all()


def test_neighbours_are_drawn_by_their_weights() -> None:
    weights = sp.csr_matrix(np.array([[0, 0.25, 0.75], [0, 0, 0], [2, 0, 0]], np.float32))
    pairs = NeighbourPairs(weights, sp.csr_matrix((3, 1), dtype=np.float32))
    draws = DrawnPairs(pairs, torch.device("cpu"))
    assert draws.anchors.tolist() == [0, 2]
    drawn = draws.draw(torch.zeros(4000, dtype=torch.int64), torch.Generator().manual_seed(0)).numpy()
    assert set(drawn) == {1, 2}
    assert abs((drawn == 2).mean() - 0.75) < 0.03
    assert draws.draw(torch.tensor([2, 0, 2]), torch.Generator())[[0, 2]].tolist() == [0, 0]


def test_the_ranking_loss_is_the_mean_of_both_softmaxes_without_the_known_positives() -> None:
    a, b = torch.eye(3), torch.tensor([[1.0, 0, 0], [0.6, 0.8, 0], [0, 0, 1]])
    known = torch.eye(3, dtype=torch.bool)
    known[0, 1] = True
    a.requires_grad_()
    got = ranking_loss(a, b, known, 0.5)
    e = np.exp(np.array([[1, 0.6, 0], [0, 0.8, 0], [0, 0, 1]]) / 0.5)
    there = [e[0, 0] / (e[0, 0] + e[0, 2]), e[1, 1] / e[1].sum(), e[2, 2] / e[2].sum()]
    back = [e[0, 0] / e[:, 0].sum(), e[1, 1] / (e[1, 1] + e[2, 1]), e[2, 2] / e[:, 2].sum()]
    assert float(got.detach()) == pytest.approx(-(np.log(there).mean() + np.log(back).mean()) / 2, rel=1e-5)
    got.backward()  # type: ignore[no-untyped-call]
    # The second coordinate of b's second row is the only one at 1: a masked pair pulls nothing along it.
    assert a.grad is not None
    assert float(a.grad[0, 1]) == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="module")
def pairs() -> NeighbourPairs:
    """Texts of one kind are neighbours."""
    same = np.arange(60)[:, None] % 6 == np.arange(60)[None] % 6
    kind = np.eye(6, dtype=np.float32)[np.arange(60) % 6]
    return NeighbourPairs(
        sp.csr_matrix((same & ~np.eye(60, dtype=bool)).astype(np.float32)), sp.csr_matrix(kind)
    )


def encoder_of(folder: Path) -> TransformerText:
    return TransformerText(str(folder), max_tokens=24, precision="float32")


def weights(encoder: TransformerText) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in encoder.model.state_dict().items()}


def contrast(encoder: TransformerText) -> float:
    """How much nearer texts of one kind are than texts of two."""
    vectors = encoder.encode(TEXTS)
    near, same = vectors @ vectors.T, np.arange(60)[:, None] % 6 == np.arange(60)[None] % 6
    return float((near[same].mean() - near[~same].mean()) / near.std())


def test_adapting_brings_neighbours_close_and_is_decided_by_the_seed(
    folder: Path, pairs: NeighbourPairs
) -> None:
    before = contrast(encoder_of(folder))
    runs = []
    for seed in (0, 0, 1):
        encoder = encoder_of(folder)
        done = adapt_encoder(encoder, TEXTS, pairs, CONFIG, Context(CPU, seed))
        assert done.model is encoder
        assert [h["epoch"] for h in done.history] == [0, 1, 2, 3, 4, 5, 6]
        assert done.history[-1]["loss/rank"] < done.history[1]["loss/rank"]
        runs.append(encoder)
    assert contrast(runs[0]) > before + 0.2
    first, again, other = (weights(r) for r in runs)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not all(torch.equal(first[k], other[k]) for k in first)


@pytest.mark.parametrize(
    ("mode", "moved"),
    [("frozen", set()), ("top", {2, 3}), ("all", {0, 1, 2, 3})],
    ids=["frozen", "top", "all"],
)
def test_adapting_moves_the_layers_it_names_and_no_other(
    mode: str, moved: set[int], folder: Path, pairs: NeighbourPairs
) -> None:
    encoder = encoder_of(folder)
    before = weights(encoder)
    config = AdaptConfig(mode=mode, top_layers=2, epochs=1, batch=16, lr=1e-3)  # type: ignore[arg-type]
    adapt_encoder(encoder, TEXTS, pairs, config, Context(CPU, 0))
    changed = {k for k, v in encoder.model.state_dict().items() if not torch.equal(v, before[k])}
    assert {int(k.split(".")[2]) for k in changed if k.startswith("encoder.layer.")} == moved
    assert any(k.startswith("embeddings.") for k in changed) == (mode == "all")
    assert not any(p.requires_grad for p in encoder.model.parameters()) or mode == "frozen"


def test_the_epoch_that_validates_best_is_kept_and_be_it_the_one_before_adapting(
    folder: Path, pairs: NeighbourPairs
) -> None:
    encoder = encoder_of(folder)
    before = weights(encoder)
    values = iter([0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
    done = adapt_encoder(
        encoder, TEXTS, pairs, CONFIG, Context(CPU, 0), validate=lambda e: {"x": next(values)}
    )
    assert [h["valid/x"] for h in done.history] == [0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0]
    assert all(torch.equal(v, before[k]) for k, v in encoder.model.state_dict().items())


def test_the_weight_of_keeping_holds_the_vectors_back(folder: Path, pairs: NeighbourPairs) -> None:
    start = encoder_of(folder).encode(TEXTS)
    kept = []
    for weight in (0.0, 20.0):
        encoder = encoder_of(folder)
        config = AdaptConfig(mode="all", epochs=2, batch=16, lr=2e-3, keep_weight=weight)
        adapt_encoder(encoder, TEXTS, pairs, config, Context(CPU, 0))
        kept.append(float((encoder.encode(TEXTS) * start).sum(1).mean()))
    assert kept[1] > kept[0]


def test_an_encoder_without_pairs_or_with_those_of_other_texts_is_refused(
    folder: Path, pairs: NeighbourPairs
) -> None:
    encoder = encoder_of(folder)
    none = NeighbourPairs(sp.csr_matrix((60, 60), dtype=np.float32), pairs.groups)
    with pytest.raises(InputError, match=r"(?s)no two texts are neighbours.*frozen"):
        adapt_encoder(encoder, TEXTS, none, CONFIG, Context(CPU, 0))
    with pytest.raises(InputError, match="59 texts, but the pairs are between 60"):
        adapt_encoder(encoder, TEXTS[:-1], pairs, CONFIG, Context(CPU, 0))
    with pytest.raises(InputError, match="is 5, but the encoder has 4 layers"):
        adapt_encoder(encoder, TEXTS, pairs, AdaptConfig(mode="top", top_layers=5), Context(CPU, 0))


def test_pairs_come_from_a_real_shops_catalogue_before_its_inner_cut(shop: Shop) -> None:
    catalogue = shop.catalogue()
    view = catalogue.view(catalogue.inner_cut(0.15))
    pairs = neighbour_pairs(view, shop.facts(), shop.rows, texts=80)
    row, column = pairs.weights.nonzero()
    together = (view.purchases.T @ view.purchases).toarray()[row, column] > 0
    mates = (row % 6 == column % 6) & (row // 6 % 2 == column // 6 % 2)
    assert (together | mates).all()
    assert mates.any()
    assert (together & ~mates).any()


def test_later_purchases_are_ranked_by_the_likeness_of_text() -> None:
    vectors = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]], np.float32)
    before = view_of([(0, 0, 1), (1, 0, 1), (1, 1, 1)], until=2, items=4)
    later = sp.csr_matrix(np.array([[0, 0, 1, 0], [0, 0, 0, 1]], np.float32))
    got = later_purchases(vectors, np.arange(4), before, later, np.arange(4), k=2)
    # User 0 finds item 2 at rank 2; user 1 finds item 3 at rank 2 of what is left, 2 and 3. Cold: both again.
    second = 1 / np.log2(3)
    assert got["all_ndcg@2"] == pytest.approx(second)
    assert got["cold_ndcg@2"] == pytest.approx((1 + second) / 2)
