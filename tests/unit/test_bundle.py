"""The bundle answers as the student does, alone, and says plainly what it cannot do."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from _bundle import arrays
from _shop import Shop
from _train import train_student, train_teacher

from kgdistill.config import StudentConfig, TeacherConfig
from kgdistill.errors import ArtefactError, DiskError, InputError
from kgdistill.models.scorer import Scorer
from kgdistill.models.terms import SharedGroups
from kgdistill.serve.bundle import Bundle, load_bundle
from kgdistill.serve.pack import pack_student
from kgdistill.tasks.interactions import Interactions
from kgdistill.train.choose import LinearChoice, sides_of
from kgdistill.train.student import student_scorer
from kgdistill.train.targets import Targets, make_targets
from kgdistill.train.teacher import teacher_scorer

CPU = torch.device("cpu")


def targets_of(shop: Shop) -> Targets:
    catalogue = shop.catalogue()
    teacher = train_teacher(
        catalogue, shop.facts(), TeacherConfig(dim=6, layers=1, epochs=1, candidates=10, graph_steps=20),
        device=CPU, seed=0, validate=lambda scorer: {"x": 0.0},
    )  # fmt: skip
    return make_targets(
        teacher_scorer(teacher, catalogue, catalogue.view(), CPU), catalogue, top=12, random=4, seed=0
    )


@pytest.fixture(scope="module", params=[False, True], ids=["linear", "neighbours"])
def scorer(shop: Shop, request: pytest.FixtureRequest) -> Scorer:
    catalogue, taught = shop.catalogue(), request.param
    config = StudentConfig(epochs=2, candidates=20, neighbours=9 * taught)
    targets = targets_of(shop) if taught else None
    trained = train_student(
        catalogue, shop.fields(), shop.tokens, None if targets is None else lambda until: targets, config,
        dim=6, inner_share=0.15, device=CPU, seed=0, validate=lambda scorer: {"x": 0.0},
        linear=LinearChoice(reg=5.0, side_weight=1.0, decay=0.1, walk=2),
        sides=sides_of(catalogue, shop.facts()),
    )  # fmt: skip
    assert len(trained.neighbours) == 2 * taught
    # Weights of training in two epochs are near their start; these make every term count.
    draw = torch.Generator().manual_seed(0)
    blend = trained.model.blend
    assert blend.typed_scale.std() > 0
    with torch.no_grad():
        trained.model.recency.fill_(np.log(0.3))
        for table in (trained.model.tokens, trained.model.ids):
            table.weight.normal_(generator=draw)
        blend.weights.weight.normal_(generator=draw)
        blend.user.weight.normal_(generator=draw)
        blend.typed_scale.uniform_(0.3, 3, generator=draw)
        blend.new_boost.fill_(0.7)
    return student_scorer(trained, catalogue, shop.tokens, catalogue.view(), CPU)


@pytest.fixture
def bundle(shop: Shop, scorer: Scorer) -> Bundle:
    return pack_student(scorer, shop.catalogue(), shop.snapshot)


def keys(shop: Shop, scorer: Scorer, user: int) -> list[str]:
    """What a user bought, the latest last."""
    items, _, ranks = scorer.view.history(np.array([user]))
    return [str(shop.snapshot.keys("Product")[i]) for i in items[ranks.argsort(descending=True)]]


def test_the_bundle_scores_every_user_as_the_student_does(shop: Shop, scorer: Scorer, bundle: Bundle) -> None:
    items = shop.catalogue().items
    want = scorer(np.arange(60), items)
    for user in range(60):
        known, unknown = bundle.index(keys(shop, scorer, user))
        assert unknown == ()
        np.testing.assert_allclose(bundle.scores(known, pool="all"), want[user], rtol=1e-4, atol=1e-4)


def test_the_bundle_scores_histories_of_every_length_and_order_as_the_student_does(
    shop: Shop, scorer: Scorer, bundle: Bundle
) -> None:
    draw, items = np.random.default_rng(2), shop.catalogue().items
    histories = [draw.permutation(80)[:n] for n in (0, 1, 2, 5, 30, 80)]
    histories += [histories[-2][::-1]]
    rows = np.repeat(np.arange(len(histories)), [len(h) for h in histories])
    ages = np.concatenate([np.arange(len(h), 0, -1) for h in histories]).astype(np.float32)
    matrix = sp.csr_matrix((ages, (rows, np.concatenate(histories))), shape=(len(histories), 80))
    bought = matrix.copy()
    bought.data = np.ones_like(ages)
    asking, known = Interactions(bought, matrix.data.copy(), 3), scorer.view
    # What is known of the items is the shop's; only the histories are others.
    asking.counts, asking.recent = known.counts, known.recent
    for term in scorer.terms.terms:
        if isinstance(term, SharedGroups):
            own, _ = asking.group_shares(term.family)
            asking._shares[term.family] = own, known.group_shares(term.family)[1]
    other = replace(scorer, terms=scorer.terms.over(asking))
    want = other(np.arange(len(histories)), items)
    for row, history in enumerate(histories):
        got = bundle.scores(np.searchsorted(items, history), pool="all")
        np.testing.assert_allclose(got, want[row], rtol=1e-4, atol=1e-4)
    # Order counts, and so does every length.
    assert np.abs(want[4] - want[6]).max() > 0.01
    assert len({tuple(scores) for scores in want.round(3).tolist()}) == len(histories)


def test_a_saved_bundle_answers_in_a_process_without_torch_or_a_store(
    shop: Shop, scorer: Scorer, bundle: Bundle, tmp_path: Path
) -> None:
    bundle.save(tmp_path / "bundle")
    history = keys(shop, scorer, 3)
    script = textwrap.dedent(
        """
        import json, sys
        from kgdistill.serve.bundle import load_bundle
        answer = load_bundle(sys.argv[1]).recommend(json.loads(sys.argv[2]), k=5)
        heavy = {"torch", "transformers", "neo4j", "ladybug", "kgdistill.store", "kgdistill.snapshot"}
        print(json.dumps([[r.id for r in answer], sorted(heavy & set(sys.modules))]))
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "bundle"), json.dumps(history)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    products, loaded = json.loads(done.stdout)
    assert loaded == []
    assert products == [r.id for r in bundle.recommend(history, k=5)]


