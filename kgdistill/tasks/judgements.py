"""Matching by text, declared: what was clicked before, and what people judged, which stays closed."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.types as types

from kgdistill.errors import InputError, LeakError
from kgdistill.ranking.graded import Judgements
from kgdistill.snapshot import Snapshot, take_judgements
from kgdistill.store.protocol import EdgeType, GraphStore
from kgdistill.tasks.search_catalogue import SearchCatalogue, search_catalogue
from kgdistill.tasks.spec import MatchSpec
from kgdistill.tasks.synthetic import SyntheticQueries

_GRADE = "grade"


def judgement_edge(spec: MatchSpec) -> EdgeType:
    """The relationship whose grades judge.

    Raises:
        InputError: the task names none.
    """
    if spec.judged_by is None:
        raise InputError("names no relationship with grades", where=f"{spec.name}: judged_by")
    return spec.anchors.label, spec.judged_by, spec.candidates.label


def stored_judgements(store: GraphStore, spec: MatchSpec) -> pa.Table:
    """The task's judgements as the graph holds them: source, target, grade, text.

    Raises:
        InputError: there are none, or the relationship has no grade.
    """
    edge = judgement_edge(spec)
    table = take_judgements(store, edge, include_judgements=True)
    numbers = [f.name for f in table.schema if types.is_floating(f.type) or types.is_integer(f.type)]
    grade = _GRADE if _GRADE in numbers else numbers[0] if len(numbers) == 1 else None
    if grade is None:
        raise InputError(f"{edge[1]} has no number called {_GRADE}", where=f"{spec.name}: judged_by")
    if not table.num_rows:
        hint = "ingest judgements, or declare a task that later events judge"
        raise InputError(f"the graph holds no {edge[1]} to judge by", where=store.url, hint=hint)
    columns = [table["source"], table["target"], table[grade].cast(pa.float64()), table["text"]]
    return pa.table(columns, names=["source", "target", _GRADE, "text"])


@dataclass
class JudgedTask:
    """Candidates ranked for anchors that are known by their text; people's grades are the test.

    Attributes:
        snapshot: what a model may see.
        spec: the task.
        table: from `stored_judgements`; read only once the test is opened.
    """

    snapshot: Snapshot
    spec: MatchSpec
    table: pa.Table
    _open: bool = field(default=False, init=False)

    def open_test(self) -> None:
        """Lets the judgements be read; only evaluation may call it."""
        self._open = True

    @cached_property
    def catalogue(self) -> SearchCatalogue:
        """The candidates: their texts, and their facts where the task reads them."""
        whole = search_catalogue(self.snapshot, self.spec.candidates.label)
        return whole if "facts" in self.spec.candidates.by else whole.without_facts()

    @cached_property
    def judgements(self) -> Judgements:
        """The judged anchors, by key; of two with one text, the grades are put together.

        Raises:
            LeakError: the test is closed.
            InputError: a judged candidate is not in the snapshot, or no grade is above 0.
        """
        if not self._open:
            raise LeakError("the judgements are the test, which is not opened", hint="call open_test()")
        label = self.spec.candidates.label
        keys = self.table["target"].to_pylist()
        judged: dict[str, dict[int, float]] = {}
        rows = zip(self.table["source"].to_pylist(), self.table["text"].to_pylist(), strict=True)
        graded = zip(keys, self.snapshot.index(label, keys), self.table[_GRADE].to_pylist(), strict=True)
        for (source, text), (key, item, grade) in zip(rows, graded, strict=True):
            if item < 0:
                raise InputError(f"the judged {label} {key!r} is not in the snapshot")
            held, value = (
                judged.setdefault(_query(text) or source, {}),
                float("nan" if grade is None else grade),
            )
            if int(item) not in held or value > held[int(item)]:
                held[int(item)] = value
        if not any(grade > 0 for held in judged.values() for grade in held.values()):
            raise InputError("no judged grade is above 0", where=self.spec.name)
        return Judgements.of(judged)

    def clicked(self) -> SyntheticQueries | None:
        """What followed on an anchor, each pair once; None where the task names no event or none is there."""
        edge = self.spec.interaction
        if edge is None or edge not in self.snapshot.edge_types or not self.snapshot.num_edges(edge):
            return None
        ends = self.snapshot.edge_index(edge)
        anchors, items = ends[::-1] if self.spec.positives.reverse else ends
        texts = self.snapshot.texts(self.spec.anchors.label)
        pairs = dict.fromkeys((_query(texts[a]), int(i)) for a, i in zip(anchors, items, strict=True))
        kept = [(text, item) for text, item in pairs if text]
        if not kept:
            return None
        items_of = np.array([item for _, item in kept], np.int64)
        return SyntheticQueries([text for text, _ in kept], items_of, ["clicked"] * len(kept))


def _query(text: str | None) -> str:
    """Several fields as one line."""
    return " ".join((text or "").replace(" [SEP] ", " ").split())
