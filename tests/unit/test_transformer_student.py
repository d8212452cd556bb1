"""The transformer student: cut from its teacher, trained by it, saved and loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from _tiny_encoder import tiny_encoder, tiny_texts
from hypothesis import given, settings
from hypothesis import strategies as st

from kgdistill.errors import InputError
from kgdistill.models.text.cut import cut_student
from kgdistill.models.text.layers import cut_vocabulary, even_layers
from kgdistill.models.text.transformer import TransformerText

TEXTS = tiny_texts()
OTHER = ["", "a chair, unseen: zebra", "pen " * 40, "ÜBER-paper", "unused"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="module")
def teacher(folder: Path) -> TransformerText:
    return TransformerText(str(folder), max_tokens=24, precision="float32")


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


@pytest.mark.parametrize("width", [None, 8])
def test_sentence_transformers_loads_a_saved_student_and_gives_the_same_vectors(
    width: int | None, teacher: TransformerText, tmp_path: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    student = cut_student(teacher, TEXTS, layers=2, width=width, precision="float32").student
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


@settings(max_examples=30)
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


def test_few_texts_at_a_time_are_read_on_the_cpu_alone(tmp_path: Path) -> None:
    folder = str(tiny_encoder(tmp_path / "tiny", layers=1))
    here, beyond = (TransformerText(folder, device=torch.device(name))._batch for name in ("cpu", "meta"))
    assert (here, beyond) == (64, 1024)
    assert TransformerText(folder, batch=7)._batch == 7
