"""What search knows of a shop: the products' text fields and the facts of the graph."""

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
    """The nodes of one label that products hang on, such as brands.

    Attributes:
        label: such as "Brand".
        names: one for each node.
        members: float32 CSR [products, nodes] of 0 and 1.
    """

    label: str
    names: list[str]
    members: sp.csr_matrix


@dataclass(frozen=True)
class SearchCatalogue:
    """A catalogue to search.

    Attributes:
        fields: the name of a text field → its text for each product, empty where there is none. The
            first field is the title.
        facts: the graph's part.
    """

    fields: dict[str, list[str]]
    facts: list[Facts]

    def __post_init__(self) -> None:
        if not self.fields or not self.titles:
            raise InputError("a catalogue to search needs products with a title")
        if any(len(values) != len(self) for values in self.fields.values()):
            raise InputError("the text fields of a catalogue differ in length")
        for fact in self.facts:
            if fact.members.shape != (len(self), len(fact.names)):
                raise InputError(f"the facts of {fact.label} do not fit {len(self):,} products")

    def __len__(self) -> int:
        return len(self.titles)

    @property
    def titles(self) -> list[str]:
        """The first field."""
        return next(iter(self.fields.values()))

    def without_facts(self) -> SearchCatalogue:
        """The same texts without the graph (ablation)."""
        return replace(self, facts=[])

    def shuffled(self, seed: int) -> SearchCatalogue:
        """The same texts; each label's facts are dealt out anew among the products that have any.

        Every product and every node keeps its degree (control).
        """
        rng = np.random.default_rng(seed)
        facts = []
        for fact in self.facts:
            holders = np.flatnonzero(np.diff(fact.members.indptr))
            order: npt.NDArray[np.int64] = np.arange(len(self))
            order[holders] = rng.permutation(holders)
            facts.append(replace(fact, members=sp.csr_matrix(fact.members[order])))
        return replace(self, facts=facts)


def search_catalogue(snapshot: Snapshot) -> SearchCatalogue:
    """The catalogue of a snapshot: the products' text properties, and the facts of products.

    The title is the property that the schema shows a person; a `description` is read beside what the
    schema calls text. A fact counts where the node behind it has a name.

    Raises:
        InputError: no product has a title.
    """
    node = snapshot.schema.node("Product")
    table = snapshot.node_table("Product")
    title = node.name or node.key
    names = dict.fromkeys([title, *node.text, "description"])
    fields = {name: _strings(table[name]) for name in names if name in table.column_names}
    if not any(fields.get(title, [])):
        raise InputError("no product of the snapshot has a title", where=str(snapshot.folder))
    facts = []
    for edge in snapshot.schema.edges("fact"):
        if edge[0] != "Product" or edge not in snapshot.edge_types or not snapshot.num_edges(edge):
            continue
        other = snapshot.schema.node(edge[2])
        behind = snapshot.node_table(edge[2])
        shown = other.name or other.key
        if shown not in behind.column_names:
            continue
        index = snapshot.edge_index(edge)
        members = sp.csr_matrix(
            (np.ones(index.shape[1], np.float32), (index[0], index[1])),
            shape=(snapshot.num_nodes("Product"), snapshot.num_nodes(edge[2])),
        )
        members.data[:] = 1.0
        facts.append(Facts(edge[2], _strings(behind[shown]), members))
    return SearchCatalogue({name: values for name, values in fields.items() if any(values)}, facts)


def _strings(column: pa.ChunkedArray) -> list[str]:
    return ["" if value is None else str(value) for value in column.to_pylist()]
