"""A token table as the files of Sentence Transformers' StaticEmbedding; needs no torch."""

from __future__ import annotations

import json

import numpy as np
from safetensors.numpy import save
from tokenizers import Tokenizer

from kgdistill.arrays import FloatArray
from kgdistill.errors import InputError


def static_files(
    tokenizer: Tokenizer, folded: FloatArray, *, max_tokens: int | None, normalize: bool = True
) -> dict[str, bytes]:
    """The files by their path.

    Args:
        tokenizer: its ids are the table's rows.
        folded: the table whose plain means point where the texts' vectors do, float32 [vocabulary, D].
        max_tokens: longer texts are cut off; None cuts nothing.
        normalize: vectors of unit length; a text without tokens stays 0.
    """
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_padding()
    if max_tokens is None:
        copy.no_truncation()
    else:
        copy.enable_truncation(max_tokens)
    parts = [("", "StaticEmbedding"), *([("1_Normalize", "Normalize")] if normalize else [])]
    modules = [
        # The names that every version from 3 on knows.
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(parts)
    ]
    about = {"model_type": "SentenceTransformer", "similarity_fn_name": "cosine"}
    told = {"modules.json": modules, "config_sentence_transformers.json": about}
    return {
        "model.safetensors": save({"embedding.weight": np.ascontiguousarray(folded, np.float32)}),
        "tokenizer.json": copy.to_str(pretty=True).encode(),
        **({"1_Normalize/config.json": b"{}"} if normalize else {}),
        **{name: json.dumps(value, indent=2).encode() for name, value in told.items()},
    }


def check_table(tokenizer: Tokenizer, table: FloatArray, weights: FloatArray | None) -> None:
    """Refuses a table, weights and a tokenizer that do not fit together.

    Raises:
        InputError: says what.
    """
    size = tokenizer.get_vocab_size()
    if table.ndim != 2 or len(table) < size:
        raise InputError(f"the table has shape {table.shape}, but the tokenizer has {size} tokens")
    if weights is not None and weights.size != len(table):
        raise InputError(f"{weights.size} weights do not fit a table of {len(table)} tokens")
    if weights is not None and not (weights >= 0).all():
        raise InputError("a token's weight is below 0, or no number")
