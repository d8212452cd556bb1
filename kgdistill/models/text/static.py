"""Text encoders on disk, as `SentenceTransformer(folder)` loads them."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import nn

from kgdistill.arrays import FloatArray
from kgdistill.models.text.prefixes import Manner
from kgdistill.models.text.static_files import check_table, static_files
from kgdistill.models.text.words import WordTokens

_PLAIN = Manner()


def _modules() -> Any:
    try:
        from sentence_transformers.sentence_transformer import modules
    except ImportError:  # where they were before version 5
        from sentence_transformers import models as modules
    return modules


def save_transformer(
    folder: str | Path,
    model: Any,
    tokenizer: Any,
    *,
    max_tokens: int,
    head: nn.Linear | None = None,
    manner: Manner = _PLAIN,
) -> None:
    """Writes an encoder with its pooling, an optional linear head and unit length.

    `SentenceTransformer(folder)` loads all of it, `TransformerText(folder)` the encoder without its head.

    Args:
        folder: made where it is not there.
        model: a Hugging Face encoder.
        tokenizer: its tokenizer.
        max_tokens: longer texts are cut off.
        head: from the encoder's width to that of the vectors.
        manner: how it wants its texts.
    """
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as hf_logging

    hf_logging.disable_progress_bar()
    kinds = _modules()
    with TemporaryDirectory() as scratch:
        model.save_pretrained(scratch, safe_serialization=True)
        tokenizer.save_pretrained(scratch)
        parts: list[nn.Module] = [kinds.Transformer(scratch, max_seq_length=max_tokens)]
        parts.append(kinds.Pooling(int(model.config.hidden_size), pooling_mode=manner.pooling))
        if head is not None:
            dense = kinds.Dense(
                head.in_features,
                head.out_features,
                bias=head.bias is not None,
                activation_function=nn.Identity(),
            )
            dense.linear.load_state_dict({k: v.detach().cpu() for k, v in head.state_dict().items()})
            parts.append(dense)
        kinds_of = zip(("query", "passage"), manner.prefixes, strict=True)
        told = {kind: prefix for kind, prefix in kinds_of if prefix}
        whole = SentenceTransformer(modules=[*parts, kinds.Normalize()], device="cpu", prompts=told or None)
        whole.save(str(folder))


def load_head(folder: str | Path) -> nn.Linear | None:
    """The linear head of a folder that `save_transformer` wrote; None where it has none.

    Raises:
        ValueError: the head is not linear.
    """
    described = Path(folder) / "modules.json"
    if not described.is_file():
        return None
    for module in json.loads(described.read_text(encoding="utf-8")):
        if module["type"].endswith(".Dense"):
            place = Path(folder) / module["path"]
            config = json.loads((place / "config.json").read_text(encoding="utf-8"))
            if not config["activation_function"].endswith(".Identity"):
                raise ValueError(f"the head in {place} is not linear")
            state = {k.removeprefix("linear."): v for k, v in load_file(place / "model.safetensors").items()}
            head = nn.Linear(config["in_features"], config["out_features"], bias="bias" in state)
            head.load_state_dict(state)
            return head
    return None


def folded_table(table: FloatArray, weights: FloatArray | None) -> FloatArray:
    """The table whose plain means point where the weighted means of `table` point, float32 [V, D]."""
    folded = table if weights is None else table * np.reshape(weights, (-1, 1))
    return np.ascontiguousarray(folded, np.float32)


def save_static(
    folder: str | Path,
    tokenizer: Tokenizer,
    table: FloatArray,
    weights: FloatArray | None = None,
    *,
    max_tokens: int | None = None,
    normalize: bool = True,
) -> None:
    """Writes a token table as Sentence Transformers' StaticEmbedding.

    That takes a plain mean, `Σ e_t / n`, where the student takes `Σ w_t e_t / Σ w_t`. With `w_t e_t` for rows
    both point the same way, so that their vectors of unit length are equal; without `normalize` only the
    cosines are.

    Args:
        folder: made where it is not there.
        tokenizer: its ids are the table's rows.
        table: float32 [vocabulary, D].
        weights: of the tokens, float32 [vocabulary], not negative; None weighs all alike.
        max_tokens: longer texts are cut off, as they were in training; None cuts nothing.
        normalize: vectors of unit length; a text without tokens stays 0.

    Raises:
        InputError: table, weights and tokenizer do not fit together.
    """
    check_table(tokenizer, table, weights)
    # Written here: loading the library takes 6 s and 800 MB, for a table and three short files.
    files = static_files(tokenizer, folded_table(table, weights), max_tokens=max_tokens, normalize=normalize)
    for name, data in files.items():
        (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
        (Path(folder) / name).write_bytes(data)


class StaticText:
    """A token table that encodes on one core, fast.

    Splitting a text into tokens costs far more than adding up their vectors, so that each word is split
    once (`WordTokens`).

    Args:
        tokenizer: its ids are the table's rows.
        table: float32 [vocabulary, D].
        weights: of the tokens, float32 [vocabulary], not negative; None weighs all alike.
        max_tokens: longer texts are cut off.
        words: how many words are remembered.
        name: identifies the encoder in a run's configuration.

    Raises:
        InputError: table, weights and tokenizer do not fit together.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        table: FloatArray,
        weights: FloatArray | None = None,
        *,
        max_tokens: int | None = None,
        words: int = 200_000,
        name: str = "static",
    ) -> None:
        check_table(tokenizer, table, weights)
        self.name = name
        self._table = torch.from_numpy(folded_table(table, weights))
        self._max_tokens = max_tokens
        self._split = WordTokens(tokenizer, words=words)

    @property
    def parameters_count(self) -> int:
        """How many numbers the encoder is; weights are folded into the table."""
        return self._table.numel()

    def token_ids(self, texts: list[str]) -> list[list[int]]:
        """Rows of the table that each text is."""
        return self._split.ids(texts, self._max_tokens)

    def encode(self, texts: list[str]) -> FloatArray:
        """Unit vectors, float32 [N, D]; a text without tokens is 0."""
        out = np.zeros((len(texts), self._table.shape[1]), np.float32)
        with torch.inference_mode():
            for start in range(0, len(texts), 4096):
                ids = self.token_ids(texts[start : start + 4096])
                lengths = np.fromiter(map(len, ids), np.int64, len(ids))
                flat = np.fromiter(chain.from_iterable(ids), np.int64, int(lengths.sum()))
                offsets = torch.from_numpy(np.cumsum(lengths) - lengths)
                total = nn.functional.embedding_bag(torch.from_numpy(flat), self._table, offsets, mode="sum")
                out[start : start + 4096] = nn.functional.normalize(total, dim=-1).numpy()
        return out
