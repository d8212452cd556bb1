"""What each stage of a run may know, told by runs over stores that differ from some moment on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _planted import CUT_DAY, TEST_DAY, Event, World, brand_world, late_world, protocol
from _tiny_encoder import tiny_encoder
from safetensors.numpy import load_file

from kgdistill.config import resolve_config
from kgdistill.evaluate.judge import evaluate_arm
from kgdistill.explore import NodeEmbeddings, write_back
from kgdistill.run import artefacts, history_match
from kgdistill.run.run import Run
from kgdistill.run.written import run_facts, with_origins
from kgdistill.store import MemoryStore
from kgdistill.train.choose import LinearChoice
from kgdistill.train.student import student_scorer
from kgdistill.train.teacher import relational_embeddings

SMALL: dict[str, Any] = {"epochs": 1, "candidates": 20, "random": 5, "evaluate_every": 1, "batch": 20}
REFIT = protocol(refit=True)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny", layers=1)


def different(world: World, start: float, end: float = np.inf) -> World:
    """The same world, in which those events from `start` on and before `end` were of other items."""

    def moved(event: Event) -> Event:
        user, item, day = event
        # Items 80-99 are those of the brands' last two rows, which nobody buys before the cut.
        return (user, (item + 13) % 20 + 80, day) if start <= day < end else event

    bought = {(user, item): (user, item, day) for user, item, day in map(moved, world.bought)}
    return dataclasses.replace(world, bought=list(bought.values()))


def started(folder: Path, world: World, encoder: Path, **sections: Any) -> Run:
    """A run with its snapshot and its texts."""
    values = {
        "protocol": world.rules.model_dump(),
        "text": {
            "encoder": str(encoder),
            "precision": "float32",
            "max_tokens": 12,
            **sections.get("text", {}),
        },
        "teacher": {
            "dim": 8,
            "layers": 2,
            "item_to_item": False,
            "inner_share": 0.1,
            "graph_steps": 20,
            **SMALL,
        },
        "student": SMALL,
        "device": "cpu",
        "threads": 1,
    }
    run = Run(folder, resolve_config(values))
    with MemoryStore() as store:
        world.fill(store)
        run.take_snapshot(store)
    run.make("text")
    return run


def trained(run: Run) -> Run:
    run.make("teacher")
    run.make("targets")
    run.make("student")
    run.make("student_nodistill")
    return run


@pytest.fixture(autouse=True)
def same_linear_expert(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation may choose it; what is compared here must not depend on that."""
    monkeypatch.setattr(history_match, "choose_linear", lambda *args, **more: LinearChoice(reg=5.0, walk=2))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Iterator[Run]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history_match, "choose_linear", lambda *args, **more: LinearChoice(reg=5.0, walk=2))
        run = trained(started(tmp_path_factory.mktemp("plain") / "run", brand_world(), encoder))
        run.make("bundle")
        yield run


def arrays(run: Run, *place: str) -> dict[str, np.ndarray[Any, Any]]:
    folder = run.folder.joinpath(*place)
    files = sorted(folder.glob("*.safetensors"))
    assert files
    return {f"{file.stem}: {name}": value for file in files for name, value in load_file(file).items()}


def same(one: Run, other: Run, *place: str) -> bool:
    mine, yours = arrays(one, *place), arrays(other, *place)
    assert mine.keys() == yours.keys()
    return all(np.array_equal(mine[name], yours[name]) for name in mine)


def losses(run: Run, stage: str) -> list[dict[str, float]]:
    lines = (run.folder / stage / "history.jsonl").read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k.startswith("loss")} for line in lines]


@pytest.mark.parametrize(("start", "what"), [(TEST_DAY, "the test"), (CUT_DAY, "anything after the cut")])
def test_no_stage_learns_from(plain: Run, encoder: Path, tmp_path: Path, start: float, what: str) -> None:
    # One epoch alone, so that validation has nothing to choose either.
    other = trained(started(tmp_path / "run", different(brand_world(), start), encoder))
    assert plain.task.validation.nnz > 0
    for stage in ("text", "teacher", "targets", "student", "student_nodistill"):
        assert same(plain, other, stage), f"{stage} knows of {what}"


def test_what_happens_before_the_cut_is_learned_from(plain: Run, encoder: Path, tmp_path: Path) -> None:
    other = trained(started(tmp_path / "run", brand_world(seed=1), encoder))
    for stage in ("teacher", "targets", "student", "student_nodistill"):
        assert not same(plain, other, stage)


