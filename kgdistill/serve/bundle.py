"""The deployable part of a run: it loads alone and answers without graph, store, torch or GPU."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.errors import ArtefactError, InputError
from kgdistill.ranking.topk import top_k
from kgdistill.serve.file import check_parts, read_bundle, write_bundle
from kgdistill.serve.reasons import reasons as reasons_of
from kgdistill.serve.scores import BundleScorer
from kgdistill.words import WordIndex

Basis = Literal["history", "history and text", "text", "popularity"]
_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Recommendation:
    """One recommended item: its key, title, rank from 1, and score, which orders one answer and says no more.

    The title is the item's whole text as the bundle holds it (see `Bundle`); `title.split(" [SEP] ")[0]` is
    the title alone.
    """

    product: str
    title: str
    rank: int
    score: float
    because: str = ""


@dataclass(frozen=True)
class Answer:
    """Recommendations and what they rest on: the history, a text, both, or popularity alone."""

    basis: Basis
    recommendations: list[Recommendation]
    unknown: tuple[str, ...] = ()


class Bundle:
    """A student ready to serve.

    Args:
        config: what `config.json` holds.
        arrays: item vectors float32 [N, D], fold float32 [D, D], counts int64 [N], the blend's weights, per
            family an incidence (CSR) and everybody's shares, and, if kept, weights between items (CSR).
        keys: item keys, ascending ids.
        titles: item texts, one per key: title, brand, category and attributes, as far as the graph has them,
            joined by " [SEP] " (`Snapshot.texts`). Training read them so, `nearest` looks for words in all of
            them, and `Recommendation.title` gives them back whole; callers pass plain words as `text`.

    Raises:
        ArtefactError: settings, arrays, keys and titles do not fit together.
    """

    def __init__(
        self, config: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], keys: list[str], titles: list[str]
    ) -> None:
        check_parts(config, arrays, keys, titles)
        self.config = config
        self.arrays = arrays
        self.keys = keys
        self.titles = titles
        self._words = WordIndex([title.replace(" [SEP] ", " ") for title in titles])
        self._index = {key: i for i, key in enumerate(keys)}
        self._scorer = BundleScorer(config, arrays)

    def __len__(self) -> int:
        return len(self.keys)

    def index(self, keys: Sequence[str | int]) -> tuple[IntArray, tuple[str, ...]]:
        """Positions of the known keys, and the unknown keys; each once, as training counts them.

        Raises:
            InputError: one text instead of several keys, or a key that is neither text nor a whole number.
        """
        distinct = list(dict.fromkeys(_texts(keys)))
        known = [self._index[k] for k in distinct if k in self._index]
        return np.array(known, np.int64), tuple(k for k in distinct if k not in self._index)

    def scores(self, history: IntArray, *, cold: bool | None = None) -> FloatArray:
        """Scores of the items, float32, for one history of positions.

        Args:
            history: int64 positions, the latest last.
            cold: True scores the items with few buyers alone, False the others, None all; the result
                is in the order of `positions`.
        """
        return self._scorer.scores(np.asarray(history, np.int64), cold)

    def positions(self, cold: bool | None = None) -> IntArray:
        """Which items `scores` is about, ascending positions."""
        return self._scorer.pools[cold].items

    def recommend(
        self,
        history: Sequence[str | int] = (),
        *,
        k: int = 20,
        text: str = "",
        exclude_history: bool = True,
        exclude: Sequence[str | int] = (),
        cold: bool | None = None,
        reasons: bool = False,
    ) -> Answer:
        """The best items for a history of item keys, or for a text, or the most bought ones.

        Args:
            history: keys of items bought, the latest last; unknown ones are reported and left out.
            k: how many; fewer where fewer are left.
            text: with a known history, only items are recommended that share at least half as much of the
                text as the one that shares most, if any shares a word. Without one, the items nearest in
                words stand in for the history.
            exclude_history: never recommend what is in the history.
            exclude: keys that are not to be recommended either; those that the bundle lacks do not matter.
            cold: True only items with few buyers, False only the others, None all.
            reasons: say for each item which term of the score raises it most, if one stands out.

        Raises:
            InputError: k is no whole number from 1 on; the history or a key of it is of another kind.
        """
        # Read once: an iterator would be empty the second time, and the answer popularity.
        history, exclude = _texts(history), _texts(exclude)
        known, unknown = self.index(history)
        pool = self.positions(cold)
        basis: Basis | None = None
        # Without a known history the nearest in words stand for one, the nearest for the latest.
        bought = known if len(known) else self.nearest(text)[::-1]
        wanted = self._fits(text, pool) if len(known) else np.ones(len(pool), np.bool_)
        if len(known) and wanted.any():
            basis = "history and text"
        elif len(bought) and not len(known):
            basis = "text"
        if basis is None:
            answer = self.recommend_many(
                [history], k=k, exclude_history=exclude_history, exclude=[exclude], cold=cold
            )[0]
        else:
            scores, out = self.scores(bought, cold=cold), self.index(exclude)[0]
            scores[
                ~wanted | np.isin(pool, np.concatenate([known, out]) if exclude_history else out)
            ] = -np.inf
            items, best = top_k(scores[None], pool, self._at_most(k, pool))
            answer = Answer(basis, self._told(items[0], best[0]), unknown)
        return self._reasoned(answer, bought, cold) if reasons else answer

    def _reasoned(self, answer: Answer, bought: IntArray, cold: bool | None) -> Answer:
        """The same answer with what raises each item most."""
        items = self.index([found.product for found in answer.recommendations])[0]
        names = [title.split(" [SEP] ")[0] or key for key, title in zip(self.keys, self.titles, strict=True)]
        told = zip(answer.recommendations, reasons_of(self._scorer, bought, items, cold, names), strict=True)
        return replace(answer, recommendations=[replace(found, because=why) for found, why in told])

    def recommend_many(
        self,
        histories: Sequence[Sequence[str | int]],
        *,
        k: int = 20,
        exclude_history: bool = True,
        exclude: Sequence[Sequence[str | int]] | None = None,
        cold: bool | None = None,
    ) -> list[Answer]:
        """As `recommend` for every history, several times faster than one by one; memory does not grow.

        Args:
            histories: keys of items bought, the latest last.
            k, exclude_history, cold: as `recommend`.
            exclude: for each history, keys that are not to be recommended either.

        Raises:
            InputError: as `recommend`, or there are not as many `exclude` as histories.
        """
        pool = self.positions(cold)
        k = self._at_most(k, pool)
        if exclude is not None and len(exclude) != len(histories):
            raise InputError(f"there are {len(histories):,} histories and {len(exclude):,} to exclude")
        indexed = [self.index(history) for history in histories]
        out = [self.index(keys)[0] for keys in exclude] if exclude is not None else [_NONE] * len(indexed)
        if exclude_history:
            out = [np.concatenate([known, more]) for (known, _), more in zip(indexed, out, strict=True)]
        asked = [n for n, (known, _) in enumerate(indexed) if len(known)]
        items, best = self._scorer.best([indexed[n][0] for n in asked], [out[n] for n in asked], k, cold)
        rows = dict(zip(asked, zip(items, best, strict=True), strict=True))
        answers = []
        for n, (_, unknown) in enumerate(indexed):
            if n in rows:
                answers.append(Answer("history", self._told(*rows[n]), unknown))
                continue
            scores = self._scorer.pools[cold].popularity[0].copy()
            scores[np.isin(pool, out[n])] = -np.inf
            first, score = top_k(scores[None], pool, k)
            answers.append(Answer("popularity", self._told(first[0], score[0]), unknown))
        return answers

    @staticmethod
    def _at_most(k: int, pool: IntArray) -> int:
        """`k`, and no more than there are items."""
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise InputError(f"k is {k!r}; it must be a whole number and at least 1")
        return min(int(k), max(len(pool), 1))

    def _told(self, items: IntArray, scores: FloatArray) -> list[Recommendation]:
        return [
            Recommendation(self.keys[i], self.titles[i], rank, score)
            for rank, (i, score) in enumerate(zip(items.tolist(), scores.tolist(), strict=True), start=1)
            if i >= 0
        ]

    def _fits(self, text: str, pool: IntArray) -> npt.NDArray[np.bool_]:
        """Which items of the pool share at least half as much of the text as the one that shares most."""
        shared = self._words.scores(text)[pool]
        fits: npt.NDArray[np.bool_] = (shared > 0) & (shared >= 0.5 * shared.max(initial=0))
        return fits

    def nearest(self, text: str, k: int = 10) -> IntArray:
        """Positions of the items whose titles and fields share most words with `text`, rarer words first.

        Empty where none shares any.
        """
        score = self._words.scores(text)
        score = np.where(
            score > 0, score + self._scorer.pools[None].popularity[0] * np.float32(1e-3), np.float32(-np.inf)
        )
        items, _ = top_k(score[None], np.arange(len(score)), max(1, min(k, len(score))))
        out: IntArray = items[0][items[0] >= 0]
        return out

    def save(self, folder: Path, *, parts: Sequence[str] = ()) -> None:
        """Writes config.json, items.json and model.safetensors.

        `config.json` comes last, with the checksum of every other file: without it nothing loads the folder.

        Args:
            folder: made where it is not there.
            parts: folders inside it that stand there already and belong to the bundle, such as text_tower.

        Raises:
            DiskError: the disk is full, or the folder cannot be written.
        """
        write_bundle(Path(folder), self.config, self.arrays, self.keys, self.titles, parts=parts)


def _texts(keys: Sequence[str | int]) -> list[str]:
    """Keys as texts: whole numbers are taken for the ids that they spell."""
    if isinstance(keys, str | bytes):
        raise InputError(
            f"{keys[:20]!r} is one text, not several keys", hint="give a list: ['20000', '20037']"
        )
    if not isinstance(keys, Iterable):
        raise InputError(f"{keys!r:.20} is no list of keys", hint="give a list: ['20000', '20037']")
    found = []
    for key in keys:
        if isinstance(key, bool) or not isinstance(key, str | int | np.integer):
            raise InputError(f"the key {str(key)[:20]!r} is a {type(key).__name__}", hint="keys are texts")
        found.append(str(key))
    return found


def load_bundle(folder: str | Path) -> Bundle:
    """Loads a bundle; nothing else of the run is needed.

    Every file is compared with the checksum in config.json first.

    Raises:
        ArtefactError: a file is missing, damaged, of another copy or of another format.
    """
    parts = read_bundle(Path(folder))
    try:
        return Bundle(*parts)
    except ArtefactError as error:
        where = str(Path(folder) / error.where)
        raise ArtefactError(error.message, where=where, hint=error.hint) from error
