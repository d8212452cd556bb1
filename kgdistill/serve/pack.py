"""A trained student as parts that serve without torch, and what serving needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from tokenizers import Tokenizer

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.models.scorer import Scorer
from kgdistill.models.student import Student
from kgdistill.models.terms import ItemWeights, SharedGroups
from kgdistill.models.terms.neighbours import NeighbourItems
from kgdistill.models.text.static import StaticText
from kgdistill.models.text.token_table import TokenTable
from kgdistill.serve.bundle import Bundle
from kgdistill.serve.file import bundle_config
from kgdistill.serve.history import History
from kgdistill.serve.items import SHOWN, Items
from kgdistill.serve.readings import Reading, Readings
from kgdistill.serve.search import SearchIndex, search_index
from kgdistill.serve.tower import TextTower
from kgdistill.snapshot import Snapshot
from kgdistill.tasks.item_groups import ItemGroups
from kgdistill.tasks.lexical import TITLE_WEIGHT
from kgdistill.tasks.spec import MatchSpec
from kgdistill.tasks.training_data import TrainingData

_LONGEST = 120
"""A text property is kept for filters where its values have at most so many characters on average."""


def pack_student(
    scorer: Scorer,
    catalogue: TrainingData,
    snapshot: Snapshot,
    *,
    tower: TextTower | None = None,
    task: Mapping[str, Any] | None = None,
) -> Bundle:
    """A student over everything before the cut, as a bundle.

    Args:
        scorer: of the student.
        catalogue: what it was trained on.
        snapshot: says what the items are called.
        tower: the student's text tower; see `pack_tower`.
        task: the declared task as JSON.
    """
    table, names = kept_items(snapshot, catalogue.label, catalogue.items)
    items, reads = Items(table), Readings.joined(names)
    task = task if task is not None else {"kind": "match", "name": "recommend"}
    config = bundle_config(task, catalogue.label, reads, snapshot)
    columns = items.columns(reads.columns)
    search = search_index(reads.texts(columns), reads.vectors(columns, tower))
    return Bundle(config, items, history=_history(scorer, catalogue), text=tower, search=search)


def pack_text_match(
    student: TokenTable,
    search: SearchIndex,
    snapshot: Snapshot,
    task: MatchSpec,
    fields: Mapping[str, Sequence[str]],
) -> Bundle:
    """A student that matches by text, as a bundle.

    Args:
        student: trained; its table is the text tower.
        search: the candidates' words and vectors.
        snapshot: says what the candidates are called.
        task: the declared task.
        fields: name → text of each candidate; the first is the title.
    """
    label = task.candidates.label
    table, _ = kept_items(snapshot, label, np.arange(snapshot.num_nodes(label)))
    names: dict[str, str] = {}
    for name in fields:
        column = name.removesuffix("_text") if names else "title"
        while column in ("id", *names.values()):
            column += "_text"
        names[name] = column
    for name, texts in fields.items():
        column, held = pa.array([text or None for text in texts], pa.string()), table.column_names
        if names[name] in held:  # in its place, so that a bundle that recommends holds the same file
            table = table.set_column(held.index(names[name]), names[name], column)
        else:
            table = table.append_column(names[name], column)
    tower_reads = (Reading((names[n],), TITLE_WEIGHT if i == 0 else 1) for i, n in enumerate(student.fields))
    reads = Readings(tuple(names.values()), tuple(tower_reads))
    config = bundle_config(task.declared(), label, reads, snapshot)
    tower = TextTower.of(student.tokenizer, student.table.weight.detach().cpu().numpy(), None, None)
    return Bundle(config, Items(table), text=tower, search=search)


def kept_items(snapshot: Snapshot, label: str, items: IntArray) -> tuple[pa.Table, list[str]]:
    """What a bundle keeps of some nodes, and which columns a text model reads of them, in order.

    The schema's name of a node is its `title`; a property such as `brand_text` is the column `brand`. Of the
    others every one is kept that is a number, a truth, a time or a short text.
    """
    node, table = snapshot.schema.node(label), snapshot.node_table(label).take(pa.array(items))
    columns: dict[str, Any] = {"id": pa.array([str(k) for k in snapshot.keys(label)[items]], pa.string())}
    columns |= {name: pa.nulls(len(items), pa.string()) for name in SHOWN}
    reads = []
    for name in [*node.text, *(n for n in node.properties if n not in node.text)]:
        if name not in table.column_names or name == node.key:
            continue
        column = table[name].cast(pa.string()) if name in node.text else _plain(table[name])
        own = "title" if name == node.name else name.removesuffix("_text")
        if column is None or (own in columns and own not in SHOWN):
            continue
        shown = own in SHOWN or name in node.text
        if not shown and pa.types.is_string(column.type) and _mean_length(column) > _LONGEST:
            continue
        columns[own] = column
        if name in node.text:
            reads.append(own)
    return pa.table(columns), reads or ["title"]


def _mean_length(column: Any) -> float:
    return float(pc.mean(pc.utf8_length(column)).as_py() or 0)


def _plain(column: Any) -> Any:
    """The column in one of the types that items can have, None where it is of no such kind."""
    kind = column.type
    if pa.types.is_dictionary(kind) or pa.types.is_large_string(kind):
        return column.cast(pa.string())
    if pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp("us"))
    wanted = (pa.types.is_string, pa.types.is_int64, pa.types.is_float64, pa.types.is_boolean)
    return column if any(is_kind(kind) for is_kind in wanted) else None


def _history(scorer: Scorer, catalogue: TrainingData) -> History:
    items = catalogue.items
    blend = scorer.model.blend
    # The terms' units go into their weights.
    units = torch.cat([torch.ones(1 + blend.estimates + blend.counted), blend.typed_scale.cpu()]).numpy()
    arrays: dict[str, Any] = {
        "vectors": scorer.vectors.cpu().numpy()[items],
        "blend.weight": blend.weights.weight.detach().cpu().numpy() * units[:, None],
        "blend.bias": blend.weights.bias.detach().cpu().numpy() * units,
        "blend.log_eps": blend.log_eps.detach().cpu().numpy(),
        "blend.new_boost": blend.new_boost.detach().cpu().numpy().reshape(1),
        "blend.user": blend.user.weight.detach().cpu().numpy().ravel() * units,
        "log_decay": scorer.model.recency.detach().cpu().numpy().reshape(1),
        "counts": scorer.view.counts[items],
        "recent": scorer.view.recent[items],
    }
    groups = [term for term in scorer.terms.terms if isinstance(term, SharedGroups)]
    tables = [term for term in scorer.terms.terms if isinstance(term, ItemWeights)]
    kept = [(f"family{m}", term.packed(items)) for m, term in enumerate(groups)]
    for name, packed in [*kept, *((f"neighbours{a}", term.packed(items)) for a, term in enumerate(tables))]:
        assert packed is not None  # a student keeps no other
        arrays |= {f"{name}.{part}": array for part, array in packed.items()}
    settings = {
        "min_count": catalogue.min_count,
        "pool": catalogue.pools[0],
        "families": [_family(term.family) for term in groups],
        "neighbours": [isinstance(term.model, NeighbourItems) and term.model.mean for term in tables],
        "neighbour_decay": tables[0].decay if tables else 0.0,
        "events": {other.name: other.weight for other in catalogue.others},
    }
    return History(settings, arrays, len(items))


def _family(family: ItemGroups) -> dict[str, Any]:
    """Which columns make up the groups."""
    names = family.name.removesuffix(" > parent").split(" & ")
    told = {"fields": [n.removesuffix("_text") for n in names], "above": family.kind == "above"}
    return told | ({"split": [n.removesuffix("_text") for n in family.split]} if family.split else {})


def serving_parameters(scorer: Scorer) -> int:
    """How many numbers a teacher's answer needs beside its text encoder: vectors, linear expert, weights."""
    return parameters_of(scorer.model) + scorer.vectors.numel() + scorer.terms.parameters


def parameters_of(model: torch.nn.Module) -> int:
    """How many numbers a model holds."""
    return sum(p.numel() for p in model.parameters())


def pack_tower(model: Student, tokenizer: Path, *, max_tokens: int) -> TextTower:
    """The student's text tower.

    Args:
        model: the student.
        tokenizer: the tokenizer.json whose ids are the table's rows.
        max_tokens: how many tokens of a text training read.
    """
    return TextTower.of(*_tower(model, tokenizer), max_tokens)


def static_text(model: Student, tokenizer: Path, *, max_tokens: int) -> StaticText:
    """The same tower without `SentenceTransformer`, which spends most of its time on splitting words."""
    return StaticText(*_tower(model, tokenizer), max_tokens=max_tokens)


def _tower(model: Student, tokenizer: Path) -> tuple[Tokenizer, FloatArray, FloatArray]:
    return (
        Tokenizer.from_file(str(tokenizer)),
        model.tokens.weight.detach().cpu().numpy(),
        torch.nn.functional.softplus(model.token_weights).detach().cpu().numpy(),
    )
