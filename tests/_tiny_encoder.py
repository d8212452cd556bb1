"""A BERT small enough to train in a test, and a catalogue with something to learn from text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

KINDS = ["paper", "pen", "chair", "lamp", "desk", "tape"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "thing", "maker", "unused", *KINDS]


def tiny_tokenizer(pieces: list[str]) -> Any:
    """A BERT tokenizer of these word pieces; transformers before 5 takes a vocabulary as a file only."""
    from tokenizers import BertWordPieceTokenizer
    from transformers import PreTrainedTokenizerFast

    words = BertWordPieceTokenizer({word: i for i, word in enumerate(pieces)})
    special = {name: f"[{name[:3].upper()}]" for name in ("pad_token", "unk_token", "cls_token", "sep_token")}
    return PreTrainedTokenizerFast(tokenizer_object=words._tokenizer, mask_token="[MASK]", **special)


def tiny_encoder(folder: Path, *, layers: int = 4) -> Path:
    """Writes a BERT of width 16 with two heads, drawn at random."""
    from transformers import BertConfig, BertModel

    characters = [*"abcdefghijklmnopqrstuvwxyz0123456789-,"]
    pieces = [*WORDS, *characters, *(f"##{c}" for c in characters), "##er", "##ing"]
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(pieces), hidden_size=16, num_hidden_layers=layers, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=64, initializer_range=0.3,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    tiny_tokenizer(pieces).save_pretrained(folder)
    BertModel(config).save_pretrained(folder)
    return folder


def tiny_texts(count: int = 60) -> list[str]:
    """Text `i` is about kind `i % 6` and says so among other words."""
    return [f"thing {i} {KINDS[i % 6]} maker {i * 7 % 10}" for i in range(count)]
