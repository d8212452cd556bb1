"""The student of matching by text: a table of token and phrase vectors; no graph, no transformer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from kgdistill.arrays import FloatArray
from kgdistill.errors import ArtefactError
from kgdistill.models.text.static import save_static
from kgdistill.models.text.words import WordTokens
from kgdistill.tasks.lexical import mix_fields
from kgdistill.tasks.ragged import Ragged
from kgdistill.tasks.search_catalogue import SearchCatalogue


class TokenTable(nn.Module):
    """A token table: a text is the mean of its tokens' vectors, at unit length.

    Args:
        tokenizer: whose ids are the rows of the table; no text may be truncated or padded by it.
        table: float32 [vocabulary, D].
        fields: the catalogue's fields that make up an item's vector, the title first.
    """

    def __init__(self, tokenizer: Tokenizer, table: Tensor, fields: Sequence[str]) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self._split = WordTokens(tokenizer)
        self.fields = list(fields)
        self.table = nn.EmbeddingBag.from_pretrained(table.clone(), mode="mean", freeze=False)

    @property
    def parameters_count(self) -> int:
        """How many numbers the student is."""
        return sum(p.numel() for p in self.parameters())

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The rows of the table that each text is."""
        return self._split.ids(list(texts))

    def vectors(self, ids: Tensor, offsets: Tensor) -> Tensor:
        """Unit vectors, float32 [N, D], of ids int64 [T], each text's from its offset; one without is 0."""
        vectors: Tensor = F.normalize(self.table(ids, offsets), dim=-1)
        return vectors

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Unit vectors, float32 [N, D]."""
        out = np.zeros((len(texts), self.table.embedding_dim), np.float32)
        with torch.inference_mode():
            for start in range(0, len(texts), 4096):
                part = Ragged.of(self.token_ids(texts[start : start + 4096]), self.table.weight.device)
                out[start : start + 4096] = self.vectors(part.values, part.starts[:-1]).cpu().numpy()
        return out

    def items(self, catalogue: SearchCatalogue) -> FloatArray:
        """Unit vectors of the items, float32 [items, D]."""
        return mix_fields([self.encode(catalogue.fields[name]) for name in self.fields])

    def save(self, folder: Path) -> None:
        """Writes a folder that `SentenceTransformer(folder)` and `load_token_table` read."""
        save_static(folder, self.tokenizer, self.table.weight.detach().cpu().numpy())
        text = json.dumps({"fields": self.fields}, indent=1)
        (Path(folder) / "search.json").write_text(text + "\n", encoding="utf-8")


def load_token_table(folder: Path) -> TokenTable:
    """What `TokenTable.save` wrote.

    Raises:
        ArtefactError: a file is missing or cannot be read.
    """
    from safetensors.numpy import load_file

    folder = Path(folder)
    try:
        fields = json.loads((folder / "search.json").read_text(encoding="utf-8"))["fields"]
        place = next(p for p in (folder, folder / "0_StaticEmbedding") if (p / "tokenizer.json").exists())
        tokenizer = Tokenizer.from_file(str(place / "tokenizer.json"))
        table = next(iter(load_file(place / "model.safetensors").values()))
    except (OSError, ValueError, KeyError, StopIteration) as error:
        raise ArtefactError("holds no token table", where=str(folder)) from error
    return TokenTable(tokenizer, torch.from_numpy(table), fields)
