"""Token tables as Sentence Transformers and as a fast encoder, and the measure of their speed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from _tiny_encoder import tiny_encoder, tiny_texts
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer

from bench.text_speed import texts_per_second, titles_of
from kgdistill.errors import InputError
from kgdistill.models.student import Student, StudentShape
from kgdistill.models.text.static import StaticText, save_static
from kgdistill.models.text.transformer import TransformerText
from kgdistill.models.text.words import WordTokens
from kgdistill.serve.tower import TextTower

TEXTS = [*tiny_texts(), "", "  ", "pen\tlamp\ndesk", "[SEP] chair[SEP]", "ÜBER – pen"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny", layers=1)
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


@pytest.fixture(scope="module")
def student(tokenizer: Tokenizer) -> Student:
    torch.manual_seed(0)
    size = tokenizer.get_vocab_size()
    model = Student(StudentShape(vocabulary=size, warm_items=1, dim=4, units=["score"], min_count=1))
    torch.nn.init.normal_(model.token_weights)
    return model


def weights_of(student: Student) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    weights = torch.nn.functional.softplus(student.token_weights)
    return student.tokens.weight.detach().numpy(), weights.detach().numpy()


def weighted_means(student: Student, ids: list[list[int]]) -> torch.Tensor:
    offsets = torch.from_numpy(np.cumsum([0, *map(len, ids)])[:-1])
    flat = torch.tensor([i for row in ids for i in row], dtype=torch.int64)
    with torch.no_grad():
        return torch.nn.functional.normalize(student.text(flat, offsets), dim=-1)


@pytest.mark.parametrize("max_tokens", [None, 5])
def test_a_saved_table_gives_the_students_weighted_means_at_unit_length(
    max_tokens: int | None, tokenizer: Tokenizer, student: Student, tmp_path: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    ids = [e.ids[:max_tokens] for e in tokenizer.encode_batch(TEXTS, add_special_tokens=False)]
    want = weighted_means(student, ids).numpy()
    save_static(tmp_path / "tower", tokenizer, *weights_of(student), max_tokens=max_tokens)
    loaded = SentenceTransformer(str(tmp_path / "tower"), device="cpu")
    np.testing.assert_allclose(loaded.encode(TEXTS, show_progress_bar=False), want, atol=1e-5)
    fast = StaticText(tokenizer, *weights_of(student), max_tokens=max_tokens)
    np.testing.assert_allclose(fast.encode(TEXTS), want, atol=1e-5)
    # A bundle has the vectors themselves.
    tower = TextTower.of(tokenizer, *weights_of(student), max_tokens)
    flat = torch.tensor([i for row in ids for i in row])
    offsets = torch.from_numpy(np.cumsum([0, *map(len, ids)])[:-1])
    with torch.no_grad():
        np.testing.assert_allclose(tower.encode(TEXTS), student.text(flat, offsets).numpy(), atol=1e-6)
    # White space hides no word, however much of it stands before.
    np.testing.assert_array_equal(tower.encode([" \n" * 5_000 + TEXTS[0]]), tower.encode(TEXTS[:1]))
    # Without unit length only the cosines are the student's.
    save_static(tmp_path / "plain", tokenizer, *weights_of(student), max_tokens=max_tokens, normalize=False)
    plain = SentenceTransformer(str(tmp_path / "plain"), device="cpu").encode(TEXTS, show_progress_bar=False)
    lengths = np.linalg.norm(plain, axis=1, keepdims=True)
    np.testing.assert_allclose(plain / np.maximum(lengths, 1e-9), want, atol=1e-5)


_SAVE = """
import sys
import numpy as np
from tokenizers import Tokenizer
from kgdistill.models.text.static import save_static
tokenizer = Tokenizer.from_file(sys.argv[1])
save_static(sys.argv[2], tokenizer, np.ones((tokenizer.get_vocab_size(), 2), np.float32))
print("sentence_transformers" in sys.modules)
"""


def test_a_table_is_saved_without_loading_the_library_that_reads_it(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    arguments = [str(tmp_path / "tokenizer.json"), str(tmp_path / "tower")]
    done = subprocess.run(
        [sys.executable, "-c", _SAVE, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


@settings(max_examples=50)
@given(st.lists(st.text(max_size=40), max_size=5))
def test_words_split_one_by_one_are_the_tokens_of_the_text(texts: list[str]) -> None:
    tokenizer = _tokenizer()
    want = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    # Three words are soon forgotten and split again.
    for split in (WordTokens(tokenizer), WordTokens(tokenizer, words=3)):
        assert split.ids(texts) == want
        assert split.ids(texts, 4) == [ids[:4] for ids in want]


_HELD: list[Tokenizer] = []


def _tokenizer() -> Tokenizer:
    if not _HELD:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            tiny_encoder(Path(folder), layers=1)
            _HELD.append(Tokenizer.from_file(str(Path(folder) / "tokenizer.json")))
    return _HELD[0]


def test_a_token_of_several_words_is_found(tokenizer: Tokenizer) -> None:
    phrased = Tokenizer.from_str(tokenizer.to_str())
    phrased.add_tokens([AddedToken("desk lamp", single_word=True, normalized=True)])
    found = WordTokens(phrased).ids(["a desk lamp"])[0]
    assert [phrased.id_to_token(i) for i in found] == ["a", "desk lamp"]


def test_an_encoders_ids_are_those_of_its_tokenizer(tmp_path: Path) -> None:
    encoder = TransformerText(str(tiny_encoder(tmp_path, layers=1)), max_tokens=9, precision="float32")
    for special in (True, False):
        want = encoder.tokenizer(TEXTS, truncation=True, max_length=9, add_special_tokens=special)
        assert encoder.token_ids(TEXTS, special=special) == want["input_ids"]


def test_a_table_that_does_not_fit_its_tokenizer_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    size = tokenizer.get_vocab_size()
    with pytest.raises(InputError, match=f"has shape \\(3, 2\\), but the tokenizer has {size} tokens"):
        StaticText(tokenizer, np.ones((3, 2), np.float32))
    with pytest.raises(InputError, match="2 weights do not fit"):
        save_static(tmp_path, tokenizer, np.ones((size, 2), np.float32), np.ones(2, np.float32))
    with pytest.raises(InputError, match="below 0"):
        save_static(tmp_path, tokenizer, np.ones((size, 2), np.float32), -np.ones(size, np.float32))


def test_the_rate_is_the_median_of_the_repeats_and_threads_are_put_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([0.0, 1.0, 1.0, 3.0, 3.0, 3.5])
    monkeypatch.setattr("bench.text_speed.time.perf_counter", lambda: next(clock))
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "as it was")
    seen = []

    def encode(texts: list[str]) -> None:
        seen.append((torch.get_num_threads(), os.environ["TOKENIZERS_PARALLELISM"], len(texts)))

    before = torch.get_num_threads()
    # Ten texts in 1 s, 2 s and half a second, after a run that no clock saw.
    assert texts_per_second(encode, ["x"] * 10, threads=2, repeats=3) == 10
    assert seen == [(2, "true", 10)] * 4
    assert (torch.get_num_threads(), os.environ["TOKENIZERS_PARALLELISM"]) == (before, "as it was")
    with pytest.raises(InputError, match="needs texts"):
        texts_per_second(encode, [])


def test_titles_have_exactly_the_tokens_asked_for(tokenizer: Tokenizer) -> None:
    def split(texts: list[str]) -> list[list[int]]:
        return [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]

    titles = titles_of(tiny_texts(), split, tokens=16, count=50)
    assert [len(ids) for ids in split(titles)] == [16] * 50
    assert len(set(titles)) > 10
    with pytest.raises(InputError, match="no titles of 16 tokens"):
        titles_of([], split)
