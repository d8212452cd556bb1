"""What the page shows comes from here: an open store whose answers are remembered, and its schema."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pyarrow as pa

from kgdistill.errors import InputError
from kgdistill.explore import TypeCounts, count_types
from kgdistill.ingest.journal import Journal, without_journal
from kgdistill.store import GraphStore, Schema, kept_schema
from kgdistill.store.protocol import EdgeType, Parameter

if TYPE_CHECKING:
    from kgdistill.page.names import Names
    from kgdistill.serve.bundle import Bundle

MOST_SECONDS = 30.0
"""No question of the page may take longer."""
RUN = "Run"
"""The label of runs, where the graph has nodes for them."""
_KEPT_BYTES, _LARGEST = 64 * 2**20, 4 * 2**20


class WrittenRun(NamedTuple):
    """What one run wrote as one type of relationship."""

    run: str
    edge: EdgeType
    rows: int


class _Remembering:
    """A store for several threads that remembers what it answered, and asks nothing twice at the same time.

    An embedded store answers several at once, and cannot change while this process holds it. Any other takes
    one at a time, and its answers are kept for a minute.
    """

    def __init__(self, store: GraphStore) -> None:
        embedded = store.url.startswith("ladybug:")
        self._store, self._seconds = store, None if embedded else 60.0
        self._turn = contextlib.nullcontext() if embedded else threading.Lock()
        self._lock = threading.Lock()
        self._asking: dict[object, Future[pa.Table]] = {}
        self._kept: OrderedDict[object, tuple[float, pa.Table]] = OrderedDict()
        self._bytes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def holds(self, at: float) -> bool:
        """Whether what was asked at this moment still holds."""
        return self._seconds is None or time.monotonic() - at < self._seconds

    def read_nodes(self, label: str, columns: Sequence[str] | None = None) -> pa.Table:
        with self._turn:
            return self._store.read_nodes(label, columns)

    def query(
        self,
        cypher: str,
        parameters: Mapping[str, Parameter] | None = None,
        *,
        limit: int = 1000,
        timeout_s: float = MOST_SECONDS,
    ) -> pa.Table:
        values = tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in (parameters or {}).items())
        # 1, 1.0 and true are equal, and not the same question.
        key = (cypher, repr(values), limit)
        with self._lock:
            at, table = self._kept.get(key, (0.0, None))
            if table is not None and self.holds(at):
                self._kept.move_to_end(key)
                return table
            asked = self._asking.get(key)
            if asked is None:
                mine = self._asking[key] = Future[pa.Table]()
        if asked is not None:
            return asked.result()
        try:
            with self._turn:
                table = self._store.query(
                    cypher, parameters, limit=limit, timeout_s=min(timeout_s, MOST_SECONDS)
                )
        except BaseException as error:
            mine.set_exception(error)
            raise
        else:
            with self._lock:
                self._keep(key, table)
            mine.set_result(table)
            return table
        finally:
            with self._lock:
                del self._asking[key]

    def _keep(self, key: object, table: pa.Table) -> None:
        _, former = self._kept.pop(key, (0.0, None))
        self._bytes -= former.nbytes if former is not None else 0
        if table.nbytes > _LARGEST:
            return
        self._kept[key] = (time.monotonic(), table)
        self._bytes += table.nbytes
        while self._bytes > _KEPT_BYTES:
            _, (_, oldest) = self._kept.popitem(last=False)
            self._bytes -= oldest.nbytes


class GraphSource:
    """A graph as the page asks it.

    Args:
        store: an open store, which is not closed here.
        bundle: answers beside what was written back, where there is one.
        allow_sensitive: show what the schema declares sensitive.
    """

    def __init__(
        self, store: GraphStore, *, bundle: Bundle | None = None, allow_sensitive: bool = False
    ) -> None:
        self._remembered = _Remembering(store)
        self.store = cast("GraphStore", self._remembered)
        self._counted: tuple[float, TypeCounts | None] = (0.0, None)
        self.bundle = bundle
        self.allow_sensitive = allow_sensitive
        whole = without_journal(kept_schema(store))
        self.schema: Schema = whole if allow_sensitive else whole.guarded()
        self.zone = Journal(store).time_zone()

    @property
    def counts(self) -> TypeCounts:
        """How many nodes and relationships there are, by type."""
        at, counted = self._counted
        if counted is None or not self._remembered.holds(at):
            self._counted = at, counted = time.monotonic(), count_types(self.store, self.schema)
        return counted

    @cached_property
    def names(self) -> Names:
        """What the search box looks through; made when first asked for."""
        from kgdistill.page.names import Names

        return Names(self.store, self.schema, self.counts.nodes)

    def held(self, *kinds: Any) -> list[EdgeType]:
        """The edge types of these kinds, or all, of which the store holds something."""
        counts = self.counts.relationships
        return [edge for edge in self.schema.edges(*kinds) if counts[edge]]

    def runs(self) -> list[WrittenRun]:
        """What every run wrote, by run."""
        found = []
        for edge in self.held("output"):
            a, kind, b = edge
            if a != RUN and "run" in self.schema.relationship(edge).properties:
                text = f"MATCH (:`{a}`)-[r:`{kind}`]->(:`{b}`) RETURN r.run AS run, count(*) AS written"
                rows = self.store.query(text).to_pylist()
                found += [WrittenRun(row["run"], edge, row["written"]) for row in rows]
        return sorted(found)

    def told_of_run(self, run: str) -> dict[str, Any]:
        """What the graph says of a run itself; nothing where it has no node for it."""
        if RUN not in self.schema.nodes or not self.counts.nodes.get(RUN):
            return {}
        try:
            told = self.node(RUN, run)
        except InputError:
            return {}
        return {k: v for k, v in told.items() if k not in ("key", "name") and v is not None}

    def runs_of(self, kind: str) -> list[str]:
        """The runs that wrote relationships of this type."""
        return sorted({written.run for written in self.runs() if written.edge[1] == kind})

    def chosen_run(self, kind: str, given: str | None) -> str | None:
        """The run that is asked for, or else the first; None where nothing was written.

        Raises:
            InputError: no run of this name wrote such relationships.
        """
        known = self.runs_of(kind)
        if given and given not in known:
            hint = f"there are: {', '.join(known)}" if known else "nothing was written back yet"
            raise InputError(f"no run {given[:60]!r} wrote {kind}", hint=hint)
        return given or next(iter(known), None)

    def properties(self, label: str) -> list[str]:
        """The properties of a label that may be shown."""
        hidden = () if self.allow_sensitive else self.schema.node(label).sensitive_properties
        return [
            name
            for name, prop in self.schema.node(label).properties.items()
            if name not in hidden and prop.type != "float_list"
        ]

    def node(self, label: str, key: str) -> dict[str, Any]:
        """A node's name and properties.

        Raises:
            InputError: the graph has no such label or node.
        """
        if label not in self.schema.nodes:
            raise InputError(
                f"the graph has no {label[:60]!r}", hint=f"it has: {', '.join(self.schema.nodes)}"
            )
        kind = self.schema.node(label)
        shown = ["key", "name", *self.properties(label)]
        parts = [f"n.`{kind.key}` AS c0", f"n.`{kind.name}` AS c1"]
        parts += [f"n.`{name}` AS c{at}" for at, name in enumerate(shown[2:], 2)]
        found = self.store.query(
            f"MATCH (n:`{label}`) WHERE n.`{kind.key}` = $key RETURN {', '.join(parts)}", {"key": key}
        ).to_pylist()
        if not found:
            raise InputError(f"there is no {label} with the id {key[:60]!r}")
        values = dict(zip(shown, found[0].values(), strict=True))
        return {**values, "name": values["name"] or key}
