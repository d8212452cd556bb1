"""What a run answers, and its embeddings, back into the graph."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.errors import InputError
from kgdistill.explore.run_nodes import RUN, RunFacts, make_room, run_tables
from kgdistill.ingest.model import TypeKey
from kgdistill.ingest.outputs import Outputs, of_run
from kgdistill.ingest.projection import kept_by
from kgdistill.progress import step
from kgdistill.store.protocol import EdgeType, GraphStore, Write
from kgdistill.store.schema import Schema

RECOMMENDED: EdgeType = ("User", "RECOMMENDED", "Product")
CLASS = "Class"
"""The label of classes that have no node of their own in the graph."""
ANSWERS = pa.schema(
    [("user", pa.string()), ("product", pa.string()), ("rank", pa.int64()), ("score", pa.float64())]
)
_FIRST = 5
_MORE = pa.schema(
    [
        ("teacher_score", pa.float64()),
        ("is_new", pa.bool_()),
        ("reason", pa.string()),
        ("reason_kind", pa.string()),
        ("reason_lift", pa.float64()),
    ]
)


@dataclass(frozen=True)
class NodeEmbeddings:
    """Vectors of one kind for nodes of one label.

    Attributes:
        label: the nodes' label.
        space: what the vectors mean: `relational` or `student`.
        keys: the nodes' keys, in the order of the rows.
        vectors: float32 [len(keys), dimensions].
    """

    label: str
    space: str
    keys: Sequence[str]
    vectors: npt.NDArray[np.float32]


class ToldClass(NamedTuple):
    """A class that is told of a node: the node's key, the target, the class, its probability."""

    key: str
    target: str
    name: str
    probability: float
    sensitive: bool = False


@dataclass(frozen=True)
class WriteBackReport:
    """What was written: relationships, embeddings by `label:space`, and the wall time.

    `archive` is the folder of the archive that keeps it too, for a store made anew; None: none does.
    `classes` says of each target of how many nodes a class was written; of other runs it is empty.
    `left_out` names the targets whose classes were not written, being sensitive.
    `unanswered` says how many of those who ask (users, queries) have no answer, `unanswered_first` who first.
    """

    run: str
    recommendations: int
    embeddings: dict[str, int]
    seconds: float
    archive: Path | None = None
    classes: dict[str, int] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    unanswered: int = 0
    unanswered_first: tuple[str, ...] = ()

    def with_unanswered(self, keys: pa.ChunkedArray, answered: pa.ChunkedArray) -> WriteBackReport:
        """Says which of the keys no answer was written for, those of `_FIRST` by name."""
        without = keys.filter(pc.invert(pc.is_in(keys, value_set=answered.combine_chunks())))
        first = sorted(without.to_pylist())[:_FIRST]
        return replace(self, unanswered=len(without), unanswered_first=tuple(first))


