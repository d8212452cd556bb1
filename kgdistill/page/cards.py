"""What a card tells of a node: its facts, what runs say of it, and the saved queries that fit it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from kgdistill.errors import InputError, QueryError, SchemaError
from kgdistill.explore import explain_many, saved_queries
from kgdistill.explore.interests import interests
from kgdistill.explore.queries import SavedQuery
from kgdistill.page.around import NodeRef, neighbours
from kgdistill.page.sheets import Sheet, SheetCell, asked_sheet, card_url, cell_text, query_url, sheet
from kgdistill.page.source import RUN, GraphSource
from kgdistill.page.student import weighing
from kgdistill.store.protocol import EdgeType
from kgdistill.wording import Language
from kgdistill.wording import say as worded

OPENED: dict[str, tuple[str, ...]] = {
    "User": ("history_of_user",),
    "Product": ("recommended_to", "substitutes", "complements"),
    "Brand": ("products_of_brand", "brand_reach", "new_customers_of_brand", "brand_neighbours"),
    "Category": ("products_of_category",),
    "Campaign": ("campaign_audience",),
    "Query": ("answers_of_search",),
}
"""The saved queries whose answers stand on a card; all others that fit are links."""
_ROWS = 10


@dataclass(frozen=True)
class Recommended:
    """A product that a run recommends to a user."""

    rank: int
    key: str
    name: str
    score: float
    bought: bool
    reason: str = ""
    is_new: bool = False


@dataclass
class Card:
    """What is told of one node.

    Attributes:
        node, name: which it is.
        facts: name and value; a value has a link where it is a node.
        run: the run that was chosen; None where none wrote anything.
        runs: those to choose from.
        recommended: of a user, what the run recommends.
        said: of a product, for each run to how many it is recommended.
        sheets: tables.
        asks: title and address of the other saved queries that fit.
        notes: what could not be shown, and why.
    """

    node: NodeRef
    name: str
    facts: list[tuple[str, list[SheetCell]]]
    run: str | None = None
    runs: list[str] = field(default_factory=list)
    recommended: list[Recommended] = field(default_factory=list)
    said: list[tuple[str, int]] = field(default_factory=list)
    sheets: list[Sheet] = field(default_factory=list)
    asks: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def card(source: GraphSource, label: str, key: str, run: str | None = None) -> Card:
    """The card of a node.

    Args:
        source: what is asked.
        label, key: which node.
        run: whose recommendations it shows; None: the first run's.

    Raises:
        InputError: there is no such node or run.
    """
    node = NodeRef(label, key)
    values = source.node(label, key)
    told = Card(node, str(values["name"]), _facts(source, node, values))
    told.runs, told.run = source.runs_of("RECOMMENDED"), source.chosen_run("RECOMMENDED", run)
    if label == "User" and told.run:
        told.recommended = recommended(source, key, told.run)
    if label == "Product" and told.runs:
        counted = _recommended_to(source, key)
        told.said = [(one, counted.get(one, 0)) for one in told.runs]
    fits = {query.name: (query, given) for query, given in fitting(source, label, key, told.run)}
    opened = [name for name in OPENED.get(label, ()) if name in fits]
    for query, given in (fits.pop(name) for name in opened):
        try:
            answered = asked_sheet(source, query.name, given, rows=_ROWS)
            told.sheets += [answered] if answered.rows else []
        except (InputError, QueryError, SchemaError) as error:
            told.notes.append(f"{query.title}: {error.message}")
    told.sheets += _outputs(source, node)
    told.asks = [(query.title, query_url(query.name, given)) for query, given in fits.values()]
    return told


def fitting(
    source: GraphSource, label: str, key: str, run: str | None
) -> Iterator[tuple[SavedQuery, dict[str, Any]]]:
    """The saved queries that ask about a node of this label and can be filled in, or need one more value."""
    for query in saved_queries():
        fits = [p for p in query.parameters if p.type == label]
        kinds = {p.type.partition(".")[0] for p in query.parameters if p.type[0].isupper()}
        if not fits or not all(_holds(source, kind) for kind in kinds):
            continue
        given: dict[str, Any] = {fits[0].name: key}
        given |= {p.name: run for p in query.parameters if p.name == "run" and p.type == "RECOMMENDED.run"}
        yield query, given


def _holds(source: GraphSource, kind: str) -> bool:
    """Whether the store has anything of a label or relationship type."""
    counts = source.counts
    return bool(counts.nodes.get(kind)) or any(
        n for edge, n in counts.relationships.items() if edge[1] == kind
    )


def _facts(source: GraphSource, node: NodeRef, values: dict[str, Any]) -> list[tuple[str, list[SheetCell]]]:
    kind = source.schema.node(node.label)
    told = [
        (name.replace("_", " "), [SheetCell(cell_text(value, source.zone))])
        for name, value in values.items()
        if name not in ("key", "name", kind.name) and value is not None
    ]
    around = neighbours(source, node, limit=5, kinds=("fact",))
    linked: dict[str, list[SheetCell]] = {}
    for link in around.links:
        out = link.source == node
        other = link.target if out else link.source
        words = link.type.replace("_", " ").lower()
        title = f"{words}: {other.label}" if out else f"{other.label}: {words} this"
        linked.setdefault(title, []).append(SheetCell(around.names[other], card_url(*other)))
    return told + list(linked.items())


def recommended(source: GraphSource, user: str, run: str) -> list[Recommended]:
    """What a run recommends to a user, the best first; with the reason that was written, if one was."""
    kept = source.schema.relationships["RECOMMENDED"].properties
    reason = "r.reason" if "reason" in kept else "''"
    is_new = "r.is_new" if "is_new" in kept else "false"
    rows = source.store.query(
        "MATCH (u:User {user_id: $user})-[r:RECOMMENDED {run: $run}]->(p:Product) "
        # EXISTS takes the embedded engine six times as long.
        "OPTIONAL MATCH (u)-[w:BOUGHT]->(p) "
        "RETURN r.rank AS rank, p.product_id AS key, p.title AS name, r.score AS score, "
        f"count(w) > 0 AS bought, {reason} AS reason, {is_new} AS is_new "
        "ORDER BY rank, key",
        {"user": user, "run": run},
    ).to_pylist()
    return [
        Recommended(
            rank=row["rank"],
            key=row["key"],
            name=row["name"] or row["key"],
            score=row["score"],
            bought=bool(row["bought"]),
            reason=row["reason"] or "",
            is_new=bool(row["is_new"]),
        )
        for row in rows
    ]


def reasons(
    source: GraphSource, user: str, items: list[Recommended], language: Language | None
) -> dict[str, list[str]]:
    """Of each product the sentences that explain it, the most telling first; none where no path leads.

    With a bundle what its student makes of the purchases counts for the order.
    """
    pairs = [(user, item.key) for item in items]
    weigh, reads = weighing(source, user)
    found = explain_many(source.store, pairs, limit=2, language=language, weigh=weigh, reads=reads)
    return {item: [str(path) for path in paths] for (_, item), paths in found.items()}


def taste(source: GraphSource, user: str, language: Language | None) -> str:
    """What a user cares for, in one sentence."""
    return interests(source.store, user, zone=source.zone).sentence(language)


def no_path(user: str, item: str, language: Language | None) -> str:
    """What is said where nothing leads from a user to a product."""
    return worded("no path", language or "en", user=user, item=item)


def _recommended_to(source: GraphSource, product: str) -> dict[str, int]:
    rows = source.store.query(
        "MATCH (p:Product {product_id: $product})<-[r:RECOMMENDED]-(:User) "
        "RETURN r.run AS run, count(*) AS users",
        {"product": product},
    ).to_pylist()
    return {row["run"]: row["users"] for row in rows}


def _outputs(source: GraphSource, node: NodeRef) -> list[Sheet]:
    """What runs wrote of a node, but a user's recommendations and whom a product is recommended to."""
    found = []
    for edge in source.held("output"):
        if edge[1] == "RECOMMENDED" or edge[0] == RUN:
            continue
        for out in (True, False):
            if edge[0 if out else 2] == node.label:
                found.append(_output(source, node, edge, out))
    return [one for one in found if one.rows]


