"""The transformer student before training: some of the teacher's layers, words and width."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kgdistill.errors import InputError
from kgdistill.models.text.layers import cut_embeddings, cut_vocabulary, encoder_layers, even_layers
from kgdistill.models.text.transformer import PooledText, Precision
from kgdistill.tasks.ragged import Ragged


@dataclass(frozen=True)
class Cut:
    """A student cut from a teacher, and what ties their insides together.

    Attributes:
        student: encodes as any other text encoder; its `save` writes what `SentenceTransformer` loads.
        layers: which of the teacher's layers it has, from 0.
        basis: float32 [E, W], orthonormal columns: the student's hidden states stand for the teacher's times
            it. None where the width is the teacher's.
    """

    student: PooledText
    layers: list[int]
    basis: Tensor | None

    def seen(self, hidden: Tensor) -> Tensor:
        """The teacher's hidden states [..., E] in the student's width, [..., W]."""
        return hidden if self.basis is None else hidden @ self.basis.to(hidden)


def cut_student(
    teacher: PooledText,
    texts: Sequence[str],
    *,
    layers: int = 2,
    width: int | None = None,
    cut_words: bool = True,
    dim: int | None = None,
    precision: Precision = "auto",
    seed: int = 0,
) -> Cut:
    """Cuts a student from a teacher.

    A narrower student sees the teacher's hidden states along their principal axes in `texts`, with the
    heads and the inner units that weigh most.

    Args:
        teacher: its layers, words and position are taken; its head is not.
        texts: the catalogue; without `cut_words` only a sample of them is read.
        layers: how many, evenly chosen with the last.
        width: of the hidden states, a multiple of the size of the teacher's attention heads; None keeps it.
        cut_words: keep only words that `texts` use, and single characters to spell others with.
        dim: width of the student's vectors, by a linear head; None makes them those of the teacher's own
            space, with a head only where the width is cut.
        precision: of the student.
        seed: of the rotation of the axes.

    Raises:
        InputError: the teacher has fewer layers, or cannot be narrowed so.
    """
    model = teacher.model
    config = model.config
    whole = int(config.hidden_size)
    chosen = even_layers(len(encoder_layers(model)), layers)
    kept = list(range(int(config.vocab_size)))
    tokenizer = copy.deepcopy(teacher.tokenizer)
    if cut_words:
        tokenizer, kept = cut_vocabulary(tokenizer, texts)
    tokenizer.model_max_length = teacher.max_tokens  # no position beyond is kept
    basis = None
    if width is not None and width != whole:
        _check_width(config, width)
        basis = _principal_axes(teacher, texts, chosen, width, seed)
    cut = _with_layers(model, chosen)
    cut_embeddings(cut, kept, tokenizer.pad_token_id)
    if config.model_type == "bert":
        cut = _rebuilt(cut, basis, positions=min(teacher.max_tokens, int(config.max_position_embeddings)))
    head = None
    if dim is not None or basis is not None:
        head = nn.Linear(int(cut.config.hidden_size), dim or whole, bias=False)
        if dim is None and basis is not None:
            with torch.no_grad():
                head.weight.copy_(basis)
    cut.requires_grad_(True)
    student = PooledText(
        cut, tokenizer, name=f"{teacher.name} cut to {layers} layers", head=head, device=teacher.device,
        max_tokens=teacher.max_tokens, precision=precision,
    )  # fmt: skip
    student.manner = teacher.manner
    return Cut(student, chosen, basis)


def _with_layers(model: Any, chosen: Sequence[int]) -> Any:
    """A copy of the model with these of its layers."""
    cut = copy.deepcopy(model).cpu()
    held = encoder_layers(cut)
    for i in reversed(range(len(held))):
        if i not in chosen:
            del held[i]
    cut.config.num_hidden_layers = len(chosen)
    return cut


def _check_width(config: Any, width: int) -> None:
    whole = int(config.hidden_size)
    size = whole // int(config.num_attention_heads)
    if config.model_type != "bert":
        raise InputError(
            f"an encoder of type {config.model_type!r} cannot be narrowed", hint="leave width out"
        )
    if not 0 < width < whole or width % size:
        raise InputError(f"width {width} is no multiple of {size} below {whole}")


@torch.no_grad()
def _principal_axes(
    teacher: PooledText, texts: Sequence[str], layers: Sequence[int], width: int, seed: int
) -> Tensor:
    """Orthonormal axes float32 [E, W] of the hidden states of a sample of texts, rotated."""
    sample = [texts[i] for i in np.linspace(0, len(texts) - 1, min(len(texts), 512)).astype(int)]
    whole = int(teacher.model.config.hidden_size)
    moments = torch.zeros(whole, whole, dtype=torch.float64)
    model = teacher.model.eval()
    ids = Ragged.of(teacher.token_ids(sample), teacher.device)
    for part in torch.split(torch.arange(len(sample), device=teacher.device), 64):
        padded = teacher.pad(ids, part)
        hidden = model(**padded, output_hidden_states=True).hidden_states
        there = padded["attention_mask"].bool()
        for i in (0, *(i + 1 for i in layers)):
            rows = hidden[i][there].double().cpu()
            moments += rows.T @ rows
    axes = torch.linalg.eigh(moments).eigenvectors.flip(1)[:, :width]
    # Signs are arbitrary: make the largest entry positive.
    axes = axes * torch.sign(axes[axes.abs().argmax(0), torch.arange(width)])
    # The layer norm of the student takes away the mean of its coordinates, and scales them alike: rotated,
    # every coordinate has its part, and the mean is the axis that says least.
    drawn = torch.randn(width, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    rotation = torch.linalg.qr(drawn).Q
    mean = rotation @ torch.full((width,), width**-0.5, dtype=torch.float64)
    mirror = mean.clone()
    mirror[-1] -= 1
    rotation = rotation - 2 * torch.outer(mirror, mirror @ rotation) / mirror.dot(mirror).clamp(min=1e-12)
    rotated: Tensor = (axes @ rotation).float()
    return rotated


@torch.no_grad()
def _rebuilt(model: Any, basis: Tensor | None, *, positions: int) -> Any:
    """A BERT with the positions that are used, seen along `basis` where it is given."""
    from transformers import AutoModel

    config = copy.deepcopy(model.config)
    config.max_position_embeddings = positions
    state = model.state_dict()
    place = "embeddings.position_embeddings.weight"
    state[place] = state[place][:positions]
    if basis is not None:
        whole, width = basis.shape
        heads = int(config.num_attention_heads)
        config.hidden_size = width
        config.num_attention_heads = heads * width // whole
        config.intermediate_size = int(config.intermediate_size) * width // whole
        state = _narrowed(state, basis, layers=int(config.num_hidden_layers), heads=heads)
    out = AutoModel.from_config(config)
    missing, unknown = out.load_state_dict(state, strict=False)
    assert not [*unknown, *(k for k in missing if not k.endswith("_ids"))]
    return out.eval()


def _narrowed(state: dict[str, Tensor], basis: Tensor, *, layers: int, heads: int) -> dict[str, Tensor]:
    """The weights of a BERT in the coordinates x' = basisᵀ x, with fewer heads and inner units."""
    whole, width = basis.shape
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        if "LayerNorm.weight" in name:
            # A vector of W coordinates of variance 1 is shorter than one of E.
            out[name] = (basis**2 * value[:, None]).sum(0) * (whole / width) ** 0.5
        elif "LayerNorm.bias" in name or name.startswith("embeddings."):
            out[name] = value @ basis
        elif name.startswith("pooler"):
            out[name] = basis.T @ value @ basis if value.dim() == 2 else value @ basis
    for i in range(layers):
        at = f"encoder.layer.{i}."
        attention = f"{at}attention."
        values, back = state[f"{attention}self.value.weight"], state[f"{attention}output.dense.weight"]
        size = whole // heads
        weight = torch.stack(
            [
                (back[:, h * size : (h + 1) * size] @ values[h * size : (h + 1) * size]).norm()
                for h in range(heads)
            ]
        )
        kept = weight.argsort(descending=True, stable=True)[: heads * width // whole].sort().values
        rows = (kept[:, None] * size + torch.arange(size)).flatten()
        for part in ("query", "key", "value"):
            out[f"{attention}self.{part}.weight"] = state[f"{attention}self.{part}.weight"][rows] @ basis
            out[f"{attention}self.{part}.bias"] = state[f"{attention}self.{part}.bias"][rows]
        out[f"{attention}output.dense.weight"] = basis.T @ back[:, rows]
        out[f"{attention}output.dense.bias"] = state[f"{attention}output.dense.bias"] @ basis
        up, down = state[f"{at}intermediate.dense.weight"], state[f"{at}output.dense.weight"]
        strength = up.norm(dim=1) * down.norm(dim=0)
        units = strength.argsort(descending=True, stable=True)[: len(up) * width // whole].sort().values
        out[f"{at}intermediate.dense.weight"] = up[units] @ basis
        out[f"{at}intermediate.dense.bias"] = state[f"{at}intermediate.dense.bias"][units]
        out[f"{at}output.dense.weight"] = basis.T @ down[:, units]
        out[f"{at}output.dense.bias"] = state[f"{at}output.dense.bias"] @ basis
    return out