def write_back(
    store: GraphStore,
    run_id: str,
    recommendations: pa.Table,
    embeddings: Sequence[NodeEmbeddings] = (),
    *,
    edge: EdgeType = RECOMMENDED,
    facts: RunFacts | None = None,
    archive: str | Path | None = None,
    wait_s: float = 0.0,
) -> WriteBackReport:
    """Writes what a run recommends, and its vectors, in place of what the same run wrote before.

    Recommendations are relationships of type `edge`; vectors are Embedding nodes with the id
    `run:space:label:key`; the run itself is a node that leads to all that it recommends (MADE). What the
    store's schema lacks of these is added to it. Other runs' stay. All is kept, or nothing, whatever happens:
    an embedded store takes it as one block of changes, Neo4j as one transaction. Where that would be too
    large for Neo4j (8 million values with its default), the vectors go first, in parts: after a kill the
    recommendations are the former ones, as a whole, some vectors are new, and the same call completes both.

    Args:
        store: an open store that holds the users and products.
        run_id: names the run; not empty.
        recommendations: user, product (string), rank (int64, 1 is the best), score (float64); one row per
            user and product. Further columns may be null: teacher_score (float64), is_new (bool), reason,
            reason_kind (string), reason_lift (float64); those that `edge` has no property for are left out.
        embeddings: may be empty; the run's former embeddings are then removed.
        edge: what recommendations are written as; its properties are run, rank, score, and the further ones.
        facts: what is kept of the run itself.
        archive: the store's archive, which keeps them too, so that `kgdistill store rebuild` brings them
            back. None: the one that the store was filled from, if it is still there.
        wait_s: how long to wait for a job that holds the archive.

    Raises:
        InputError: an empty run id, a missing column, a rank below 1, vectors that do not fit their keys or
            are not finite, the same label and space twice; nothing is written.
        SchemaError: a user or product that the store does not hold; nothing is written.
        StoreError: from the store; also an archive that is not this store's.
        DiskError: the archive cannot be written; nothing is written.
    """
    start = time.monotonic()
    _check_name(run_id)
    edges = _recommended(run_id, recommendations)
    nodes = _embeddings(run_id, embeddings)
    schema = make_room(store, [edge])
    edges = edges.select(
        [name for name in edges.column_names if name in schema.edge_arrow_schema(edge).names]
    )
    tables: dict[TypeKey, pa.Table] = {edge: edges}
    # A schema of one's own need not have them.
    if nodes.num_rows or "Embedding" in schema.nodes:
        tables = {"Embedding": nodes, edge: edges}
    tables |= run_tables(run_id, facts or RunFacts(), schema, {edge: edges})
    kept = _write(store, run_id, tables, schema, archive, wait_s)
    counts = {f"{e.label}:{e.space}": len(e.keys) for e in embeddings}
    return WriteBackReport(run_id, edges.num_rows, counts, time.monotonic() - start, kept)


def write_classes(
    store: GraphStore,
    run_id: str,
    told: Mapping[EdgeType, Sequence[ToldClass]],
    *,
    facts: RunFacts | None = None,
    archive: str | Path | None = None,
    wait_s: float = 0.0,
) -> WriteBackReport:
    """Writes the classes that a run tells, in place of what the same run wrote before.

    A class is the node that a relationship leads to, by its key; where the graph has none, a node of the
    label Class with the id `run:target:class`. All is kept, or nothing, as in `write_back`.

    Args:
        store: an open store that holds the nodes.
        run_id: names the run; not empty.
        told: by the type of the relationship, whose properties are run, property and probability; of a type
            without anything the run's former ones go.
        facts, archive, wait_s: as in `write_back`.

    Raises:
        InputError, SchemaError, StoreError, DiskError: as `write_back`; nothing is written.
    """
    start = time.monotonic()
    _check_name(run_id)
    tables: dict[TypeKey, pa.Table] = {}
    answers: dict[EdgeType, pa.Table] = {}
    schema = make_room(store, told)
    if any(edge[2] == CLASS for edge in told):
        tables[CLASS] = _classes(
            run_id, [one for edge, some in told.items() if edge[2] == CLASS for one in some]
        )
    for edge, some in told.items():
        answers[edge] = pa.table(
            {
                "source": pa.array([one.key for one in some], pa.string()),
                "target": pa.array(
                    [_class_id(run_id, one) if edge[2] == CLASS else one.name for one in some], pa.string()
                ),
                "run": pa.array([run_id] * len(some), pa.string()),
                "property": pa.array([one.target for one in some], pa.string()),
                "probability": pa.array([one.probability for one in some], pa.float64()),
            }
        )
    for edge, table in answers.items():
        tables[edge] = table
    tables |= run_tables(run_id, facts or RunFacts(), schema, answers)
    kept = _write(store, run_id, tables, schema, archive, wait_s)
    counts = Counter(one.target for some in told.values() for one in some)
    return WriteBackReport(run_id, 0, {}, time.monotonic() - start, kept, dict(counts))


def _class_id(run_id: str, told: ToldClass) -> str:
    return f"{run_id}:{told.target}:{told.name}"


def _classes(run_id: str, told: Sequence[ToldClass]) -> pa.Table:
    distinct = {_class_id(run_id, one): one for one in told}
    return pa.table(
        {
            "class_id": pa.array(list(distinct), pa.string()),
            "run": pa.array([run_id] * len(distinct), pa.string()),
            "property": pa.array([one.target for one in distinct.values()], pa.string()),
            "name": pa.array([one.name for one in distinct.values()], pa.string()),
            "sensitive": pa.array([one.sensitive for one in distinct.values()], pa.bool_()),
        }
    )