def test_recommendations_are_ranked_leave_the_history_out_and_name_unknown_keys(
    shop: Shop, scorer: Scorer, bundle: Bundle
) -> None:
    history = keys(shop, scorer, 8)
    answer = bundle.recommend(["nope", *history, "nope", history[0]], k=1000, pool="all")
    assert (answer.basis, answer.unknown) == ("history", ("nope",))
    assert {r.id for r in answer} == set(bundle.keys) - set(history)
    assert [r.rank for r in answer] == list(range(1, len(answer) + 1))
    assert [r.score for r in answer] == sorted((r.score for r in answer), reverse=True)
    assert answer[:] == bundle.recommend(history, k=1000, pool="all")[:]
    assert {r.id for r in bundle.recommend(history, k=1000, exclude_history=False, pool="all")} == set(
        bundle.keys
    )


def test_cold_items_can_be_asked_for_alone_or_left_out(bundle: Bundle, shop: Shop, scorer: Scorer) -> None:
    cold = {k for k, n in zip(bundle.keys, arrays(bundle)["counts"], strict=True) if n < 3}
    assert cold
    history = keys(shop, scorer, 0)
    assert {r.id for r in bundle.recommend(history, k=99, pool="cold")} == cold - set(history)
    assert not cold & {r.id for r in bundle.recommend(history, k=99, pool="warm")}


@pytest.mark.parametrize("history", [[], ["nope"]])
def test_without_a_known_item_the_most_bought_come_first(history: list[str], bundle: Bundle) -> None:
    answer = bundle.recommend(history, k=7)
    assert answer.basis == "popularity"
    counts = dict(zip(bundle.keys, arrays(bundle)["counts"], strict=True))
    want = sorted(bundle.keys, key=lambda key: (-counts[key], key))[:7]
    assert [r.id for r in answer] == want


def test_without_a_known_item_a_text_is_answered_by_the_items_nearest_in_words(bundle: Bundle) -> None:
    position = int(bundle.nearest("some Number42!", k=1)[0])
    assert bundle.keys[position] == "p42"
    answer = bundle.recommend(["nope"], text="number42 maker0", k=3)
    assert (answer.basis, answer.unknown) == ("text", ("nope",))
    # The nearest stands for what was bought last.
    want = bundle.scores(bundle.nearest("number42 maker0")[::-1])
    assert answer[0].score == pytest.approx(want.max())


def test_a_text_that_shares_no_word_with_any_item_falls_back_on_popularity(bundle: Bundle) -> None:
    assert bundle.recommend(text="xylophone", k=3) == bundle.recommend(k=3)


@pytest.mark.parametrize("k", [0, -3])
def test_fewer_than_one_recommendation_cannot_be_asked_for(k: int, bundle: Bundle) -> None:
    with pytest.raises(InputError, match=f"k is {k}"):
        bundle.recommend(k=k)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_full_disk_is_said_so_and_leaves_no_bundle_that_loads(
    share: float, bundle: Bundle, tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    # A former bundle stands there: half of each must not be mixed up.
    bundle.save(folder)
    limit = int(share * (folder / "model.safetensors").stat().st_size)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(DiskError, match=r"(?s)bundle: .*too large"):
            bundle.save(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with pytest.raises(ArtefactError):
        load_bundle(folder)
    bundle.save(folder)
    assert load_bundle(folder).recommend(k=3) == bundle.recommend(k=3)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_no_space_left_says_what_to_do(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").symlink_to("/dev/full")
    with pytest.raises(DiskError, match=r"(?s)the disk is full.*free some space"):
        bundle.save(tmp_path)
