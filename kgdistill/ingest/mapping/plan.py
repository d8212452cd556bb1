"""A mapping that has been checked against the schema, ready to run; it can be pickled."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

import pyarrow as pa

from kgdistill.ingest.mapping.model import Condition, Value
from kgdistill.ingest.model import TypeKey
from kgdistill.ingest.readers import SourceOptions
from kgdistill.store.protocol import EdgeType
from kgdistill.store.schema import PropertyType, Schema

Side: TypeAlias = Literal["source", "target"]
Shape: TypeAlias = Literal["one", "many"]


@dataclass(frozen=True, eq=False)
class Plan:
    """A value of a type.

    Attributes:
        slot: the same for equal plans of one source, so that each is worked out once per batch.
        value: as the mapping says it.
        kind: what it becomes.
        shape: many: a list stays one; one: its elements are joined into a text.
        zone: of times without one.
        columns: its columns as one text, for rejects.
        as_text: whether it goes through text, whatever the column holds.
        is_key: whether it tells nodes or events from one another.
        parts: the plans of `coalesce`, `multiply` or `value`.
        constant, default: one-element arrays of `kind`; None where not given.
        outcomes: what `values` gives, an array of `kind` in its order.
        low, high: the bounds, one-element arrays of `kind`, and the fault in words.
    """

    slot: int
    value: Value
    kind: PropertyType
    shape: Shape
    zone: str
    columns: str
    as_text: bool
    is_key: bool = False
    parts: tuple[Plan, ...] = ()
    constant: pa.Array | None = None
    default: pa.Array | None = None
    outcomes: pa.Array | None = None
    low: tuple[pa.Array, str] | None = None
    high: tuple[pa.Array, str] | None = None


@dataclass(frozen=True, eq=False)
class Cell:
    """A key, an end or a property, and whether no value is a fault."""

    name: str
    plan: Plan
    required: bool


@dataclass(frozen=True, eq=False)
class NodePlan:
    """Nodes of a label."""

    label: str
    key: Cell
    properties: tuple[Cell, ...]
    when: tuple[Condition, ...]


@dataclass(frozen=True, eq=False)
class EdgePlan:
    """Relationships of a type; `lines`: its properties are at, quantity and amount."""

    edge: EdgeType
    source: Cell
    target: Cell
    properties: tuple[Cell, ...]
    identity: tuple[str, ...]
    aggregated: bool
    lines: bool
    event_id: Cell | None
    overlap: bool
    when: tuple[Condition, ...]


@dataclass(frozen=True, eq=False)
class TreePlan:
    """Nodes of a tree, and what hangs on its leaves.

    `several`: what stands between paths of one value, which then is a text, and between the names of each.
    """

    label: str
    path: Cell
    root: str | None
    member: tuple[str, Cell] | None
    several: tuple[str, str] | None
    when: tuple[Condition, ...]


@dataclass(frozen=True)
class JoinPlan:
    """A table in which each row of a source looks up one.

    Attributes:
        name: in the mapping.
        patterns: its files.
        optional: whether there may be none.
        options: how they are written.
        here: the columns whose texts are looked up: the source's, or JOIN.COLUMN.
        there: the columns there that hold them, in the same order.
        columns: what is wanted of it, as called there.
        updated_at: by which of several rows with one key the latest counts.
    """

    name: str
    patterns: tuple[str, ...]
    optional: bool
    options: SourceOptions
    here: tuple[str, ...]
    there: tuple[str, ...]
    columns: tuple[str, ...]
    updated_at: Cell | None = None

    @property
    def read(self) -> list[str]:
        """The columns that the reader must give."""
        times = [] if self.updated_at is None else self.updated_at.plan.value.own_columns()
        return list(dict.fromkeys([*self.there, *self.columns, *times]))

    @property
    def found(self) -> str:
        """The column of a joined batch that tells which rows have found one."""
        return f"{self.name}."


@dataclass(frozen=True, eq=False)
class CompiledSource:
    """One source of a mapping, checked against the schema.

    Attributes:
        name: in the mapping.
        patterns: its files.
        optional: whether there may be none.
        options: how they are written.
        columns: the columns that the reader must give, in this order.
        joins: where else columns come from, in the order in which they are looked up.
        keys: the types that its rows can make.
        stubs: the edge types and sides at which a node that nothing makes becomes a bare one.
        digest: changes whenever the same rows could make something else: with this source's part of the
            mapping, the time zone, and the salt where it is used. Not with `files` and `optional`,
            its joins' neither.
        of_records: the columns that differ between the records of `each`; what uses none of them is made
            once of a row.
    """

    name: str
    patterns: tuple[str, ...]
    optional: bool
    options: SourceOptions
    columns: list[str]
    joins: tuple[JoinPlan, ...]
    keys: set[TypeKey]
    stubs: set[tuple[EdgeType, Side]]
    digest: str
    schema: Schema = field(repr=False)
    where: tuple[Condition, ...] = field(repr=False)
    updated_at: Cell | None = field(repr=False)
    delete: bool | Condition = field(repr=False)
    nodes: tuple[NodePlan, ...] = field(repr=False)
    edges: tuple[EdgePlan, ...] = field(repr=False)
    trees: tuple[TreePlan, ...] = field(repr=False)
    salt: bytes | None = field(repr=False)
    now: datetime = field(repr=False)
    of_records: frozenset[str] = field(default=frozenset(), repr=False)
