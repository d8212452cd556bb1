"""Inside a Hugging Face encoder: its layers, which of them learn, and a vocabulary cut to a catalogue."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import torch
from tokenizers import Tokenizer
from torch import nn

from kgdistill.errors import InputError

Unfreeze = Literal["frozen", "top", "all"]


def encoder_layers(model: nn.Module) -> nn.ModuleList:
    """The list of an encoder's layers, whatever its architecture calls it.

    Raises:
        InputError: the model has no list of as many modules as its configuration names layers.
    """
    wanted = int(model.config.num_hidden_layers)  # type: ignore[union-attr,arg-type]
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == wanted:
            return module
    raise InputError(
        f"{type(model).__name__} has no list of {wanted} layers, of which some could learn or be cut",
        where="text.encoder",
        hint="name another encoder, of the kind BERT, or tune: all",
    )


def unfreeze(
    model: nn.Module, mode: Unfreeze, top_layers: int = 2, *, setting: str = "text.top_layers"
) -> list[nn.Parameter]:
    """Lets the last `top_layers` layers, all of the encoder or none of it learn; returns what learns.

    Raises:
        InputError: the encoder has fewer layers than the setting says.
    """
    for parameter in model.parameters():
        parameter.requires_grad_(mode == "all")
    if mode == "top":
        layers = encoder_layers(model)
        if not 0 < top_layers <= len(layers):
            told = f"is {top_layers}, but the encoder has {len(layers)} layers"
            raise InputError(told, where=setting, hint=f"name at most {len(layers)}")
        for layer in layers[-top_layers:]:
            layer.requires_grad_(True)
    return [p for p in model.parameters() if p.requires_grad]


def even_layers(have: int, keep: int) -> list[int]:
    """Which layers to keep, from 0, evenly spaced and with the last: of 6, two are [2, 5].

    Raises:
        InputError: `keep` is not from 1 to `have`.
    """
    if not 1 <= keep <= have:
        raise InputError(f"{keep} layers cannot be cut from an encoder with {have}")
    return [-(-(i + 1) * have // keep) - 1 for i in range(keep)]


def cut_vocabulary(tokenizer: Any, texts: Sequence[str]) -> tuple[Any, list[int]]:
    """A tokenizer that knows only what `texts` use, and the old id of each new one.

    Single characters and single-character pieces stay, so that a word that is not in the texts is spelt
    rather than unknown. The texts themselves are split as before. A tokenizer that is not WordPiece is
    returned as it is, with all its ids.

    Args:
        tokenizer: a fast Hugging Face tokenizer.
        texts: what it has to split as before.
    """
    from transformers import PreTrainedTokenizerFast

    described = json.loads(tokenizer.backend_tokenizer.to_str())
    if described["model"]["type"] != "WordPiece":
        return tokenizer, list(range(len(tokenizer)))
    described.update(truncation=None, padding=None)
    whole = Tokenizer.from_str(json.dumps(described))
    used = {t for e in whole.encode_batch(list(texts), add_special_tokens=False) for t in e.tokens}
    used |= {t["content"] for t in described["added_tokens"]}
    old = sorted(described["model"]["vocab"].items(), key=lambda pair: pair[1])
    prefix = described["model"]["continuing_subword_prefix"]
    kept = [(word, i) for word, i in old if word in used or len(word.removeprefix(prefix)) == 1]
    ids = {word: new for new, (word, _) in enumerate(kept)}
    described["model"]["vocab"] = ids
    for token in described["added_tokens"]:
        token["id"] = ids[token["content"]]
    # The template around a text holds ids of its own.
    for token in (described.get("post_processor") or {}).get("special_tokens", {}).values():
        token["ids"] = [ids[t] for t in token["tokens"]]
    special = {k: str(v) for k, v in tokenizer.special_tokens_map.items() if isinstance(v, str)}
    cut = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(described)),
        model_max_length=tokenizer.model_max_length,
        **special,
    )
    return cut, [i for _, i in kept]


def cut_embeddings(model: Any, kept: Sequence[int], pad: int | None) -> None:
    """Leaves only the rows `kept` of the token embeddings, in place; `pad` is the new id of padding."""
    old = model.get_input_embeddings()
    table = nn.Embedding(len(kept), old.embedding_dim, padding_idx=pad)
    with torch.no_grad():
        table.weight.copy_(old.weight[torch.tensor(list(kept), device=old.weight.device)].cpu())
    model.set_input_embeddings(table.to(old.weight.device))
    model.config.vocab_size = len(kept)
    model.config.pad_token_id = pad
