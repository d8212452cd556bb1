"""A trained student as arrays that serve without torch, and what serving needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from kgdistill.arrays import FloatArray
from kgdistill.models.blend import BEHIND, MIXED
from kgdistill.models.scorer import Scorer
from kgdistill.models.student import Student
from kgdistill.models.terms.items import NeighbourItems
from kgdistill.models.text.static import StaticText, save_static
from kgdistill.serve.bundle import Bundle
from kgdistill.serve.file import FORMAT
from kgdistill.snapshot import Snapshot
from kgdistill.tasks.training_data import TrainingData


def pack_student(scorer: Scorer, catalogue: TrainingData, snapshot: Snapshot) -> Bundle:
    """A student over everything before the cut, as arrays that serve without torch."""
    items = catalogue.items
    view = scorer.view
    blend = scorer.model.blend
    # The typed affinities' units go into their weights.
    units = torch.cat([torch.ones(blend.affinities + 2), blend.typed_scale.cpu()]).numpy()
    arrays: dict[str, Any] = {
        "vectors": scorer.vectors.cpu().numpy()[items],
        "fold": scorer.fold.detach().cpu().numpy(),
        "counts": view.counts[items],
        "blend.weight": blend.weights.weight.detach().cpu().numpy() * units[:, None],
        "blend.bias": blend.weights.bias.detach().cpu().numpy() * units,
        "blend.log_eps": blend.log_eps.detach().cpu().numpy(),
        "blend.new_boost": blend.new_boost.detach().cpu().numpy().reshape(1),
        "blend.user": blend.user.weight.detach().cpu().numpy().ravel() * units,
        "log_decay": scorer.model.recency.detach().cpu().numpy().reshape(1),
        "recent": view.recent[items],
    }
    if blend.mixer is not None:
        # The perceptron reads the typed affinities in their units too; the three states come last.
        inputs = np.concatenate([units, np.ones(3, np.float32)])
        held = {name: tensor.cpu().numpy() for name, tensor in blend.mixer.state_dict().items()}
        arrays |= {
            "mixer.first": held["0.weight"] * inputs,
            "mixer.first_bias": held["0.bias"],
            "mixer.last": held["2.weight"].ravel(),
            "mixer.last_bias": held["2.bias"],
        }
    for m, family in enumerate(scorer.families):
        rows = family.incidence[items]
        bought = np.asarray((view.purchases @ family.incidence).sum(0)).ravel()
        arrays |= {
            f"family{m}.indices": rows.indices.astype(np.int32),
            f"family{m}.indptr": rows.indptr.astype(np.int32),
            f"family{m}.everybody": (bought / max(bought.sum(), 1e-9)).astype(np.float32),
        }
    for a, table in enumerate(scorer.witnesses.linear):
        assert isinstance(table, NeighbourItems)  # a student keeps no other
        weights = table.weights[items][:, items]
        arrays |= {
            f"neighbours{a}.data": weights.data,
            f"neighbours{a}.indices": weights.indices.astype(np.int32),
            f"neighbours{a}.indptr": weights.indptr.astype(np.int64),
        }
    titles = snapshot.texts(catalogue.label)
    config = {
        "format": FORMAT,
        "min_count": catalogue.min_count,
        "mixed": MIXED,
        "behind": BEHIND,
        "families": [f.name for f in scorer.families],
        "neighbours": [isinstance(t, NeighbourItems) and t.mean for t in scorer.witnesses.linear],
        "neighbour_decay": scorer.witnesses.decay,
        "snapshot": snapshot.content_hash,
        "cut": str(snapshot.cut),
    }
    keys = snapshot.keys(catalogue.label)
    return Bundle(config, arrays, [str(k) for k in keys[items]], [titles[i] for i in items])


def serving_parameters(scorer: Scorer) -> int:
    """How many numbers a teacher's answer needs beside its text encoder: vectors, linear expert, weights."""
    linear = sum(model.parameters for model in scorer.witnesses.linear)
    return parameters_of(scorer.model) + scorer.vectors.numel() + linear


def parameters_of(model: torch.nn.Module) -> int:
    """How many numbers a model holds."""
    return sum(p.numel() for p in model.parameters())


def save_text_tower(model: Student, tokenizer: Path, folder: Path, *, max_tokens: int) -> None:
    """Saves the student's token table so that `SentenceTransformer(folder)` loads it.

    Args:
        model: the student.
        tokenizer: the tokenizer.json whose ids are the table's rows.
        folder: where to.
        max_tokens: how many tokens of a text training read.
    """
    save_static(folder, *_tower(model, tokenizer), max_tokens=max_tokens)


def static_text(model: Student, tokenizer: Path, *, max_tokens: int) -> StaticText:
    """The same tower without `SentenceTransformer`, which spends most of its time on splitting words."""
    return StaticText(*_tower(model, tokenizer), max_tokens=max_tokens)


def _tower(model: Student, tokenizer: Path) -> tuple[Tokenizer, FloatArray, FloatArray]:
    return (
        Tokenizer.from_file(str(tokenizer)),
        model.tokens.weight.detach().cpu().numpy(),
        torch.nn.functional.softplus(model.token_weights).detach().cpu().numpy(),
    )
