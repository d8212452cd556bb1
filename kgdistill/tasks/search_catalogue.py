"""What can be found by text: the candidates' text fields and the facts of the graph."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse as sp

from kgdistill.errors import InputError
from kgdistill.snapshot import Snapshot


@dataclass(frozen=True)
class Facts:
    """The nodes of one label that items hang on, such as brands.

    Attributes:
        label: such as "Brand".
        names: one for each node.
        members: float32 CSR [items, nodes] of 0 and 1.
    """

    label: str
    names: list[str]
    members: sp.csr_matrix


@dataclass(frozen=True)
class SearchCatalogue:
    """A catalogue to search.

    Attributes:
        fields: the name of a text field → its text for each item, empty where there is none. The
            first field is the title.
        facts: the graph's part.
    """

    fields: dict[str, list[str]]
    facts: list[Facts]

    def __post_init__(self) -> None:
        if not self.fields or not self.titles:
            raise InputError("a catalogue to search needs items with a title")
        if any(len(values) != len(self) for values in self.fields.values()):
            raise InputError("the text fields of a catalogue differ in length")
        for fact in self.facts:
            if fact.members.shape != (len(self), len(fact.names)):
                raise InputError(f"the facts of {fact.label} do not fit {len(self):,} items")

    def __len__(self) -> int:
        return len(self.titles)

    @property
    def titles(self) -> list[str]:
        """The first field."""
        return next(iter(self.fields.values()))

    @property
    def prose(self) -> list[str]:
        """The title and the fields that are running text: four words or more on average, where present."""
        names = []
        for i, (name, values) in enumerate(self.fields.items()):
            present = [len(v.split()) for v in values if v]
            if i == 0 or (len(present) > len(values) / 2 and np.mean(present) >= 4):
                names.append(name)
        return names

    def without_facts(self) -> SearchCatalogue:
        """The same texts without the graph (ablation)."""
        return replace(self, facts=[])

    def shuffled(self, seed: int) -> SearchCatalogue:
        """The same texts; each label's facts are dealt out anew among the items that have any.

        Every item and every node keeps its degree (control).
        """
        rng = np.random.default_rng(seed)
        facts = []
        for fact in self.facts:
            holders = np.flatnonzero(np.diff(fact.members.indptr))
            order: npt.NDArray[np.int64] = np.arange(len(self))
            order[holders] = rng.permutation(holders)
            facts.append(replace(fact, members=sp.csr_matrix(fact.members[order])))
        return replace(self, facts=facts)


def search_catalogue(snapshot: Snapshot, label: str = "Product") -> SearchCatalogue:
    """The catalogue of a snapshot: the text properties of a label's nodes, and their facts.

    The title is the property that the schema shows a person; a `description` is read beside what the
    schema calls text. A fact counts where the node behind it has a name.

    Raises:
        InputError: none of the nodes has a title.
    """
    node = snapshot.schema.node(label)
    table = snapshot.node_table(label)
    title = node.name or node.key
    names = dict.fromkeys([title, *node.text, "description"])
    fields = {name: _strings(table[name]) for name in names if name in table.column_names}
    if not any(fields.get(title, [])):
        raise InputError(f"no {label} of the snapshot has a {title}", where=str(snapshot.folder))
    facts = []
    for edge in snapshot.schema.edges("fact"):
        if edge[0] != label or edge not in snapshot.edge_types or not snapshot.num_edges(edge):
            continue
        other = snapshot.schema.node(edge[2])
        behind = snapshot.node_table(edge[2])
        shown = other.name or other.key
        if shown not in behind.column_names:
            continue
        index = snapshot.edge_index(edge)
        members = sp.csr_matrix(
            (np.ones(index.shape[1], np.float32), (index[0], index[1])),
            shape=(snapshot.num_nodes(label), snapshot.num_nodes(edge[2])),
        )
        members.data[:] = 1.0
        facts.append(Facts(edge[2], _strings(behind[shown]), members))
    return SearchCatalogue({name: values for name, values in fields.items() if any(values)}, facts)


def _strings(column: pa.ChunkedArray) -> list[str]:
    return ["" if value is None else str(value) for value in column.to_pylist()]
