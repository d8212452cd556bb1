"""A text tower of transformer layers, by NumPy: word order counts, and a text takes milliseconds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load
from tokenizers import Tokenizer

from kgdistill.arrays import FloatArray
from kgdistill.serve.parts import Arrays, check_arrays, check_settings, refuse, whole
from kgdistill.serve.tower import TEXT_FOLDER, TextTower, unit

_LINEAR = ("query.weight", "key.weight", "value.weight", "dense.weight")
_TOKENS = 1024
"""How many go through the layers together, so few that what they leave stays in the processor's cache."""
_ERF = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
_F = np.float32


def gelu(x: FloatArray) -> FloatArray:
    """x Φ(x) (Hendrycks & Gimpel 2016), float32 of any shape.

    Φ by formula 7.1.26 of Abramowitz and Stegun, off by at most 1.5e-7.
    """
    z = np.abs(x)
    z *= _F(2**-0.5)
    t = z * _F(0.3275911)
    t += 1
    np.reciprocal(t, out=t)
    tail = t * _F(_ERF[0])
    for factor in _ERF[1:]:
        tail += _F(factor)
        tail *= t
    z *= z
    np.exp(np.negative(z, out=z), out=z)
    tail *= z
    tail *= _F(0.5)  # 1 - Φ(|x|)
    tail *= np.abs(x, out=z)
    return np.asarray(np.maximum(x, 0) - tail, np.float32)


