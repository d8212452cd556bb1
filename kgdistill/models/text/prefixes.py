"""How an encoder wants its texts: what stands before them, and what of its tokens is a text's vector.

Some want one mark before what asks and another before what is searched. Texts that are held against each
other, and those whose vectors are features, take the mark of what asks.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Pooling = Literal["mean", "cls"]
E5 = ("query: ", "passage: ")
"""Before what asks and what is searched, of the E5 family (Wang et al. 2022)."""
_ASKING, _SEARCHED = ("query",), ("passage", "document", "corpus")


@dataclass(frozen=True)
class Manner:
    """How an encoder wants its texts.

    Attributes:
        pooling: a text's vector is the mean of its tokens' vectors, or that of the first mark.
        prefixes: what stands before texts that ask, and before those that are searched.
    """

    pooling: Pooling = "mean"
    prefixes: tuple[str, str] = ("", "")


def manner_of(source: str) -> Manner:
    """What an encoder's folder says of it, as Sentence Transformers write it.

    That is the pooling, and the prefixes under `prompts`; an E5 that says nothing is known by its name.

    Args:
        source: a folder, or a hub id, of which the name alone is read.
    """
    pooling = _read(Path(source) / "1_Pooling" / "config.json")
    first = pooling.get("pooling_mode_cls_token") or pooling.get("pooling_mode") == "cls"
    prompts = _read(Path(source) / "config_sentence_transformers.json").get("prompts") or {}
    asking, searched = (
        next((str(prompts[name]) for name in names if prompts.get(name)), "")
        for names in (_ASKING, _SEARCHED)
    )
    if not asking and not searched and "e5" in re.split(r"[^a-z0-9]+", source.lower()):
        asking, searched = E5
    return Manner("cls" if first else "mean", (asking, searched))


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