def _write(
    store: GraphStore,
    run_id: str,
    tables: dict[TypeKey, pa.Table],
    schema: Schema,
    archive: str | Path | None,
    wait_s: float,
) -> Path | None:
    """Writes all of it, in place of the same run's former; returns the archive that keeps it."""
    kept, rows = kept_by(store, archive), sum(table.num_rows for table in tables.values())
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(step("writing back", total=rows))
        if "Embedding" in tables:
            # Ends last: what is written is kept, whatever comes of its index.
            stack.enter_context(store.reindexed("Embedding", {"run": run_id}))
        if kept is not None:
            stack.enter_context(Outputs(kept).keep("run", run_id, tables, schema=schema, wait_s=wait_s))
        store.write_together(
            [
                Write(key, table, of_run(schema, key, run_id), clear_nulls=key == RUN)
                for key, table in tables.items()
            ]
        )
        progress.advance(rows)
    return kept.folder if kept else None


def _check_name(run_id: str) -> None:
    if not run_id.strip():
        raise InputError("the run's id is empty")


def _recommended(run_id: str, table: pa.Table) -> pa.Table:
    for name in ANSWERS.names:
        if name not in table.column_names:
            raise InputError(
                f"lacks the column {name!r}",
                where="recommendations",
                hint=f"it needs: {', '.join(ANSWERS.names)}",
            )
    more = pa.schema([field for field in _MORE if field.name in table.column_names])
    types = pa.schema([*ANSWERS, *more])
    try:
        data = table.select(types.names).cast(types)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"has a column of the wrong type: {error}", where="recommendations") from error
    if any(data[name].null_count for name in ANSWERS.names):
        raise InputError("has an empty value", where="recommendations")
    ranks = np.asarray(data["rank"])
    if len(ranks) and ranks.min() < 1:
        raise InputError(f"has the rank {ranks.min()}; 1 is the best", where="recommendations")
    return pa.table(
        {
            "source": data["user"],
            "target": data["product"],
            "run": pa.array([run_id] * data.num_rows, type=pa.string()),
            "rank": data["rank"],
            "score": data["score"],
            **{name: data[name] for name in more.names},
        }
    )


def _embeddings(run_id: str, embeddings: Sequence[NodeEmbeddings]) -> pa.Table:
    schema = pa.schema(
        [
            ("embedding_id", pa.string()),
            ("run", pa.string()),
            ("label", pa.string()),
            ("node_key", pa.string()),
            ("space", pa.string()),
            ("vector", pa.list_(pa.float32())),
        ]
    )
    parts: list[pa.Table] = []
    seen: set[tuple[str, str]] = set()
    for item in embeddings:
        where = f"embeddings of {item.label} in the space {item.space}"
        if (item.label, item.space) in seen:
            raise InputError("stand there twice", where=where)
        seen.add((item.label, item.space))
        vectors = np.ascontiguousarray(item.vectors, dtype=np.float32)
        if vectors.ndim != 2 or len(vectors) != len(item.keys):
            raise InputError(f"have the shape {vectors.shape} for {len(item.keys)} keys", where=where)
        if not np.isfinite(vectors).all():
            bad = item.keys[int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])]
            raise InputError(f"the vector of {bad!r} is not finite", where=where)
        count, width = vectors.shape
        offsets = pa.array(np.arange(0, (count + 1) * width, max(width, 1))[: count + 1], type=pa.int32())
        parts.append(
            pa.table(
                [
                    pa.array([f"{run_id}:{item.space}:{item.label}:{key}" for key in item.keys], pa.string()),
                    pa.array([run_id] * count, pa.string()),
                    pa.array([item.label] * count, pa.string()),
                    pa.array(list(item.keys), pa.string()),
                    pa.array([item.space] * count, pa.string()),
                    pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel())),
                ],
                schema=schema,
            )
        )
    return pa.concat_tables(parts) if parts else schema.empty_table()
