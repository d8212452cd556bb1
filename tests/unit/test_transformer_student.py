"""The transformer student: cut from its teacher, trained by it, saved and loaded."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from _tiny_encoder import tiny_encoder, tiny_texts
from hypothesis import given, settings
from hypothesis import strategies as st

from kgdistill.distill.transformer import (
    TransformerStudentConfig,
    _relation_loss,
    distil_transformer,
    text_targets,
)
from kgdistill.errors import InputError
from kgdistill.models.text import PooledText, TransformerText
from kgdistill.models.text_layers import cut_vocabulary, even_layers
from kgdistill.models.transformer_student import cut_student

TEXTS = tiny_texts()
OTHER = ["", "a chair, unseen: zebra", "pen " * 40, "ÜBER-paper", "unused"]
CONFIG = TransformerStudentConfig(
    width=8, epochs=12, batch=16, lr=5e-3, precision="float32", relation_heads=2, list_weight=1.0
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="module")
def teacher(folder: Path) -> TransformerText:
    return TransformerText(str(folder), max_tokens=24, precision="float32")


def alike(student: PooledText, wanted: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> float:
    return float((student.encode(TEXTS) * wanted).sum(1).mean())


def test_layers_are_cut_evenly_and_the_last_one_stays() -> None:
    assert [even_layers(6, n) for n in (1, 2, 3, 4, 6)] == [
        [5],
        [2, 5],
        [1, 3, 5],
        [1, 2, 4, 5],
        [0, 1, 2, 3, 4, 5],
    ]
    for n in (0, 7):
        with pytest.raises(InputError, match=f"{n} layers cannot be cut from an encoder with 6"):
            even_layers(6, n)


def test_a_cut_vocabulary_splits_the_catalogue_as_before_and_spells_other_words(
    teacher: TransformerText,
) -> None:
    cut, kept = cut_vocabulary(teacher.tokenizer, TEXTS)
    assert len(kept) == len(cut) < len(teacher.tokenizer)
    for text in TEXTS[:8]:
        ids = cut(text)["input_ids"]
        assert [kept[i] for i in ids] == teacher.tokenizer(text)["input_ids"]
        assert cut.convert_ids_to_tokens(ids)[0] == "[CLS]"
    assert teacher.tokenizer.tokenize("unused") == ["unused"]
    assert cut.tokenize("unused") == ["u", "##n", "##u", "##s", "##e", "##d"]


@pytest.mark.parametrize("cut_words", [True, False])
def test_a_student_with_every_layer_and_the_whole_width_is_its_teacher(
    cut_words: bool, teacher: TransformerText
) -> None:
    cut = cut_student(teacher, TEXTS, layers=4, cut_words=cut_words, precision="float32")
    assert cut.basis is None
    assert cut.student.head is None
    np.testing.assert_allclose(cut.student.encode(TEXTS), teacher.encode(TEXTS), atol=1e-5)


def test_a_narrower_student_has_orthonormal_axes_fewer_numbers_and_the_teachers_width_outside(
    teacher: TransformerText,
) -> None:
    cut = cut_student(teacher, TEXTS, layers=2, width=8, precision="float32")
    assert cut.layers == [1, 3]
    assert cut.basis is not None
    torch.testing.assert_close(cut.basis.T @ cut.basis, torch.eye(8), atol=1e-5, rtol=0)
    config = cut.student.model.config
    assert (config.hidden_size, config.num_attention_heads, config.intermediate_size) == (8, 1, 16)
    assert cut.student.encode(TEXTS).shape == (60, 16)
    assert cut.student.parameters_count < teacher.parameters_count / 4
    for width in (12, 32):
        with pytest.raises(InputError, match=f"width {width} is no multiple of 8 below 16"):
            cut_student(teacher, TEXTS, width=width)


@pytest.mark.parametrize("attention", [0.0, 1.0])
def test_training_brings_the_student_to_its_teacher_and_leaves_the_teacher_alone(
    attention: float, teacher: TransformerText
) -> None:
    wanted = teacher.encode(TEXTS)
    before = {k: v.clone() for k, v in teacher.model.state_dict().items()}
    config = dataclasses.replace(CONFIG, attention_weight=attention)
    start = distil_transformer(teacher, TEXTS, dataclasses.replace(config, epochs=0), seed=0)
    done = distil_transformer(teacher, TEXTS, config, seed=0)
    assert alike(done.student, wanted) > alike(start.student, wanted)
    assert 1 - alike(done.student, wanted) < 0.5 * (1 - alike(start.student, wanted))
    names = {"loss/hint", "loss/cosine", "loss/rkd", "loss/list", *(["loss/attention"] if attention else [])}
    assert {k for k in done.history[0] if k.startswith("loss/")} == names
    for name in names:
        assert done.history[-1][name] < done.history[0][name]
    assert all(torch.equal(v, before[k]) for k, v in teacher.model.state_dict().items())


def test_a_student_learns_targets_of_another_width(teacher: TransformerText) -> None:
    targets = np.eye(6, dtype=np.float32)[np.arange(60) % 6] * 3
    config = dataclasses.replace(CONFIG, width=None, epochs=15, lr=1e-2, hint_weight=0.1, list_weight=0.0)
    # The second memory holds a part of the states only: the teacher is asked again in every epoch.
    for memory in (1024, 0.05):
        learnt = dataclasses.replace(config, memory_mb=memory)
        vectors = distil_transformer(teacher, TEXTS, learnt, seed=0, targets=targets).student.encode(TEXTS)
        assert vectors.shape == (60, 6)
        assert (vectors.argmax(1) == np.arange(60) % 6).mean() > 0.9


def test_the_seed_decides_the_student(teacher: TransformerText) -> None:
    config = dataclasses.replace(CONFIG, epochs=1)
    one, two, other = (
        distil_transformer(teacher, TEXTS, config, seed=s).student.encode(TEXTS) for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def test_the_epoch_that_validates_best_is_kept(teacher: TransformerText) -> None:
    config = dataclasses.replace(CONFIG, epochs=3)
    seen: list[np.ndarray[tuple[int, int], np.dtype[np.float32]]] = []

    def validate(student: PooledText) -> dict[str, float]:
        seen.append(student.encode(TEXTS))
        return {"x": [0.1, 0.3, 0.2][len(seen) - 1]}

    done = distil_transformer(teacher, TEXTS, config, seed=0, validate=validate)
    np.testing.assert_array_equal(done.student.encode(TEXTS), seen[1])


@pytest.mark.parametrize("width", [None, 8])
def test_sentence_transformers_loads_a_saved_student_and_gives_the_same_vectors(
    width: int | None, teacher: TransformerText, tmp_path: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    targets = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32) if width is None else None
    config = dataclasses.replace(CONFIG, width=width, epochs=2)
    student = distil_transformer(teacher, TEXTS, config, seed=0, targets=targets).student
    student.save(tmp_path / "student")
    texts = [*TEXTS, *OTHER]
    want = student.encode(texts)
    loaded = SentenceTransformer(str(tmp_path / "student"), device="cpu")
    np.testing.assert_allclose(loaded.encode(texts, show_progress_bar=False), want, atol=1e-5)
    # It knows by itself how many tokens it reads.
    again = TransformerText(str(tmp_path / "student"), max_tokens=64, precision="float32")
    assert again.max_tokens == 24
    np.testing.assert_allclose(again.encode(texts), want, atol=1e-5)
    assert not list((tmp_path / "student").rglob("*.bin"))


def test_relations_of_equal_states_differ_by_nothing_and_padding_says_nothing() -> None:
    torch.manual_seed(0)
    states, there = torch.randn(2, 5, 8), torch.tensor([[True] * 5, [True, True, True, False, False]])
    assert float(_relation_loss(states, states, there, 2)) == pytest.approx(0, abs=1e-6)
    mine, padded = torch.randn(2, 5, 4), states.clone()
    padded[1, 3:] = 100.0
    one, two = (float(_relation_loss(mine, theirs, there, 2)) for theirs in (states, padded))
    assert one == pytest.approx(two)
    assert one > 0.01


def test_the_target_of_a_text_is_the_mean_of_its_items_by_their_confidence() -> None:
    relational = np.array([[1, 0], [0, 2], [4, 4], [5, 5]], np.float32)
    targets, sure = text_targets(relational, np.array([1, 3, 2, 0], np.float32), np.array([0, 0, 2, 1]), 4)
    np.testing.assert_allclose(targets, [[0.25, 1.5], [0, 0], [4, 4], [0, 0]])
    np.testing.assert_allclose(sure, [4, 0, 2, 0])


def test_bad_input_is_refused(teacher: TransformerText) -> None:
    with pytest.raises(InputError, match="two texts at least"):
        distil_transformer(teacher, ["one"], CONFIG, seed=0)
    with pytest.raises(InputError, match="3 targets do not fit 60 texts"):
        distil_transformer(teacher, TEXTS, CONFIG, seed=0, targets=np.ones((3, 2), np.float32))


def test_encoding_in_bfloat16_does_not_round_the_encoder_and_follows_its_weights(folder: Path) -> None:
    encoder = TransformerText(str(folder), max_tokens=24, precision="bfloat16")
    exact = TransformerText(str(folder), max_tokens=24, precision="float32")
    first = encoder.encode(TEXTS)
    for mine, theirs in zip(encoder.model.parameters(), exact.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    np.testing.assert_allclose(first, exact.encode(TEXTS), atol=0.05)
    with torch.no_grad():
        next(encoder.model.parameters()).mul_(-1)
    assert np.abs(encoder.encode(TEXTS) - first).max() > 0.1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=4))
def test_a_cut_vocabulary_splits_whatever_it_was_cut_to_as_before(texts: list[str]) -> None:
    whole = _hypothesis_tokenizer()
    cut, kept = cut_vocabulary(whole, texts)
    for text in texts:
        assert [kept[i] for i in cut(text)["input_ids"]] == whole(text)["input_ids"]


_HELD: dict[str, object] = {}


def _hypothesis_tokenizer() -> object:
    if not _HELD:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            _HELD["tokenizer"] = TransformerText(str(tiny_encoder(Path(folder), layers=1))).tokenizer
    return _HELD["tokenizer"]
