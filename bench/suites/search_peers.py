"""Baselines of search: BM25 and encoders as they come, alone and together."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bench.suites.mpnet import mpnet_folder
from bench.suites.search_judge import SearchJudge
from bench.suites.search_teaching import TextTeaching
from bench.text_speed import texts_per_second
from kgdistill.arrays import FloatArray
from kgdistill.errors import InputError, ToolMissingError
from kgdistill.models.text.transformer import TransformerText

_WORD = re.compile("[a-z0-9]+")


def judge_peers(
    judge: SearchJudge, teaching: TextTeaching, second: TransformerText | None, title: str
) -> None:
    """Adds every peer.

    Args:
        judge: gets the arms.
        teaching: what ours are taught from; peers read its catalogue and ask its encoder.
        second: another encoder; None leaves its arms out.
        title: what the text teacher is called.
    """
    catalogue, encoder = teaching.catalogue, teaching.teacher.encoder
    assert isinstance(encoder, TransformerText)
    judge.add("bm25_title", "BM25, title", "peer", _plain_bm25(catalogue.titles, judge.queries))
    joined = [" ".join(filter(None, texts)) for texts in zip(*catalogue.fields.values(), strict=True)]
    bm25 = _plain_bm25(joined, judge.queries)
    judge.add("bm25", "BM25, all fields", "peer", bm25)
    plurals = _plural_bm25(joined, judge.queries)
    judge.add("bm25_plurals", "BM25, all fields, plurals cut", "peer", plurals)
    asked = encoder.encode(judge.queries)
    meaning = asked @ teaching.vectors.fields[0].T
    size = encoder.parameters_count
    rate = texts_per_second(encoder.encode, catalogue.titles[:512], repeats=3)
    judge.add("minilm", f"{title}, title", "peer", meaning, parameters=size, texts_per_second=rate)
    lexical = {"bm25": ("BM25", bm25), "bm25_plurals": ("BM25, plurals cut,", plurals)}
    _add_blends(judge, "minilm", title, lexical, meaning, size)
    if (table := _static_peer(catalogue.titles, judge.queries)) is not None:
        judge.add("wordllama", "static table (WordLlama-256), title", "peer", table, parameters=32_000 * 256)
    else:
        judge.notes.append("The static table of wordllama is left out: the package is not installed.")
    if second is None:
        return
    name = Path(second.name).resolve().name
    far = second.encode(judge.queries) @ second.encode(catalogue.titles).T
    size = second.parameters_count
    rate = texts_per_second(second.encode, catalogue.titles[:128], repeats=3)
    judge.add("second", f"{name}, title", "peer", far, parameters=size, texts_per_second=rate)
    _add_blends(judge, "second", name, lexical, far, size)


def _add_blends(
    judge: SearchJudge,
    encoder: str,
    title: str,
    lexical: Mapping[str, tuple[str, FloatArray]],
    near: FloatArray,
    size: int,
) -> None:
    """Each lexical peer (arm → title, scores) with the cosines of one encoder of `size` parameters."""
    for arm, (name, words) in lexical.items():
        values = judge.cross_validated({"words": words, "near": near}, 0)
        told = f"{name} + {title}, cross-validated"
        judge.add(f"{arm}_{encoder}", told, "peer", values, parameters=size)


def second_encoder(folder: str, notes: list[str]) -> TransformerText | None:
    """The peers' other encoder, or None and a note where mpnet cannot be had.

    Raises:
        InputError: the encoder that is named cannot be loaded.
    """
    if folder and not Path(folder).is_dir():
        raise InputError("is no folder of a text encoder", where=folder)
    try:
        return TransformerText(folder or str(mpnet_folder()), precision="float32")
    except ToolMissingError as error:
        notes.append(f"BM25 + mpnet is left out: {error.message}")
        return None


def _plain_bm25(texts: list[str], queries: list[str]) -> FloatArray:
    """Float32 [Q, products], by bm25s as it comes: English stop words, no stemming, k1 1.5, b 0.75."""
    import bm25s  # type: ignore[import-untyped]

    index = bm25s.BM25()
    index.index(bm25s.tokenize(texts, stopwords="en", show_progress=False), show_progress=False)
    asked = bm25s.tokenize(queries, stopwords="en", show_progress=False, return_ids=False)
    nothing = np.zeros(len(texts), np.float32)
    return np.stack([index.get_scores(words) if words else nothing for words in asked])


def plural_words(text: str) -> list[str]:
    """Lower-case runs of ASCII letters and digits, without a plural's s.

    Written anew, not taken from the package: a baseline does not change with what is judged against it.
    """
    return [
        word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
        for word in _WORD.findall(text.lower())
    ]


def _plural_bm25(texts: list[str], queries: list[str]) -> FloatArray:
    """Float32 [Q, products]: BM25 over `plural_words`, with the values usual for longer texts."""
    import bm25s

    index = bm25s.BM25(k1=1.2, b=0.75)
    index.index([plural_words(text) for text in texts], show_progress=False)
    nothing = np.zeros(len(texts), np.float32)
    asked = ([word for word in plural_words(query) if word in index.vocab_dict] for query in queries)
    return np.stack([index.get_scores(words) if words else nothing for words in asked])


def _static_peer(titles: list[str], queries: list[str]) -> FloatArray | None:
    """Cosines by the token table that the package wordllama carries; None where it is not installed."""
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    found = importlib.util.find_spec("wordllama")
    if found is None or not found.submodule_search_locations:
        return None
    place = Path(found.submodule_search_locations[0])
    tokenizer = Tokenizer.from_file(str(place / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    table = load_file(place / "weights" / "l2_supercat_256.safetensors")["embedding.weight"]
    vectors = []
    for texts in (queries, titles):
        pooled = np.zeros((len(texts), table.shape[1]), np.float32)
        for row, encoded in enumerate(tokenizer.encode_batch(list(texts), add_special_tokens=False)):
            pooled[row] = table[encoded.ids].astype(np.float32).mean(axis=0) if encoded.ids else 0
        vectors.append(pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-9))
    return np.asarray(vectors[0] @ vectors[1].T, np.float32)