def test_what_chooses_is_told_user_by_user(encoder: Path, tmp_path: Path) -> None:
    rules = protocol(refit=True, settings=("all", "cold"))
    run = started(tmp_path / "run", dataclasses.replace(brand_world(), rules=rules), encoder)
    run.make("teacher")
    scorer, task = run.by_history.teacher_scorer(), run.task
    parts = run.by_history._validate(scorer)
    judged = evaluate_arm(
        scorer, task, arm="v", title="v", split="validation", settings=["all", "cold"], k=task.protocol.k
    )  # fmt: skip
    for name, setting in (("all_ndcg@10", "all"), ("cold_ndcg@10", "cold")):
        found = judged.settings[setting]  # type: ignore[index]
        assert parts[name].mean() == pytest.approx(found.ndcg.mean())
        assert np.isin(task.users[parts[name] > 0], found.users).all()
    held = artefacts.load_validated(run.folder / "teacher")
    last = json.loads((run.folder / "teacher" / "history.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert held is not None
    assert held.mean() == pytest.approx(last["valid/all_ndcg@10"] + last["valid/cold_ndcg@10"])
    lifted = json.loads((run.folder / "teacher" / "config.json").read_text(encoding="utf-8"))["lifted"]
    new = task.items[task.counts("validation")[task.items] < task.protocol.min_item_users]
    assert lifted["new"] == len(new) >= lifted["sold"] == len(task.candidates("cold", "validation")) > 0
    assert scorer.model.blend.new_boost == pytest.approx(lifted["lift"])


def test_a_refit_chooses_blindly_and_ends_with_everything(encoder: Path, tmp_path: Path) -> None:
    world = dataclasses.replace(brand_world(), rules=REFIT)
    one, other = (
        trained(started(tmp_path / name, each, encoder))
        for name, each in (("one", world), ("other", different(world, CUT_DAY, TEST_DAY)))
    )
    # The teacher that chose has seen no validation event, nor has what it handed down while choosing.
    assert same(one, other, "teacher", "chosen")
    for stage in ("teacher", "student", "student_nodistill"):
        assert losses(one, stage) == losses(other, stage)
        assert losses(one, stage)[-1]
        # The final models have.
        assert not same(one, other, stage)
    assert not same(one, other, "targets")


def test_a_student_without_distillation_needs_no_teacher_and_gets_nothing_of_one(
    plain: Run, encoder: Path, tmp_path: Path
) -> None:
    alone = started(tmp_path / "run", brand_world(), encoder)
    alone.make("student_nodistill")
    assert not (alone.folder / "teacher").exists()
    assert same(plain, alone, "student_nodistill")
    assert {name for record in losses(alone, "student_nodistill") for name in record} == {"loss", "loss/task"}
    # The distilled one does learn from the teacher; weights between items, which are fitted, both keep.
    assert {name for record in losses(plain, "student") for name in record} > {"loss/list"}
    for stage in ("student", "student_nodistill"):
        kept = json.loads((plain.folder / stage / "config.json").read_text(encoding="utf-8"))
        assert len(kept["neighbours"]) == 2


def test_a_control_learns_by_every_loss_but_its_own(plain: Run) -> None:
    theirs = artefacts.load_targets(plain.folder / "targets").relational
    bought = plain.by_history.catalogue.view().counts >= plain.config.student.id_min_count
    for stage, learned in (("student", {"loss", "loss/list"}), ("student_nolists", set())):
        plain.make(stage)
        assert {name for record in losses(plain, stage) for name in record} == learned
        # What the lists teach is held against the start alone.
        moved = plain.by_history.student_scorer(stage).vectors.numpy() - theirs
        assert (np.abs(moved[bought]).max() > 1e-3) == (stage == "student")


def test_the_control_without_relational_embeddings_has_none_of_them(plain: Run) -> None:
    near = {}
    for stage in ("student", "student_norelations"):
        plain.make(stage)
        mine = plain.by_history.student_scorer(stage).vectors.numpy()
        theirs = artefacts.load_targets(plain.folder / "targets").relational
        near[stage] = float((mine * theirs).sum() / np.linalg.norm(mine) / np.linalg.norm(theirs))
    assert near["student"] > 0.8
    assert abs(near["student_norelations"]) < 0.3


def test_the_pairs_that_tune_the_encoder_know_nothing_from_the_inner_cut_on(
    monkeypatch: pytest.MonkeyPatch, encoder: Path, tmp_path: Path
) -> None:
    pairs: list[Any] = []
    real = history_match.adapt_encoder

    def adapt(model: Any, texts: Any, given: Any, *args: Any, **more: Any) -> Any:
        pairs.append(given)
        return real(model, texts, given, *args, **more)

    monkeypatch.setattr(history_match, "adapt_encoder", adapt)
    for name, world in (("one", late_world()), ("other", late_world(5)), ("before", late_world(early=1))):
        started(tmp_path / name, world, encoder, text={"tune": "top", "top_layers": 1, "epochs": 1})
    one, other, before = (np.asarray(p.weights.todense()) for p in pairs)
    np.testing.assert_array_equal(one, other)
    assert (one != before).any()
    np.testing.assert_array_equal(*(np.asarray(p.groups.todense()) for p in pairs[:2]))


def test_what_is_written_back_is_each_products_own_vector(plain: Run) -> None:
    with MemoryStore() as store:
        brand_world().fill(store)
        given = [NodeEmbeddings("Product", space, keys, v) for space, keys, v in plain.embeddings()]
        write_back(store, "run", plain.recommendations(k=3), given)
        held = store.read_nodes("Embedding", ["node_key", "space", "vector"]).to_pylist()
    models = plain.by_history
    view = models.catalogue.view()
    teacher = artefacts.load_teacher(plain.folder / "teacher", *models.groups("teacher"))
    pupil = artefacts.load_student(plain.folder / "student", models.fields)
    want = {
        "relational": relational_embeddings(teacher, models.catalogue, view, plain.device),
        "student": student_scorer(pupil, models.catalogue, models.tokens, view, plain.device).vectors.numpy(),
    }
    place = {str(key): i for i, key in enumerate(plain.snapshot.keys("Product"))}
    assert {row["space"] for row in held} == {"relational", "student"}
    assert {row["node_key"] for row in held} == {f"p{i:03}" for i in view.warm}
    for row in held:
        vector = np.array(row["vector"], np.float32)
        np.testing.assert_array_equal(vector, want[row["space"]][place[row["node_key"]]])
        assert np.linalg.norm(vector) > 0
    # All are different, so that each stands where it belongs.
    for space in want:
        assert len({tuple(row["vector"]) for row in held if row["space"] == space}) == len(held) // 2


def test_each_answer_carries_the_teachers_score_and_whether_its_product_is_new(plain: Run) -> None:
    world = brand_world()
    with MemoryStore() as store:
        dataclasses.replace(world, bought=[b for b in world.bought if b[2] < CUT_DAY]).fill(store)
        rows = with_origins(plain, plain.recommendations(k=20, store=store)).to_pylist()
    models, snapshot = plain.by_history, plain.snapshot
    teacher, targets = models.teacher_scorer(), artefacts.load_targets(plain.folder / "targets")
    listed = {u: dict(zip(i, s, strict=True)) for u, i, s in zip(
        targets.users.tolist(), targets.items.tolist(), targets.scores.tolist(), strict=True)}  # fmt: skip
    told = 0
    for row in rows:
        user, item = (int(snapshot.index(label, [row[end]])[0]) for label, end in
                      (("User", "user"), ("Product", "product")))  # fmt: skip
        assert row["teacher_score"] == listed[user].get(item)
        if row["teacher_score"] is not None:
            told += 1
            own = teacher.lists(np.array([user]), np.array([[item]]))[0, 0]
            assert row["teacher_score"] == pytest.approx(float(own), abs=1e-4)
    assert told > 0
    warm = {str(key) for key in snapshot.keys("Product")[models.catalogue.view().warm]}
    assert [row["is_new"] for row in rows] == [row["product"] not in warm for row in rows]
    facts = run_facts(plain)
    assert (facts.task, facts.cut) == ("recommend", snapshot.cut)
    assert facts.snapshot == snapshot.content_hash


def test_what_is_recommended_are_the_students_best_that_the_user_has_not(plain: Run) -> None:
    # As the store was at the cut: what came later would count too.
    world = brand_world()
    with MemoryStore() as store:
        dataclasses.replace(world, bought=[b for b in world.bought if b[2] < CUT_DAY]).fill(store)
        found = plain.recommendations(k=3, store=store).to_pandas()
    models = plain.by_history
    view = models.catalogue.view()
    pupil = artefacts.load_student(plain.folder / "student", models.fields)
    scorer = student_scorer(pupil, models.catalogue, models.tokens, view, plain.device)
    warm = np.intersect1d(view.warm, models.catalogue.items)
    keys, names = plain.snapshot.keys("Product"), plain.snapshot.keys("User")
    scores = scorer(models.catalogue.users, warm)
    scores[view.purchases[models.catalogue.users][:, warm].toarray() > 0] = -np.inf
    assert sorted(found["user"].unique()) == sorted(str(names[u]) for u in models.catalogue.users)
    for row, user in enumerate(models.catalogue.users):
        mine = found[found["user"] == str(names[user])].sort_values("rank")
        best = warm[np.argsort(-scores[row], kind="stable")[:3]]
        assert mine["product"].tolist() == [str(keys[i]) for i in best]
        np.testing.assert_allclose(mine["score"], np.sort(scores[row])[::-1][:3], rtol=1e-3, atol=1e-3)


def test_each_teacher_gets_its_own_facts(plain: Run) -> None:
    (brands, *_), (shuffled, *_) = (
        plain.by_history.groups(kind)[1] for kind in ("teacher", "teacher_shuffled")
    )
    assert brands.name == shuffled.name
    assert (brands.incidence != shuffled.incidence).nnz > 0
    # Each brand keeps as many products.
    np.testing.assert_allclose(brands.incidence.sum(0), shuffled.incidence.sum(0))
    assert plain.by_history.groups("teacher_text")[1] == []
