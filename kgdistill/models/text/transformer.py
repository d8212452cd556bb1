"""The text teacher: a pretrained transformer encoder, frozen or tuned."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kgdistill.arrays import FloatArray
from kgdistill.errors import InputError
from kgdistill.models.device import attention
from kgdistill.models.text.packaged import MINILM, packaged_encoder
from kgdistill.models.text.prefixes import Manner, manner_of
from kgdistill.models.text.static import load_head, save_transformer
from kgdistill.models.text.words import WordTokens
from kgdistill.progress import step
from kgdistill.tasks.ragged import Ragged, placed

if TYPE_CHECKING:
    from typing_extensions import Self

Precision = Literal["auto", "float32", "bfloat16"]


class TextEncoder(Protocol):
    """Anything that turns texts into vectors; a test may pass its own."""

    @property
    def name(self) -> str:
        """What identifies the encoder in a run's configuration."""
        ...

    def encode(self, texts: list[str]) -> FloatArray:
        """Unit vectors, float32 [N, E]."""
        ...


class TextModel(TextEncoder, Protocol):
    """A text teacher, as a run has it.

    Attributes:
        trainable: False where it gives vectors alone: it can be neither tuned nor cut.
        tokenizer: its fast Hugging Face tokenizer; None where it shows none.
        max_tokens: of a text.
        dim: width of the vectors.
        parameters_count: how many numbers it is.
    """

    @property
    def trainable(self) -> bool: ...  # noqa: D102
    @property
    def tokenizer(self) -> Any: ...  # noqa: D102
    @property
    def max_tokens(self) -> int: ...  # noqa: D102
    @property
    def dim(self) -> int: ...  # noqa: D102
    @property
    def parameters_count(self) -> int: ...  # noqa: D102

    def of_passages(self) -> TextModel:
        """The same encoder for what is searched, where it is told from what asks."""
        ...


