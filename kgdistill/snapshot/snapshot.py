"""A snapshot on disk: opened, verified and read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from kgdistill.errors import ArtefactError, InputError, SchemaError
from kgdistill.snapshot.files import file_hash
from kgdistill.store.protocol import EdgeType
from kgdistill.store.schema import NodeType, Schema

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

MANIFEST = "manifest.json"
SCHEMA = "schema.json"
_AGAIN = "take the snapshot again"


class Manifest(BaseModel):
    """What `manifest.json` says; written last, so that a folder that has one is whole."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1]
    cut: datetime | None
    schema_digest: str
    content_hash: str
    nodes: dict[str, NonNegativeInt]
    edges: dict[str, NonNegativeInt]
    files: dict[str, str]
    # The next key is new: snapshots of earlier versions lack it.
    zone: str = "UTC"


def edge_key(edge: EdgeType) -> str:
    """How an edge type is written in the manifest and in file names: User-BOUGHT-Product."""
    return "-".join(edge)


def node_file(label: str) -> str:
    """The path of a label's table inside a snapshot."""
    return f"nodes/{label}.parquet"


def edge_file(edge: EdgeType) -> str:
    """The path of an edge type's table inside a snapshot."""
    return f"edges/{edge_key(edge)}.parquet"


class Snapshot:
    """A frozen copy of the graph before a cut; made by `take_snapshot` and `open_snapshot`.

    Nodes of a label have the ids 0 … n-1 in the order of their sorted keys. Tables are read from disk
    when they are first asked for, and kept. Arrays are the caller's own, except `keys`, which is
    read-only.

    Attributes:
        folder: where it lies.
        cut: a naive UTC datetime, nothing at or after which stands in it; None where all that was
            known was taken.
        content_hash: 64 hexadecimal digits; equal for equal graphs, whichever store they came from.
        schema: the schema that it was taken with.
        zone: in which a person reads its times; no array or table is in it.
    """

    def __init__(self, folder: Path, manifest: Manifest, schema: Schema) -> None:
        self.folder = folder
        self.cut = manifest.cut
        self.content_hash = manifest.content_hash
        self.schema = schema
        self.zone = manifest.zone
        self._manifest = manifest
        self._edges = [_edge_type(name) for name in manifest.edges]
        self._tables: dict[str, pa.Table] = {}
        self._keys: dict[str, npt.NDArray[np.object_]] = {}

    def __repr__(self) -> str:
        before = f"before {self.cut.isoformat()}" if self.cut is not None else "of all that was known"
        return f"<Snapshot {before} in {self.folder}>"

    @property
    def labels(self) -> list[str]:
        """Every label, those without nodes too, in the schema's order."""
        return list(self._manifest.nodes)

    @property
    def edge_types(self) -> list[EdgeType]:
        """Every edge type, those without edges too, in the schema's order."""
        return list(self._edges)

    def num_nodes(self, label: str) -> int:
        """How many nodes of `label` there are; InputError for an unknown label."""
        return self._manifest.nodes[self._known(label)]

    def num_edges(self, edge: EdgeType) -> int:
        """How many edges of this type there are; InputError for an unknown type."""
        return self._manifest.edges[self._known_edge(edge)]

    def keys(self, label: str) -> npt.NDArray[np.object_]:
        """The business keys (str) in the order of the ids, object [num_nodes], read-only."""
        if label not in self._keys:
            keys = self.node_table(label).column(0).to_numpy()
            keys.flags.writeable = False
            self._keys[label] = keys
        return self._keys[label]

    def index(self, label: str, keys: Sequence[str] | npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """The ids of business keys.

        Returns:
            int64 [len(keys)]; -1 where no node of `label` has the key.

        Raises:
            InputError: unknown label, or keys that are no strings.
        """
        known = self.node_table(label).column(0)
        try:
            asked = pa.array(keys, type=pa.string())
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise InputError(f"the keys of {label} are strings: {error}") from error
        found = pc.index_in(asked, value_set=pa.concat_arrays(known.chunks))
        return np.array(pc.fill_null(found, -1).to_numpy(zero_copy_only=False), np.int64)

    def node_table(self, label: str) -> pa.Table:
        """The key column (string), then the kept properties; row i is the node with the id i."""
        return self._table(node_file(self._known(label)), self._manifest.nodes[label])

    def edge_table(self, edge: EdgeType) -> pa.Table:
        """`source` and `target` (int64 ids), then the kept properties, by source, target and time."""
        name = self._known_edge(edge)
        return self._table(edge_file(edge), self._manifest.edges[name])

    def edge_index(self, edge: EdgeType) -> npt.NDArray[np.int64]:
        """int64 [2, num_edges]: source ids over target ids."""
        table = self.edge_table(edge)
        return np.stack([table["source"].to_numpy(), table["target"].to_numpy()])

    def times(self, edge: EdgeType) -> npt.NDArray[np.datetime64] | None:
        """When the edges happened, UTC, datetime64[us], [num_edges]; None for an edge type without a time."""
        name = self.schema.relationship(edge).time
        table = self.edge_table(edge)
        return None if name is None else np.array(table[name].to_numpy(), "datetime64[us]")

    def texts(self, label: str) -> list[str]:
        """What a text model reads of each node, one string an id.

        The label's `text` properties joined by " [SEP] ", as they stand; one that is null or empty is
        left out with its separator. Empty strings where the label has no text.
        """
        return node_texts(self.schema.node(label), self.node_table(label))

    def to_hetero_data(self) -> HeteroData:
        """The snapshot as PyTorch Geometric's `HeteroData`, on the CPU.

        Returns:
            `data[label].num_nodes`; `data[edge].edge_index` (int64 [2, E]) for every edge type and for its
            reverse (target, "rev_TYPE", source); for events `edge_time` too (int64 [E], seconds since
            1970 in UTC, rounded down), the same for the reverse.
        """
        from kgdistill.snapshot.hetero import hetero_data

        return hetero_data(self)

    def _known(self, label: str) -> str:
        if label not in self._manifest.nodes:
            raise InputError(f"no label {label!r} in the snapshot", hint=f"known: {', '.join(self.labels)}")
        return label

    def _known_edge(self, edge: EdgeType) -> str:
        name = edge_key(edge)
        if name not in self._manifest.edges:
            known = ", ".join(self._manifest.edges)
            raise InputError(f"no edge type {name} in the snapshot", hint=f"known: {known}")
        return name

    def _table(self, path: str, rows: int) -> pa.Table:
        if path not in self._tables:
            file = self.folder / path
            try:
                table = pq.read_table(file, partitioning=None)
            except FileNotFoundError as error:
                raise ArtefactError("the file is missing", where=str(file), hint=_AGAIN) from error
            except (OSError, pa.ArrowInvalid) as error:
                raise ArtefactError(f"cannot be read: {error}", where=str(file), hint=_AGAIN) from error
            if table.num_rows != rows:
                raise ArtefactError(
                    f"holds {table.num_rows:,} rows, not the {rows:,} of the manifest",
                    where=str(file),
                    hint=_AGAIN,
                )
            self._tables[path] = table.combine_chunks() if rows else table
        return self._tables[path]


def node_texts(node: NodeType, table: pa.Table) -> list[str]:
    """What a text model reads of each row of a label's table; see `Snapshot.texts`."""
    fields = [table[name] for name in node.text if name in table.column_names]
    if not fields:
        return [""] * table.num_rows
    # Arrow's own join cannot be used: with null_handling="skip" it drops rows in which all is null.
    columns = [(f if pa.types.is_string(f.type) else f.cast(pa.string())).to_pylist() for f in fields]
    return [" [SEP] ".join(filter(None, row)) for row in zip(*columns, strict=True)]


def open_snapshot(folder: Path) -> Snapshot:
    """Opens a snapshot and verifies every file of it against the manifest.

    Raises:
        ArtefactError: there is no finished snapshot; a file is missing or altered (the message names it).
    """
    folder = Path(folder)
    place = folder / MANIFEST
    try:
        manifest = Manifest.model_validate_json(_read(place, "no finished snapshot is there"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        raise ArtefactError(
            f"is no manifest of a snapshot: {where + ': ' if where else ''}{first['msg']}",
            where=str(place),
            hint=_AGAIN,
        ) from error
    try:
        edges = [_edge_type(name) for name in manifest.edges]
    except ValueError as error:
        raise ArtefactError(str(error), where=str(place), hint=_AGAIN) from error
    expected = {SCHEMA, *map(node_file, manifest.nodes), *map(edge_file, edges)}
    if wrong := expected ^ set(manifest.files):
        raise ArtefactError(f"contradicts itself about {min(wrong)}", where=str(place), hint=_AGAIN)
    for path, digest in manifest.files.items():
        file = folder / path
        try:
            actual = file_hash(file)
        except FileNotFoundError as error:
            raise ArtefactError("the file is missing", where=str(file), hint=_AGAIN) from error
        except OSError as error:
            raise ArtefactError(f"cannot be read: {error.strerror}", where=str(file), hint=_AGAIN) from error
        if actual != digest:
            raise ArtefactError("was altered after the snapshot was taken", where=str(file), hint=_AGAIN)
    return Snapshot(folder, manifest, _schema(folder / SCHEMA, manifest, edges))


def _schema(file: Path, manifest: Manifest, edges: list[EdgeType]) -> Schema:
    try:
        schema = Schema.model_validate_json(_read(file, "the file is missing"))
        if schema.digest() != manifest.schema_digest:
            raise ArtefactError("is not the schema that the manifest names", where=str(file), hint=_AGAIN)
        for label in manifest.nodes:
            schema.node(label)
        for edge in edges:
            schema.relationship(edge)
    except (ValidationError, SchemaError) as error:
        raise ArtefactError(f"does not fit: {error}", where=str(file), hint=_AGAIN) from error
    return schema


def _read(file: Path, missing: str) -> bytes:
    try:
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ArtefactError(missing, where=str(file), hint=_AGAIN) from error
    except OSError as error:
        raise ArtefactError(f"cannot be read: {error.strerror}", where=str(file)) from error


def _edge_type(name: str) -> EdgeType:
    parts = name.split("-")
    if len(parts) != 3:
        raise ValueError(f"{name!r} is no edge type")
    return parts[0], parts[1], parts[2]


def manifest_text(manifest: Manifest) -> str:
    """The manifest as it is written."""
    return json.dumps(manifest.model_dump(mode="json"), indent=1) + "\n"