def _output(source: GraphSource, node: NodeRef, edge: EdgeType, out: bool) -> Sheet:
    a, kind, b = edge
    near, far = (a, b) if out else (b, a)
    schema = source.schema
    props = [n for n in schema.relationship(edge).properties if n != "run"]
    other = schema.node(far)
    arrow = f"-[r:`{kind}`]->" if out else f"<-[r:`{kind}`]-"
    where = ""
    if "sensitive" in other.properties and not source.allow_sensitive:
        where = " AND coalesce(m.sensitive, false) = false"
    order = "r.rank, " if "rank" in props else "r.probability DESC, " if "probability" in props else ""
    columns = ", ".join(f"r.`{name}` AS `{name}`" for name in props)
    # What a run made a node for has a name, and no card that says more.
    key = "" if other.output else f"m.`{other.key}` AS id, "
    name = f"m.`{other.name}` AS name, " if other.output or other.name != other.key else ""
    table: pa.Table = source.store.query(
        f"MATCH (n:`{near}`){arrow}(m:`{far}`) WHERE n.`{schema.node(near).key}` = $key{where} "
        f"RETURN r.run AS run, {key}{name}{columns} ORDER BY run, {order}m.`{other.key}` LIMIT 50",
        {"key": node.key},
    )
    words = kind.replace("_", " ").lower()
    title = f"{words}: {far}" if out else f"{far}: {words} this"
    return sheet(table, title=title, links={"id": far}, zone=source.zone)
