"""What finds items by text: an index of words beside the items' vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np

from kgdistill.arrays import BoolArray, FloatArray, IntArray
from kgdistill.errors import ArtefactError
from kgdistill.ranking.fusion import SERVING, Fusion, fuse
from kgdistill.serve.answer import Basis
from kgdistill.serve.parts import Arrays, check_arrays, check_settings, number, refuse, whole
from kgdistill.tasks.lexical import LexicalIndex, lexical_index

_VECTORS = "vectors"
# A query is a few words: what follows is neither counted nor read.
LONGEST = 2000


def unread(text: str) -> str:
    """What is said of a text that is longer than what is read; empty where it is not."""
    if len(text) <= LONGEST:
        return ""
    return f"the text is {len(text):,} characters long, and no more than {LONGEST:,} are read"


@dataclass(frozen=True)
class SearchIndex:
    """Words find, meaning reorders; see `fuse`. Everything is built once.

    Attributes:
        words: over the items' fields.
        vectors: unit vectors of the items by the text tower, float32 [N, D].
        fusion: what the parts weigh.
    """

    words: LexicalIndex
    vectors: FloatArray
    fusion: Fusion = SERVING

    name: ClassVar[str] = "search"

    def parts(self, queries: Sequence[str], asked: FloatArray) -> dict[str, FloatArray]:
        """What each part of the score says of every item, float32 [Q, N].

        Args:
            queries: the texts.
            asked: their unit vectors by the text tower, float32 [Q, D]; 0 where it knows none of a text.
        """
        short = [query[:LONGEST] for query in queries]
        return {
            "words": self.words.scores(short),
            "coverage": self.words.coverage(short),
            "near": np.asarray(asked @ self.vectors.T, np.float32),
        }

    def scores(self, queries: Sequence[str], asked: FloatArray, items: IntArray | None = None) -> FloatArray:
        """Float32 [Q, N], or of some items alone, which are ranked as if there were no others."""
        return fuse(self._of(queries, asked, items), self.fusion)

    def ranked(
        self,
        queries: Sequence[str],
        asked: FloatArray,
        items: IntArray | None = None,
        said: Mapping[str, FloatArray] | None = None,
    ) -> tuple[FloatArray, list[Basis]]:
        """The scores, -inf where nothing speaks for an item, and what each row rests on.

        Args:
            queries, asked: as `parts`.
            items: which are ranked, as if there were no others.
            said: what the queries say of the items' fields, as "named" and "fits" of `fuse`, float32 [Q, N].
        """
        parts = self._of(queries, asked, items, said)
        words = parts["words"]
        if not words.shape[1]:
            return words, ["nothing"] * len(queries)
        out = fuse(parts, self.fusion)
        shares, meant = np.asarray(words.any(axis=1)), np.asarray(asked.any(axis=1))
        # Behind the depth, what has no word of a text follows in no order.
        out[shares[:, None] & (out <= -10)] = -np.inf
        out[(~meant)[:, None] & (words <= 0)] = -np.inf
        told: dict[tuple[bool, bool], Basis] = {
            (True, True): "words and meaning", (True, False): "words",
            (False, True): "meaning", (False, False): "nothing",
        }  # fmt: skip
        return out, [told[bool(a), bool(b)] for a, b in zip(shares, meant, strict=True)]

    def fits(self, text: str, items: IntArray) -> BoolArray:
        """Which of some items share at least half as much of a text as the one that shares most."""
        shared = self.words.coverage([text[:LONGEST]])[0, items]
        fits: BoolArray = (shared > 0) & (shared >= 0.5 * shared.max(initial=0))
        return fits

    def _of(
        self,
        queries: Sequence[str],
        asked: FloatArray,
        items: IntArray | None,
        said: Mapping[str, FloatArray] | None = None,
    ) -> dict[str, FloatArray]:
        parts = self.parts(queries, asked) | dict(said or {})
        if "fits" in parts:  # nothing is found by its price alone, where words find something
            worded = parts["words"].any(axis=1, keepdims=True)
            parts["fits"] = np.where(worded & (parts["words"] <= 0), np.float32(0), parts["fits"])
        return parts if items is None else {name: part[:, items] for name, part in parts.items()}

    def extended(self, texts: Mapping[str, Sequence[str]], vectors: FloatArray) -> SearchIndex:
        """The index with further items behind these.

        Args:
            texts: by field, the title first, as in training.
            vectors: theirs by the text tower, float32 [n, D].
        """
        words = self.words.extended(texts)
        return replace(self, words=words, vectors=np.concatenate([self.vectors, vectors]))

    def settings(self) -> dict[str, Any]:
        """See `BundlePart`."""
        return {**self.words.settings(), **asdict(self.fusion)}

    def arrays(self) -> Arrays:
        """See `BundlePart`."""
        return {**self.words.arrays(), _VECTORS: self.vectors}

    def files(self) -> dict[str, bytes]:
        """See `BundlePart`."""
        return {}

    @classmethod
    def from_arrays(
        cls, settings: Mapping[str, Any], arrays: Arrays, files: Mapping[str, bytes], items: int
    ) -> SearchIndex:
        """See `BundlePart`."""
        depth = settings.get("depth")
        weights = {name: settings.get(name) for name in ("meaning", "coverage", "facts", "k1", "b")}
        check_settings(settings, {
            **{name: number(value) for name, value in weights.items()},
            "depth": depth is None or whole(depth, 1),
            "size": settings.get("size") == items,
        })  # fmt: skip
        check_arrays(cls.name, arrays, {
            "terms": ("uint8", (-1,)), "starts": ("int64", (-1,)), "items": ("int32", (-1,)),
            "counts": ("int32", (-1,)), _VECTORS: ("float32", (items, -1)),
        })  # fmt: skip
        try:
            words = LexicalIndex.from_arrays(settings, arrays)
        except ArtefactError as error:
            raise refuse(error.message) from error
        fusion = Fusion(**{f.name: settings[f.name] for f in fields(Fusion)})
        return cls(words, arrays[_VECTORS], fusion)


def search_index(
    texts: Mapping[str, Sequence[str]], vectors: FloatArray, fusion: Fusion = SERVING
) -> SearchIndex:
    """An index of items.

    Args:
        texts: by field, the title first, as in training.
        vectors: unit vectors of the items, float32 [N, D].
        fusion: what the parts weigh.
    """
    return SearchIndex(lexical_index(texts), vectors, fusion)
