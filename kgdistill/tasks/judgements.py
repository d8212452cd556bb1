"""Matching by text, declared: what was clicked before, and what judges, which stays closed."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

from kgdistill.errors import InputError, LeakError
from kgdistill.ranking.graded import Judgements
from kgdistill.snapshot import Snapshot, take_judgements
from kgdistill.store.protocol import EdgeType, GraphStore
from kgdistill.tasks.protocol import DiscoveryProtocol
from kgdistill.tasks.search_catalogue import SearchCatalogue, search_catalogue
from kgdistill.tasks.spec import MatchSpec
from kgdistill.tasks.synthetic import SyntheticQueries

_GRADE = "grade"


def no_judgement(spec: MatchSpec) -> InputError:
    """The refusal of a run whose graph held no judgements of its task."""
    held = "-".join(judgement_edge(spec))
    hint = "ingest some and make the run anew, or ask the bundle: it answers all the same"
    return InputError(f"nothing judges: the graph held no {held}", where=spec.name, hint=hint)


def judgement_edge(spec: MatchSpec) -> EdgeType:
    """The relationship whose grades judge.

    Raises:
        InputError: the task names none.
    """
    if spec.judged_by is None:
        raise InputError("names no relationship with grades", where=f"{spec.name}: judged_by")
    return spec.anchors.label, spec.judged_by, spec.candidates.label


def stored_judgements(store: GraphStore, spec: MatchSpec) -> pa.Table:
    """The task's judgements as the graph holds them: source, target, grade, text; without any, no column.

    Raises:
        InputError: the relationship has no grade.
    """
    edge = judgement_edge(spec)
    table = take_judgements(store, edge, include_judgements=True)
    numbers = [f.name for f in table.schema if types.is_floating(f.type) or types.is_integer(f.type)]
    grade = _GRADE if _GRADE in numbers else numbers[0] if len(numbers) == 1 else None
    if grade is None:
        raise InputError(f"{edge[1]} has no number called {_GRADE}", where=f"{spec.name}: judged_by")
    if not table.num_rows:
        return pa.table({})
    columns = [table["source"], table["target"], table[grade].cast(pa.float64()), table["text"]]
    return pa.table(columns, names=["source", "target", _GRADE, "text"])


@dataclass
class JudgedTask:
    """Candidates ranked for anchors that are known by their text; people's grades, or later events, judge.

    Attributes:
        snapshot: what a model may see.
        spec: the task.
        table: from `stored_judgements`, or the events from the cut on; read only once the test is opened.
        protocol: of a task that is split by time: when later events judge.
    """

    snapshot: Snapshot
    spec: MatchSpec
    table: pa.Table
    protocol: DiscoveryProtocol | None = None
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
            InputError: a judged candidate is not in the snapshot, no grade is above 0, or nothing judges.
        """
        if not self._open:
            raise LeakError("the judgements are the test, which is not opened", hint="call open_test()")
        label, table = self.spec.candidates.label, self._graded()
        keys = table["target"].to_pylist()
        judged: dict[str, dict[int, float]] = {}
        rows = zip(table["source"].to_pylist(), table["text"].to_pylist(), strict=True)
        graded = zip(keys, self.snapshot.index(label, keys), table[_GRADE].to_pylist(), strict=True)
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

    def _graded(self) -> pa.Table:
        """What judges: source, target, grade, text; a later event between what was known counts as 1."""
        if _GRADE in self.table.column_names:
            return self.table
        if self.protocol is None and self.spec.judged_by is not None:
            raise no_judgement(self.spec)
        if self.protocol is None:
            raise InputError(
                "nothing judges: the task names no grades, and no later events",
                where=self.spec.name,
                hint="declare judged_by, or positives with an event and a split by time",
            )
        edge, protocol = self.protocol.interaction, self.protocol
        times = self.table[str(self.snapshot.schema.relationship(edge).time)]
        kept = pc.greater_equal(times, pa.scalar(protocol.test_start, times.type))
        if protocol.test_end is not None:
            kept = pc.and_(kept, pc.less(times, pa.scalar(protocol.test_end, times.type)))
        asking, ranked = ("target", "source") if protocol.reverse else ("source", "target")
        later = self.table.filter(kept)
        anchors, items = later[asking].to_pylist(), later[ranked].to_pylist()
        label, texts = self.spec.anchors.label, self.snapshot.texts(self.spec.anchors.label)
        places = zip(
            self.snapshot.index(label, anchors),
            self.snapshot.index(self.spec.candidates.label, items),
            strict=True,
        )
        known = [row for row, (anchor, item) in enumerate(places) if anchor >= 0 and item >= 0]
        if not known:
            raise InputError(f"no {edge[1]} in the test period judges", where=self.spec.name)
        ids = self.snapshot.index(label, [anchors[row] for row in known])
        return pa.table({
            "source": [anchors[row] for row in known],
            "target": [items[row] for row in known],
            _GRADE: [1.0] * len(known),
            "text": [texts[i] for i in ids],
        })  # fmt: skip

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
