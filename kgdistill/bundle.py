"""The deployable part of a run: it loads alone and answers without graph, store, torch or GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kgdistill._bundle_file import check_parts, read_bundle, write_bundle
from kgdistill.errors import ArtefactError, InputError
from kgdistill.evaluate.topk import top_k
from kgdistill.words import WordIndex

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Basis = Literal["history", "text", "popularity"]


@dataclass(frozen=True)
class Recommendation:
    """One recommended item: its key, title, rank from 1, and score.

    The title is the item's whole text as the bundle holds it (see `Bundle`); `title.split(" [SEP] ")[0]` is
    the title alone.
    """

    product: str
    title: str
    rank: int
    score: float


@dataclass(frozen=True)
class Answer:
    """Recommendations and what they rest on: the history, a text, or popularity alone."""

    basis: Basis
    recommendations: list[Recommendation]
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Pool:
    """Some items, laid out for scoring: positions [C], vectors [C, D], weights [E, C], codes per family."""

    items: IntArray
    vectors: FloatArray
    weights: FloatArray
    log_counts: FloatArray
    log_recent: FloatArray
    state: FloatArray
    codes: list[IntArray]


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
        counts = arrays["counts"].astype(np.float32)
        self._log_counts = np.log1p(counts)
        self._log_recent = np.log1p(arrays["recent"])
        self._decay = float(np.exp(arrays["log_decay"][0]))
        self._neighbour_decay = float(config.get("neighbour_decay", 0.0))
        cold = (counts < config["min_count"]).astype(np.float32)
        self._state: FloatArray = np.stack([self._log_counts / 5.0, cold], axis=1)
        self._weights: FloatArray = self._state @ arrays["blend.weight"].T + arrays["blend.bias"]
        self._codes = [self._groups(m) for m in range(len(config["families"]))]
        is_cold = arrays["counts"] < config["min_count"]
        everything = np.arange(len(keys), dtype=np.int64)
        self._pools: dict[bool | None, _Pool] = {
            wanted: self._pool(everything if wanted is None else np.flatnonzero(is_cold == wanted))
            for wanted in (None, False, True)
        }

    def _groups(self, m: int) -> IntArray:
        """The group of every item in family `m`; one past the last group where it has none."""
        indptr, indices = self.arrays[f"family{m}.indptr"], self.arrays[f"family{m}.indices"]
        lengths = np.diff(indptr)
        codes = np.full(len(lengths), len(self.arrays[f"family{m}.everybody"]), np.int64)
        codes[lengths == 1] = indices
        return codes

    def _pool(self, items: IntArray) -> _Pool:
        return _Pool(
            items,
            self.arrays["vectors"][items],
            np.ascontiguousarray(self._weights[items].T),
            self._log_counts[items],
            self._log_recent[items],
            np.ascontiguousarray(self._state[items].T),
            [codes[items] for codes in self._codes],
        )

    def __len__(self) -> int:
        return len(self.keys)

    def index(self, keys: Sequence[str]) -> tuple[IntArray, tuple[str, ...]]:
        """Positions of the known keys, and the unknown keys; each once, as training counts them."""
        distinct = list(dict.fromkeys(keys))
        known = [self._index[k] for k in distinct if k in self._index]
        return np.array(known, np.int64), tuple(k for k in distinct if k not in self._index)

    def scores(self, history: IntArray, *, cold: bool | None = None) -> FloatArray:
        """Scores of the items, float32, for one history of positions.

        Args:
            history: int64 positions, the latest last.
            cold: True scores the items with few buyers alone, False the others, None all; the result
                is in the order of `positions`.
        """
        arrays, pool = self.arrays, self._pools[cold]
        attention = np.exp(-self._decay * np.arange(len(history) - 1, -1, -1, dtype=np.float32))
        user = attention @ arrays["vectors"][history] @ arrays["fold"]
        # How much each term weighs for a history of this length.
        own = arrays["blend.user"] * np.float32(np.log1p(len(history)) / 5.0)
        estimates = [pool.vectors @ user]
        estimates += [table[pool.items] for table in self._near(history)]
        terms = [
            _logit(r, np.float32(np.exp(e))) for r, e in zip(estimates, arrays["blend.log_eps"], strict=True)
        ]
        terms += [pool.log_counts, pool.log_recent]
        for m, codes in enumerate(self._codes):
            everybody = arrays[f"family{m}.everybody"]
            groups, times = np.unique(codes[history], return_counts=True)
            known = groups < len(everybody)
            groups, times = groups[known], times[known]
            lift = np.zeros(len(everybody) + 1, np.float32)
            if len(groups):
                lift[groups] = np.log1p(times / times.sum() / np.maximum(everybody[groups], 1e-9))
            terms.append(lift[pool.codes[m]])
        out = arrays["blend.new_boost"][0] * pool.state[1]
        for w, o, t in zip(pool.weights, own, terms, strict=True):
            out = out + (w + o) * t
        if "mixer.first" in arrays:
            best = np.arange(len(out))
            if len(out) > (most := int(self.config["mixed"])):
                best = np.argpartition(-out, most - 1)[:most]
            known = np.full(len(best), np.log1p(len(history)) / 5.0, np.float32)
            inputs = np.stack([*(t[best] for t in terms), *pool.state[:, best], known])
            inner = _gelu(arrays["mixer.first"] @ inputs + arrays["mixer.first_bias"][:, None])
            mixed = out[best] + arrays["mixer.last"] @ inner + arrays["mixer.last_bias"][0]
            if len(best) < len(out):
                out -= np.float32(self.config["behind"])
            out[best] = mixed
        scores: FloatArray = out.astype(np.float32)
        return scores

    def _near(self, history: IntArray) -> list[FloatArray]:
        """What each table of weights between items says, float32 [N]."""
        found = []
        for a, mean in enumerate(self.config.get("neighbours", [])):
            data, indices, indptr = (
                self.arrays[f"neighbours{a}.{name}"] for name in ("data", "indices", "indptr")
            )
            out, total = np.zeros(len(self.keys), np.float32), 0.0
            for rank, item in enumerate(history[::-1]):
                part, weight = slice(indptr[item], indptr[item + 1]), np.exp(-rank * self._neighbour_decay)
                out[indices[part]] += data[part] * np.float32(weight)
                total += weight
            found.append(out / np.float32(max(total, 1e-9)) if mean else out)
        return found

    def positions(self, cold: bool | None = None) -> IntArray:
        """Which items `scores` is about, ascending positions."""
        return self._pools[cold].items

    def recommend(
        self,
        history: Sequence[str] = (),
        *,
        k: int = 20,
        text: str = "",
        exclude_history: bool = True,
        exclude: Sequence[str] = (),
        cold: bool | None = None,
    ) -> Answer:
        """The best items for a history of item keys, or for a text, or the most bought ones.

        Args:
            history: keys of items bought, the latest last; unknown ones are reported and left out.
            k: how many.
            text: used where no item of the history is known: the items nearest in words stand in for it,
                if any shares a word.
            exclude_history: never recommend what is in the history.
            exclude: keys that are not to be recommended either; those that the bundle lacks do not matter.
            cold: True only items with few buyers, False only the others, None all.

        Raises:
            InputError: k below 1.
        """
        if k < 1:
            raise InputError(f"k is {k}; it must be at least 1")
        known, unknown = self.index(history)
        basis: Basis = "history"
        if len(known):
            scores = self.scores(known, cold=cold)
        elif len(near := self.nearest(text)):
            basis = "text"
            scores = self.scores(near[::-1], cold=cold)  # the nearest stands for the latest
        else:
            basis = "popularity"
            scores = self._pools[cold].log_counts.copy()
        pool = self.positions(cold)
        out = self.index(exclude)[0]
        if exclude_history:
            out = np.concatenate([known, out])
        scores[np.isin(pool, out)] = -np.inf
        items, best = top_k(scores[None], pool, k)
        found = [
            Recommendation(self.keys[i], self.titles[i], rank, float(score))
            for rank, (i, score) in enumerate(zip(items[0], best[0], strict=True), start=1)
            if i >= 0
        ]
        return Answer(basis, found, unknown)

    def nearest(self, text: str, k: int = 10) -> IntArray:
        """Positions of the items whose titles and fields share most words with `text`, rarer words first.

        Empty where none shares any.
        """
        score = self._words.scores(text)
        score = np.where(score > 0, score + self._log_counts * np.float32(1e-3), np.float32(-np.inf))
        items, _ = top_k(score[None], np.arange(len(score)), min(k, len(score)))
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


def _logit(estimate: FloatArray, eps: np.float32) -> FloatArray:
    """log(eps + eps·softplus(estimate / eps)), as the student has it."""
    ratio = estimate / eps
    soft = np.log1p(np.exp(-np.abs(ratio))) + np.maximum(ratio, 0)
    out: FloatArray = np.log(eps * soft + eps)
    return out


def _gelu(x: FloatArray) -> FloatArray:
    """GELU (Hendrycks & Gimpel 2016) by its tanh approximation, as the student has it."""
    out: FloatArray = (
        np.float32(0.5)
        * x
        * (1 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x * x * x)))
    )
    return out


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