class PooledText:
    """A Hugging Face encoder with mean pooling (Reimers and Gurevych 2019) and, where given, a linear head.

    Args:
        model: the encoder.
        tokenizer: its tokenizer.
        name: what identifies it.
        head: from the encoder's width to that of the vectors.
        device: where to run.
        max_tokens: longer texts are cut off, as are those longer than the tokenizer says the model reads.
        batch: texts at a time; 0 for 64 on the CPU and 1,024 elsewhere, where few keep nothing busy.
        precision: bfloat16 halves the time where the processor has it; `auto` uses it exactly there.

    Attributes:
        manner: how it wants its texts; plain unless it is set.
        marks: the ids that it wants before and behind a text.
        precision: see above.

    Raises:
        InputError: the tokenizer is none of the fast ones.
    """

    trainable = True

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str,
        head: nn.Linear | None = None,
        device: torch.device | None = None,
        max_tokens: int = 64,
        batch: int = 0,
        precision: Precision = "auto",
    ) -> None:
        self.manner, self._passages = Manner(), False
        self.device = device or torch.device("cpu")
        self.model = model.to(self.device).eval()
        self.tokenizer = tokenizer
        self.head = head.to(self.device) if head is not None else None
        self.name = name
        self.max_tokens = min(max_tokens, int(tokenizer.model_max_length))
        self._batch = batch or (64 if self.device.type == "cpu" else 1024)
        self.precision = precision
        self._low: tuple[Any, Any] | None = None
        if getattr(tokenizer, "backend_tokenizer", None) is None:
            raise InputError("the encoder has no fast tokenizer (a tokenizer.json)", where=name)
        self._split = WordTokens(tokenizer.backend_tokenizer)
        bare, marked = (tokenizer("a", add_special_tokens=s)["input_ids"] for s in (False, True))
        at = next(i for i in range(len(marked)) if marked[i : i + len(bare)] == bare)
        self.marks = marked[:at], marked[at + len(bare) :]

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self.model.config.hidden_size) if self.head is None else self.head.out_features

    @property
    def parameters_count(self) -> int:
        """How many numbers the encoder is, its head included."""
        parts = [self.model] if self.head is None else [self.model, self.head]
        return sum(p.numel() for part in parts for p in part.parameters())

    def _low_precision(self) -> bool:
        if self.precision != "auto":
            return self.precision == "bfloat16"
        if self.device.type == "cuda":
            return True
        return self.device.type == "cpu" and _cpu_has_bf16()

    def serving(self) -> Any:
        """The model as it encodes: a bfloat16 copy where that is asked for, kept until the weights change."""
        if not self._low_precision():
            return self.model
        # Casting the model itself there and back would round its weights for good.
        version = [(id(p), p._version) for p in self.model.parameters()]
        if self._low is None or self._low[0] != version:
            self._low = (version, copy.deepcopy(self.model).to(torch.bfloat16).eval())
        return self._low[1]

    def pool(self, hidden: Tensor, attention: Tensor) -> Tensor:
        """Unit vectors, float32 [N, D], of hidden states [N, L, E] and their attention mask [N, L]."""
        mask = attention[..., None].float()
        mean = (hidden.float() * mask).sum(1) / mask.sum(1).clamp(min=1)
        if self.manner.pooling == "cls":
            mean = hidden[:, 0].float()
        return F.normalize((mean if self.head is None else self.head(mean)).float(), dim=-1)

    def pad(self, ids: Ragged, rows: Tensor) -> dict[str, Tensor]:
        """What the model takes of texts int64 [N], where they are: ids and attention mask, int64 [N, L]."""
        flat, _ = ids.take(rows)
        lengths = ids.starts.diff()[rows, None]
        there = torch.arange(max(int(lengths.max()), 1), device=flat.device) < lengths
        held = torch.full(there.shape, self.tokenizer.pad_token_id or 0, device=flat.device)
        held[there] = flat
        return {"input_ids": held, "attention_mask": there.long()}

    def vectors(self, ids: Ragged, rows: Tensor) -> Tensor:
        """Unit vectors, float32 [N, D], of texts by their ids and marks; gradients reach the model."""
        padded = self.pad(ids, rows)
        return self.pool(self.model(**padded).last_hidden_state, padded["attention_mask"])

    @contextmanager
    def low_precision_training(self) -> Iterator[None]:
        """bfloat16 autocast where the processor has it and the precision allows it, else nothing."""
        low = self._low_precision() and self.device.type in ("cuda", "cpu")
        with attention(self.device), torch.autocast(self.device.type, torch.bfloat16, enabled=low):
            yield

    def save(self, folder: str | Path) -> None:
        """Writes the encoder so that `TransformerText(folder)` and `SentenceTransformer(folder)` load it."""
        save_transformer(
            folder, self.model, self.tokenizer, max_tokens=self.max_tokens, head=self.head, manner=self.manner
        )

    def of_passages(self) -> Self:
        """See `TextModel`."""
        other = copy.copy(self)
        other._passages = True
        return other

    def token_ids(self, texts: list[str], *, special: bool = True) -> list[list[int]]:
        """Token ids of each text, cut off at `max_tokens`; with `special`, in the encoder's own marks."""
        if not special:
            return self._split.ids(texts, self.max_tokens)
        before, after = self.marks
        prefix = self.manner.prefixes[self._passages]
        read = [prefix + text for text in texts] if prefix else texts
        ids = self._split.ids(read, self.max_tokens - len(before) - len(after))
        return [[*before, *row, *after] for row in ids]

    def encode(self, texts: list[str]) -> FloatArray:
        """Unit vectors, float32 [N, D]; texts of like length go together, to save padding."""
        out = np.empty((len(texts), self.dim), np.float32)
        if not texts:
            return out
        ids = self.token_ids(texts)
        read, order = Ragged.of(ids, self.device), np.argsort([len(x) for x in ids], kind="stable")
        training = self.model.training
        model = self.serving().eval()
        with torch.inference_mode(), attention(self.device), step("Encoding texts", total=len(texts)) as work:
            for start in range(0, len(order), self._batch):
                part = order[start : start + self._batch]
                padded = self.pad(read, placed(part, self.device))
                mask = padded["attention_mask"]
                # Texts of one length need no mask, and attention is faster without.
                even = len(ids[part[0]]) == len(ids[part[-1]])
                hidden = model(padded["input_ids"], attention_mask=None if even else mask).last_hidden_state
                out[part] = self.pool(hidden, mask).cpu().numpy()
                work.advance(len(part))
        self.model.train(training)
        return out


class TransformerText(PooledText):
    """A Hugging Face encoder from a folder or a hub.

    Args:
        source: a local folder, or a hub id; empty, or its name, for the packaged MiniLM-L6. A folder is never
            looked up on a hub. The linear head of a saved transformer student is read too.
        device, max_tokens, batch, precision: see `PooledText`.

    Raises:
        InputError: no encoder can be loaded from `source`.
    """

    def __init__(
        self,
        source: str = "",
        *,
        device: torch.device | None = None,
        max_tokens: int = 64,
        batch: int = 0,
        precision: Precision = "auto",
    ) -> None:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging as hf_logging

        hf_logging.disable_progress_bar()
        path = str(packaged_encoder()) if source in ("", MINILM) else source
        try:
            tokenizer = AutoTokenizer.from_pretrained(path)
            model = AutoModel.from_pretrained(path, dtype=torch.float32)
            head = load_head(path)
        except (OSError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"no text encoder can be loaded: {reason}", where=source) from error
        super().__init__(
            model, tokenizer, name=source or MINILM, head=head, device=device,
            max_tokens=max_tokens, batch=batch, precision=precision,
        )  # fmt: skip
        self.manner = manner_of(path)


def _cpu_has_bf16() -> bool:
    capability = getattr(torch.backends.cpu, "get_cpu_capability", lambda: "")()
    if "AVX512" not in capability:
        return False
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="ignore")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