class LayeredTower(TextTower):
    """A BERT (Devlin et al. 2019), the mean of its last layer's vectors or its first, at unit length.

    Args:
        files: a folder that `SentenceTransformer` loads, by path: config.json, model.safetensors and
            tokenizer.json are read, the others kept.
        max_tokens: what follows in a text is not read, marks counted.
        marks: the ids that stand before and behind every text.
        prefix: what stands before every text.
        pooling: `mean` or `cls`.

    Raises:
        ArtefactError: the files hold no such encoder.
    """

    def __init__(
        self,
        files: Mapping[str, bytes],
        *,
        max_tokens: int,
        marks: tuple[Sequence[int], Sequence[int]],
        prefix: str = "",
        pooling: str = "mean",
    ) -> None:
        try:
            shape = json.loads(files["config.json"])
            placed = shape.get("position_embedding_type", "absolute")
            held = load(files["model.safetensors"])
            words = held["embeddings.word_embeddings.weight"]
            self._count, self._heads = int(shape["num_hidden_layers"]), int(shape["num_attention_heads"])
            self._small = np.float32(shape["layer_norm_eps"])
            self._tokenizer = files["tokenizer.json"].decode()
            kind = shape["model_type"], shape["hidden_act"], placed
        except (AttributeError, KeyError, ValueError, TypeError, SafetensorError) as error:
            raise refuse(f"holds no text encoder: {error}", TEXT_FOLDER) from error
        if words.ndim != 2:
            raise refuse("holds no token vectors", TEXT_FOLDER)
        if kind != ("bert", "gelu", "absolute"):
            raise refuse(f"holds an encoder of the kind {' with '.join(map(str, kind))}", TEXT_FOLDER)
        self._files, self._marks, self._prefix, self._pooling = dict(files), marks, prefix, pooling
        self.max_tokens = max_tokens
        self._weights_of = self._ready(held)

    def _ready(self, held: Arrays) -> Arrays:
        """The weights as they are read, of those that a file holds; others than these are of no use here."""
        size, width = held["embeddings.word_embeddings.weight"].shape
        square, row = ("float32", (width, width)), ("float32", (width,))
        wanted: dict[str, tuple[str, tuple[int, ...]]] = {
            f"embeddings.{kind}_embeddings.weight": ("float32", (-1, width))
            for kind in ("word", "position", "token_type")
        }
        norms = ["embeddings"]
        for i in range(self._count):
            at = f"encoder.layer.{i}."
            norms += [f"{at}attention.output", f"{at}output"]
            for part in ("self.query", "self.key", "self.value", "output.dense"):
                wanted |= {f"{at}attention.{part}.weight": square, f"{at}attention.{part}.bias": row}
            inner = len(held.get(f"{at}intermediate.dense.bias", ()))
            wanted |= {
                f"{at}intermediate.dense.weight": ("float32", (inner, width)),
                f"{at}intermediate.dense.bias": ("float32", (inner,)),
                f"{at}output.dense.weight": ("float32", (width, inner)),
                f"{at}output.dense.bias": row,
            }
        wanted |= {f"{norm}.LayerNorm.{kind}": row for norm in norms for kind in ("weight", "bias")}
        read = {name: held[name] for name in wanted if name in held}
        check_arrays(self.name, read, wanted)
        marks = [*self._marks[0], *self._marks[1]]
        positions = len(read["embeddings.position_embeddings.weight"])
        try:
            tokens = Tokenizer.from_str(self._tokenizer).get_vocab_size()
        except Exception as error:  # the tokenizers' own have no other type
            raise refuse(f"holds no tokenizer: {error}", TEXT_FOLDER) from error
        whole_heads = self._heads > 0 and not width % self._heads
        if not len(marks) < (self.max_tokens or 0) <= positions or tokens > size or not whole_heads:
            raise refuse("text.max_tokens, marks and heads do not fit the encoder", TEXT_FOLDER)
        if any(not 0 <= mark < size for mark in marks):
            raise refuse("text.marks are no tokens of the encoder", TEXT_FOLDER)
        # A product is a third faster of weights that lie as they are read.
        turned = {name: np.ascontiguousarray(read[name].T) for name in wanted if name.endswith(_LINEAR)}
        return {**read, **turned}

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self._weights_of["embeddings.word_embeddings.weight"].shape[1])

    def encode(self, texts: Sequence[str], *, known: bool = False) -> FloatArray:
        """See `TextTower.encode`; vectors of unit length."""
        out = np.zeros((len(texts), self.dim), np.float32)
        before, after = self._marks
        most = (self.max_tokens or 0) - len(before) - len(after)
        ids = [row[:most] for row in self.token_ids([self._prefix + text for text in texts])]
        bare = self.token_ids([self._prefix])[0][:most] if self._prefix else []
        read = [row != bare for row in ids]
        if known:
            alone = self.token_ids(texts) if self._prefix else ids
            some = [any(i != self.unknown for i in row) for row in alone]
            read = [all(both) for both in zip(read, some, strict=True)]
        lengths = np.array([len(row) if there else 0 for row, there in zip(ids, read, strict=True)])
        for length in np.unique(lengths[lengths > 0]).tolist():
            rows = np.flatnonzero(lengths == length)
            for part in np.array_split(rows, -(-len(rows) * length // _TOKENS)):
                whole_rows = np.array([[*before, *ids[row], *after] for row in part], np.int64)
                hidden = self._hidden(whole_rows)
                out[part] = unit(hidden[:, 0] if self._pooling == "cls" else hidden.mean(axis=1))
        return out

    def _hidden(self, ids: npt.NDArray[np.int64]) -> FloatArray:
        """The last layer's vectors, float32 [N, L, W], of texts of one length, int64 [N, L]."""
        weights, (count, length) = self._weights_of, ids.shape
        x = weights["embeddings.word_embeddings.weight"][ids]
        x += weights["embeddings.position_embeddings.weight"][:length]
        x += weights["embeddings.token_type_embeddings.weight"][0]
        x = self._norm(x.reshape(count * length, -1), "embeddings")
        for i in range(self._count):
            at = f"encoder.layer.{i}."
            query, key, value = (
                self._linear(x, f"{at}attention.self.{part}")
                .reshape(count, length, self._heads, -1)
                .transpose(0, 2, 1, 3)
                for part in ("query", "key", "value")
            )
            scores = query @ key.transpose(0, 1, 3, 2) / np.float32(query.shape[-1] ** 0.5)
            scores -= scores.max(axis=-1, keepdims=True)
            np.exp(scores, out=scores)
            scores /= scores.sum(axis=-1, keepdims=True)
            seen: Any = (scores @ value).transpose(0, 2, 1, 3).reshape(count * length, -1)
            x = self._norm(x + self._linear(seen, f"{at}attention.output.dense"), f"{at}attention.output")
            inner = gelu(self._linear(x, f"{at}intermediate.dense"))
            x = self._norm(x + self._linear(inner, f"{at}output.dense"), f"{at}output")
        return x.reshape(count, length, -1)

    def _linear(self, x: FloatArray, name: str) -> FloatArray:
        out: FloatArray = x @ self._weights_of[f"{name}.weight"]
        out += self._weights_of[f"{name}.bias"]
        return out

    def _norm(self, x: FloatArray, name: str) -> FloatArray:
        """Each row less its mean, over its spread, weighed (Ba et al. 2016)."""
        x = x - x.mean(axis=1, keepdims=True)
        x /= np.sqrt(np.einsum("ij,ij->i", x, x)[:, None] / np.float32(x.shape[1]) + self._small)
        x *= self._weights_of[f"{name}.LayerNorm.weight"]
        x += self._weights_of[f"{name}.LayerNorm.bias"]
        return x

    def share(self, others: Iterable[TextTower]) -> None:
        """See `TextTower.share`."""
        for other in others:
            if isinstance(other, LayeredTower) and other._files == self._files:
                self._files, self._weights_of = other._files, other._weights_of
                return

    def settings(self) -> dict[str, Any]:
        """See `BundlePart`."""
        marks = [list(each) for each in self._marks]
        return {
            "max_tokens": self.max_tokens, "marks": marks, "prefix": self._prefix, "pooling": self._pooling,
        }  # fmt: skip

    def arrays(self) -> Arrays:
        """See `BundlePart`."""
        return {}

    def files(self) -> dict[str, bytes]:
        """See `BundlePart`."""
        return {f"{TEXT_FOLDER}/{name}": data for name, data in self._files.items()}

    @classmethod
    def from_arrays(
        cls, settings: Mapping[str, Any], arrays: Arrays, files: Mapping[str, bytes], items: int
    ) -> LayeredTower:
        """See `BundlePart`."""
        marks, most, pooling = (settings.get(name) for name in ("marks", "max_tokens", "pooling"))
        check_settings(settings, {
            "max_tokens": whole(most, 1),
            "marks": _two_lists(marks),
            "prefix": isinstance(settings.get("prefix"), str),
            "pooling": pooling in ("mean", "cls"),
        })  # fmt: skip
        assert isinstance(marks, list)
        assert isinstance(most, int)
        at = f"{TEXT_FOLDER}/"
        own = {name.removeprefix(at): data for name, data in files.items() if name.startswith(at)}
        return cls(
            own, max_tokens=most, marks=(marks[0], marks[1]), prefix=settings["prefix"], pooling=str(pooling)
        )


def stored_tower(
    settings: Mapping[str, Any], arrays: Arrays, files: Mapping[str, bytes], items: int
) -> TextTower:
    """The text tower of a bundle, of either kind; see `BundlePart`."""
    kind = LayeredTower if "marks" in settings else TextTower
    return kind.from_arrays(settings, arrays, files, items)


def _two_lists(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(each, list) and all(whole(i, 0) for i in each) for each in value)
    )
