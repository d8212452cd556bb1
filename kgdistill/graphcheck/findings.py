"""What a person should know of, from what has been read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow.compute as pc
from scipy import sparse
from scipy.sparse import csgraph

from kgdistill.arrays import BoolArray, IntArray
from kgdistill.graphcheck.brands import abbreviated, alike
from kgdistill.graphcheck.facts import GraphFacts
from kgdistill.graphcheck.model import Finding, Severity, TimeStats
from kgdistill.graphcheck.times import GAPS
from kgdistill.graphcheck.values import EXAMPLES
from kgdistill.store.undated import dating

# How spreadsheets write a number of more than eleven digits.
_SCIENTIFIC = r"^[+-]?\d+([.,]\d+)?[eE]\+?\d{1,3}$"
_HARDLY = 10
"""So many times as much of what is sold is not described as is, where keys differ."""
_ALIKE, _SHARE = 20, 0.1
"""So many products of one name, and this share of all, are no variants of one thing."""
_GRAVITY: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}


def findings_of(facts: GraphFacts, values: list[Finding], gap_days: int) -> list[Finding]:
    """All findings, from the gravest on.

    Args:
        facts: everything that was read.
        values: what was found while relationships were read.
        gap_days: from how many days without an event on a gap is told.
    """
    found = [*values, *_nodes(facts), *_products(facts), *_trees(facts), *_brands(facts)]
    found += [f for times in facts.times if (f := _gap(times, gap_days)) is not None]
    found += _hubs(facts)
    if not any(len(keys) for keys in facts.keys.values()):
        advice = "ingest something: kgdistill ingest --help; or name the schema of the store with --schema"
        found.append(Finding("empty", "error", "graph", "There are no nodes", 0, 0, [], advice))
    return sorted(found, key=lambda f: _GRAVITY[f.severity])


def _marked(
    facts: GraphFacts, code: str, severity: Severity, label: str, mask: BoolArray, message: str, advice: str
) -> Iterator[Finding]:
    places = np.flatnonzero(mask)
    if len(places):
        examples = [facts.shown(label, place) for place in places[:EXAMPLES]]
        text = f"{len(places):,} of {len(mask):,} {message}"
        yield Finding(code, severity, label, text, len(places), len(mask), examples, advice)


def _of_other_case(facts: GraphFacts, label: str, stubs: BoolArray) -> str:
    """What to do about stubs whose keys are those of others but for capitals, where there are some."""
    keys = facts.keys[label].to_pylist()
    described = {keys[place].lower(): keys[place] for place in np.flatnonzero(~stubs)}
    bare = [keys[place] for place in np.flatnonzero(stubs)]
    pairs = [(key, described[key.lower()]) for key in bare if key.lower() in described]
    if not pairs:
        return ""
    case = "upper" if 2 * sum(other == other.upper() for _, other in pairs) > len(pairs) else "lower"
    stub, other = pairs[0]
    told = f"{len(pairs):,} of them have the key of another but for capitals, such as {stub} and {other}"
    return f"; {told}: case: {case} of the key, in each source of the mapping, makes them one"


def _of_other_keys(facts: GraphFacts, label: str, stubs: BoolArray) -> str:
    """What to do about stubs that are described by other keys: in other capitals, or of what is sold."""
    case = _of_other_case(facts, label, stubs)
    if case or label != facts.roles.product:
        return case
    bare, described = (int((facts.sold & mask).sum()) for mask in (stubs, ~stubs))
    if described * _HARDLY >= bare:
        return ""
    return (
        f"; of what has events {bare:,} are such and {described:,} are described: files may name products by "
        "different keys, which the mapping must make one"
    )


def _one_name(facts: GraphFacts, label: str) -> Iterator[Finding]:
    """Products that share a name with so many that it tells none of them."""
    names = facts.names.get(label)
    if names is None or not names.is_valid().sum().as_py():
        return
    counts = pc.value_counts(names.drop_null())
    most = pc.max(counts.field("counts")).as_py()
    count = len(names) - names.null_count
    if most < _ALIKE or most < _SHARE * count:
        return
    alike_names = counts.filter(pc.equal(counts.field("counts"), most)).field("values")
    same = np.asarray(pc.fill_null(pc.equal(names, pc.min(alike_names)), False))
    yield from _marked(
        facts,
        "one-name",
        "warning",
        label,
        same,
        f"have one and the same {facts.schema.node(label).name}",
        "no text model tells them apart: the mapping may take it from a column that is not theirs",
    )


def _nodes(facts: GraphFacts) -> Iterator[Finding]:
    for label, node in facts.schema.nodes.items():
        if node.output or not len(facts.keys[label]):
            continue
        # Without any properties to have, or with none in the whole label, a bare key is the rule.
        empty = facts.empty[label]
        if not empty.all():
            yield from _marked(
                facts,
                "stub",
                "warning" if label == facts.roles.product else "note",
                label,
                empty,
                "have no property beside their key",
                "ingest the file that describes them" + _of_other_keys(facts, label, empty),
            )
        if node.name != node.key:
            blank = (
                ~np.asarray(facts.names[label].is_valid()) if label in facts.names else ~np.zeros_like(empty)
            )
            yield from _marked(
                facts,
                "no-name",
                "warning",
                label,
                blank,
                f"have no {node.name}",
                "nothing can be shown of them, and a text model reads little; give it in the mapping",
            )
        if label in facts.undated:
            yield from _marked(
                facts,
                "no-time",
                "warning",
                label,
                facts.undated[label],
                f"have no {node.time}",
                f"no model that is trained before a cut reads them; {dating(label, node)}",
            )
        lost = pc.match_substring_regex(facts.keys[label], _SCIENTIFIC)
        yield from _marked(
            facts,
            "lost-digits",
            "warning",
            label,
            np.asarray(lost),
            "have a number in scientific notation as their key",
            "a spreadsheet has cut long ids short, and several may be one: export the column as text",
        )
        isolated = ~facts.linked[label]
        if any(label in (a, b) for a, _, b in facts.schema.edges("fact", "event", "judgement")):
            yield from _marked(
                facts,
                "isolated",
                "warning" if label == facts.roles.product else "note",
                label,
                isolated,
                "have no fact, event or judgement",
                "no path leads to them; ingest what relates them, or leave them out",
            )


def _products(facts: GraphFacts) -> Iterator[Finding]:
    product, user = facts.roles.product, facts.roles.user
    advice = "a cold product is only known by its facts; give them in the mapping"
    if product is not None:
        yield from _one_name(facts, product)
        if facts.roles.brand_edges:
            yield from _marked(facts, "no-brand", "warning", product, ~facts.branded, "have no brand", advice)
        if facts.roles.category_edges:
            yield from _marked(
                facts, "no-category", "warning", product, ~facts.categorised, "have no category", advice
            )
    if user is not None and facts.schema.edges("event"):
        hint = "nothing can be learnt of their taste; they get what is popular"
        yield from _marked(facts, "no-events", "note", user, ~facts.active, "have no event", hint)


def _trees(facts: GraphFacts) -> Iterator[Finding]:
    for label in dict.fromkeys(edge[0] for edge in facts.tree):
        count = len(facts.keys[label])
        inner = [pair for edge, pair in facts.tree.items() if edge[0] == label == edge[2]]
        child = np.concatenate([c for c, _ in inner]) if inner else np.zeros(0, np.int64)
        parent = np.concatenate([p for _, p in inner]) if inner else np.zeros(0, np.int64)
        cycles = _cycles(child, parent, count)
        if cycles:
            examples = [
                " -> ".join(facts.shown(label, code) for code in [*cycle, cycle[0]])
                for cycle in cycles[:EXAMPLES]
            ]
            yield Finding(
                "cycle",
                "error",
                label,
                f"{len(cycles):,} {'circle' if len(cycles) == 1 else 'circles'} of parents",
                len({code for cycle in cycles for code in cycle}),
                count,
                examples,
                "remove one of the relationships of each circle: a tree has none",
            )
        degree = np.zeros(count, np.int64)
        for edge, (start, _) in facts.tree.items():
            if edge[0] == label:
                degree += np.bincount(start, minlength=count)
        several = np.flatnonzero(degree > 1)
        if len(several):
            parents = [_parents_of(facts, label, int(code)) for code in several[:EXAMPLES]]
            shown = [
                f"{facts.shown(label, code)}: {', '.join(names)}"
                for code, names in zip(several[:EXAMPLES], parents, strict=True)
            ]
            yield Finding(
                "several-parents",
                "warning",
                label,
                f"{len(several):,} of {count:,} have several parents",
                len(several),
                count,
                shown,
                "a path of categories is then ambiguous; keep one parent, or make two nodes",
            )


def _parents_of(facts: GraphFacts, label: str, code: int) -> list[str]:
    return [
        facts.shown(edge[2], int(parent))
        for edge, (start, end) in facts.tree.items()
        if edge[0] == label
        for parent in np.sort(end[start == code])
    ]


def _cycles(child: IntArray, parent: IntArray, count: int) -> list[list[int]]:
    """One circle of each strongly connected part, as codes from child to parent."""
    # Whatever the order in which a store gives them.
    order = np.lexsort((parent, child))
    child, parent = child[order], parent[order]
    circles = [[int(code)] for code in np.unique(child[child == parent])]
    ones = np.ones(len(child), np.int8)
    _, part = csgraph.connected_components(
        sparse.csr_matrix((ones, (child, parent)), shape=(count, count)), connection="strong"
    )
    size = np.bincount(part, minlength=1)
    inside = (part[child] == part[parent]) & (child != parent)
    # Within a part every node has a way on that stays inside, so that a walk must come back.
    onward: dict[int, int] = dict(zip(child[inside].tolist(), parent[inside].tolist(), strict=True))
    for number in np.flatnonzero(size > 1):
        walk = [int(np.flatnonzero(part == number)[0])]
        seen = {walk[0]: 0}
        while (following := onward[walk[-1]]) not in seen:
            seen[following] = len(walk)
            walk.append(following)
        circles.append(walk[seen[following] :])
    return circles


def _brands(facts: GraphFacts) -> Iterator[Finding]:
    brand = facts.roles.brand
    if brand is None or not len(facts.keys[brand]):
        return
    stored = facts.names[brand] if brand in facts.names else facts.keys[brand]
    names = [name or "" for name in stored.to_pylist()]
    for code, severity, groups, message in (
        ("alike-brands", "warning", alike(names), "names look like another one, written differently"),
        (
            "short-brands",
            "note",
            abbreviated(names),
            "names may be the initials of another one, or what they stand for",
        ),
    ):
        if groups:
            groups.sort(key=lambda group: -int(facts.made[group].sum()))
            yield Finding(
                code,
                severity,  # type: ignore[arg-type]
                brand,
                f"{sum(map(len, groups)):,} of {len(names):,} {message}",
                sum(map(len, groups)),
                len(names),
                [_brand_group(facts, brand, group, names) for group in groups[:EXAMPLES]],
                "where they are the same, ingestion makes one of them by an alias file, which --aliases FILE "
                "drafts; nothing is merged here",
            )


def _brand_group(facts: GraphFacts, brand: str, group: list[int], names: list[str]) -> str:
    keys = facts.keys[brand]
    return " = ".join(
        f"{names[place]!r} ({keys[place].as_py()}, {int(facts.made[place]):,} products)"
        for place in group[:5]
    ) + (f" and {len(group) - 5} more" if len(group) > 5 else "")


def _gap(times: TimeStats, gap_days: int) -> Finding | None:
    gaps = [gap for gap in times.gaps if gap.days >= gap_days]
    if not gaps:
        return None
    # In data that are dense in time a gap is a file that is missing; in sparse data it is the rule.
    dense = times.days_without * 2 < times.days
    return Finding(
        "gap",
        "warning" if dense else "note",
        times.type,
        f"{len(gaps)}{' or more' if len(gaps) == len(times.gaps) == GAPS else ''} "
        f"{'pause' if len(gaps) == 1 else 'pauses'} of {gap_days} days or more",
        len(gaps),
        times.days,
        [f"{g.first} to {g.last}: {g.days:,} days" for g in gaps],
        "look whether a file of that time was not delivered; then ingest it",
    )


def _hubs(facts: GraphFacts) -> Iterator[Finding]:
    for name in dict.fromkeys((hub.type, hub.label) for hub in facts.hubs):
        hubs = sorted((h for h in facts.hubs if (h.type, h.label) == name), key=lambda h: -h.share)
        yield Finding(
            "hub",
            "note",
            name[0],
            f"{len(hubs):,} {name[1]} {'node holds' if len(hubs) == 1 else 'nodes hold'} more than "
            f"{100 * facts.hub_share:g} % each",
            len(hubs),
            len(facts.keys[name[1]]),
            [
                f"{h.key}{f' ({h.name})' if h.name and h.name != h.key else ''}: "
                f"{h.relationships:,} ({100 * h.share:.1f} %)"
                for h in hubs[:EXAMPLES]
            ],
            "a till, a test account or a program has no taste: leave it out by a where of the mapping"
            if name[1] == facts.roles.user
            else "a name such as 'unknown' or 'own brand' says little; leave it out, or split it",
        )
