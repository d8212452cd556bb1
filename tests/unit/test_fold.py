"""The fold of the archive into the graph, beside a slow one in plain Python."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kgdistill.ingest.archive import RowFile, StagedType
from kgdistill.ingest.fold import Fold
from kgdistill.ingest.model import TypeKey, type_name
from kgdistill.ingest.rows import row_schema
from kgdistill.ingest.sql import engine
from kgdistill.store import load_schema

SCHEMA = load_schema().restricted(("User", "Product", "Brand"), ("BOUGHT", "MADE_BY", "RATED"))
BOUGHT = ("User", "BOUGHT", "Product")
MADE_BY = ("Product", "MADE_BY", "Brand")
RATED = ("User", "RATED", "Product")
KEYS: list[TypeKey] = ["User", "Product", "Brand", BOUGHT, MADE_BY, RATED]
START = datetime(2024, 1, 1)
Graph: TypeAlias = dict[TypeKey, dict[tuple[str, ...], dict[str, Any]]]

products = st.sampled_from(["p1", "p2", "p3"])
users = st.sampled_from(["ann", "bob"])
brands = st.sampled_from(["b1", "b2"])
days = st.integers(0, 5).map(lambda n: START + timedelta(days=n))
maybe_day = st.none() | days
deleted = st.sampled_from([False, False, False, True])


@st.composite
def a_row(draw: st.DrawFn, only: TypeKey | None = None) -> tuple[TypeKey, dict[str, Any]]:
    key: TypeKey = only or draw(st.sampled_from([*KEYS, BOUGHT, BOUGHT]))
    row: dict[str, Any] = {"_time": draw(maybe_day), "_deleted": draw(deleted)}
    if key == "User":
        return key, row | {"user_id": draw(users), "age": draw(st.none() | st.sampled_from(["1", "2"]))}
    if key == "Product":
        price = draw(st.none() | st.sampled_from([1.5, 2.5]))
        return key, row | {
            "product_id": draw(products),
            "title": draw(st.sampled_from("xyz")),
            "price": price,
        }
    if key == "Brand":
        return key, row | {"brand_id": draw(brands), "name": draw(st.none() | st.sampled_from("mn"))}
    if key == MADE_BY:
        return key, row | {"source": draw(products), "target": draw(brands)}
    if key == RATED:
        rating = draw(st.none() | st.sampled_from([1.0, 5.0]))
        return key, row | {
            "source": draw(users),
            "target": draw(products),
            "at": draw(days),
            "rating": rating,
        }
    at = draw(days)
    event = draw(st.none() | st.sampled_from(["e1", "e2", "e3"]))
    overlap = event is None and draw(st.booleans())
    # Few values for what overlaps, so that it does.
    quantity, spend = (
        (1, 0.1) if overlap else (draw(st.sampled_from([0, 1, 2])), draw(st.sampled_from([0.2, -0.3])))
    )
    at = START if overlap else at
    return key, row | {
        "source": draw(users),
        "target": draw(products),
        "first_at": at,
        "last_at": at,
        "first_quantity": quantity,
        "count": 1,
        "spend": spend,
        "_id": event,
        "_overlap": overlap,
    }


@dataclass(frozen=True)
class Row:
    job: int
    source: int
    name: str
    line: int
    key: TypeKey
    values: dict[str, Any]

    @property
    def order(self) -> tuple[int, int, int]:
        return self.job, self.source, self.line

    @property
    def when(self) -> tuple[datetime, tuple[int, int, int]]:
        return self.values["_time"] or datetime(1, 1, 1), self.order

    def voids(self, other: Row) -> bool:
        mine, its = self.values["_time"], other.values["_time"]
        return mine >= its if mine and its else self.order > other.order


source = st.tuples(st.sampled_from(["s", "t"]), st.lists(a_row(), max_size=8))
job = st.lists(source, min_size=1, max_size=2, unique_by=lambda item: item[0])
# Of one type alone, so that several rows are about one pair.
ratings = st.tuples(st.sampled_from(["s", "t"]), st.lists(a_row(RATED), min_size=4, max_size=10))
ratings_job = st.lists(ratings, min_size=1, max_size=2, unique_by=lambda item: item[0])


def identity(key: TypeKey) -> list[str]:
    return [SCHEMA.node(key).key] if isinstance(key, str) else ["source", "target"]


def slow(rows: list[Row], last: dict[str, int]) -> Graph:
    """What the graph should be."""
    graph: Graph = {}
    known: dict[str, set[str]] = {}
    for key in KEYS:
        mine = [r for r in rows if r.key == key]
        if isinstance(key, str):
            known[key] = {r.values[identity(key)[0]] for r in mine}
        event = not isinstance(key, str) and SCHEMA.relationship(key).kind == "event"
        if event:
            mine = [r for r in mine if r.job == last[r.name]]
        else:
            subject = identity(key)[0]
            newest: dict[tuple[str, str], int] = {}
            for r in mine:
                place = (r.name, r.values[subject])
                newest[place] = max(newest.get(place, 0), r.job)
            mine = [r for r in mine if r.job == newest[r.name, r.values[subject]] or r.values["_deleted"]]
        if key == BOUGHT:
            versions: dict[str, Row] = {}
            for r in mine:
                event_id = r.values["_id"]
                if event_id and (event_id not in versions or r.when > versions[event_id].when):
                    versions[event_id] = r
            mine = [
                r
                for r in mine
                if not r.values["_id"] or (versions[r.values["_id"]] is r and not r.values["_deleted"])
            ]
        groups: dict[tuple[str, ...], list[Row]] = {}
        for r in mine:
            groups.setdefault(tuple(r.values[n] for n in identity(key)), []).append(r)
        graph[key] = {}
        for pair, group in groups.items():
            removing = [r for r in group if r.values["_deleted"]]
            alive = [r for r in group if not r.values["_deleted"] and not any(t.voids(r) for t in removing)]
            if alive:
                graph[key][pair] = fold_group(key, alive)
    for key in KEYS:
        if not isinstance(key, str):
            for place, label in ((0, key[0]), (1, key[2])):
                dead = known[label] - {k[0] for k in graph[label]}
                graph[key] = {pair: v for pair, v in graph[key].items() if pair[place] not in dead}
    return graph


def fold_group(key: TypeKey, alive: list[Row]) -> dict[str, Any]:
    ordered = sorted(alive, key=lambda r: r.when)
    if key == BOUGHT:
        kept = [r for r in alive if not r.values["_overlap"]]
        copies: dict[Any, dict[Any, list[Row]]] = {}
        for r in alive:
            if r.values["_overlap"]:
                same = tuple(r.values[n] for n in ("first_at", "first_quantity", "spend"))
                copies.setdefault(same, {}).setdefault((r.job, r.source), []).append(r)
        for by_source in copies.values():
            kept += max(by_source.values(), key=len)
        bought = [r for r in kept if r.values["first_quantity"] > 0] or kept
        first = min(bought, key=lambda r: (r.values["first_at"], -r.values["first_quantity"]))
        return {
            "first_at": first.values["first_at"],
            "first_quantity": first.values["first_quantity"],
            "last_at": max(r.values["last_at"] for r in kept),
            "count": len(kept),
            "spend": float(sum(Decimal(str(r.values["spend"])) for r in kept)),
        }
    names = [n for n in row_schema(SCHEMA, key).names if not n.startswith("_") and n not in identity(key)]
    result = {}
    for name in names:
        given = [r.values.get(name) for r in ordered if r.values.get(name) is not None]
        result[name] = given[-1] if given else None
    if key == RATED:
        # Of several ratings the first: a later one must not stand beside the first one's time.
        first = min(r.values["at"] for r in alive)
        last_said = [r.values["rating"] for r in ordered if r.values["at"] == first]
        said = [rating for rating in last_said if rating is not None]
        result |= {"at": first, "rating": said[-1] if said else None}
    return result


def write(folder: Path, rows: list[Row], last: dict[str, int]) -> list[RowFile]:
    """The rows as files of an archive."""
    places = sorted({(r.job, r.source, r.name, r.key) for r in rows}, key=str)
    files = []
    for number, source_number, name, key in places:
        mine = [r for r in rows if (r.job, r.source, r.key) == (number, source_number, key)]
        types = pa.schema([*row_schema(SCHEMA, key), ("_job", pa.int32()), ("_source", pa.int32())])
        table = pa.Table.from_pylist(
            [r.values | {"_line": r.line, "_job": r.job, "_source": r.source} for r in mine], schema=types
        )
        path = folder / f"{number}-{source_number}-{type_name(key)}.parquet"
        pq.write_table(table, path)
        given = [n for n in types.names if not n.startswith("_") and table[n].null_count < table.num_rows]
        staged = StagedType(
            rows=len(mine),
            columns=tuple(n for n in given if n not in identity(key)),
            ids=any(r.values.get("_id") for r in mine),
            overlaps=any(r.values.get("_overlap") for r in mine),
            deletes=any(r.values["_deleted"] for r in mine),
        )
        files.append(RowFile(path, key, number, source_number, name, last[name], staged))
    return files


def folded(fold: Fold, key: TypeKey) -> dict[tuple[str, ...], dict[str, Any]]:
    held = {}
    for table in fold.batches(key, 100):
        for row in table.to_pylist():
            pair = tuple(row.pop(n) for n in identity(key))
            assert pair not in held
            held[pair] = row
    return held


def same(got: dict[tuple[str, ...], dict[str, Any]], wanted: dict[tuple[str, ...], dict[str, Any]]) -> bool:
    """Equal but for columns that no source gives."""
    if got.keys() != wanted.keys():
        return False
    return all(row.get(n) == v for pair, row in got.items() for n, v in wanted[pair].items())


def named(key: TypeKey, day: int | None = None, *, gone: bool = False, **values: Any) -> Any:
    """A row, with the time of a day or none."""
    time = None if day is None else START + timedelta(days=day)
    return key, {"_time": time, "_deleted": gone} | values


def bought(user: str, product: str, day: int) -> Any:
    at = START + timedelta(days=day)
    return named(
        BOUGHT, None, source=user, target=product, first_at=at, last_at=at, first_quantity=1, count=1,
        spend=0.2, _id=None, _overlap=False,
    )  # fmt: skip


def rated(day: int, rating: float) -> Any:
    return named(RATED, None, source="ann", target="p1", at=START + timedelta(days=day), rating=rating)


# Each rule once, as draws may miss one.
EVERY_RULE: Any = [
    [
        (
            "s",
            [bought("bob", "p1", 0)],  # its source comes again without it
        ),
        (
            "t",
            [
                named("User", None, user_id="ann", age="1"),
                named("User", None, user_id="bob", age=None),
                # The later line has no time: the earlier one counts.
                named("Product", 1, product_id="p1", title="x", price=1.5),
                named("Product", None, product_id="p1", title="y", price=None),
                named("Product", None, product_id="p2", title="z", price=2.5),
                # Removed before and after it was named: the later removal reaches it.
                named("Brand", 1, gone=True, brand_id="b2", name=None),
                named("Brand", 2, brand_id="b2", name="m"),
                named("Brand", 3, gone=True, brand_id="b2", name=None),
            ],
        ),
    ],
    [
        (
            "s",
            # The first of two purchases and of two ratings; one of a product that goes.
            [
                *(bought("ann", product, day) for product, day in (("p1", 3), ("p1", 1), ("p2", 2))),
                *(rated(4, 1.0), rated(2, 5.0)),
            ],
        ),
        ("t", [named("Product", None, gone=True, product_id="p2", title="z", price=None)]),
    ],
]  # fmt: skip


@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(jobs=st.lists(job, min_size=1, max_size=4) | st.lists(ratings_job, min_size=1, max_size=3))
@example(jobs=EVERY_RULE)
def test_the_fold_is_the_graph_and_applying_jobs_one_by_one_leads_to_it(
    jobs: list[list[tuple[str, list[tuple[TypeKey, dict[str, Any]]]]]],
    tmp_path_factory: Any,
) -> None:
    folder = tmp_path_factory.mktemp("fold")
    rows: list[Row] = []
    last: dict[str, int] = {}
    store: Graph = {key: {} for key in KEYS}
    for number, sources in enumerate(jobs, 1):
        for place, (name, given_rows) in enumerate(sources):
            rows += [
                Row(number, place, name, line, key, values) for line, (key, values) in enumerate(given_rows)
            ]
        last |= {name: number for name, _ in sources}
        files = write(folder, rows, last)
        wanted = slow(rows, last)
        with engine(folder / "tmp") as db:
            whole = Fold(db, SCHEMA, files)
            for key in KEYS:
                assert same(folded(whole, key), wanted[key]), (key, folded(whole, key), wanted[key])
        with engine(folder / "tmp") as db:
            part = Fold(db, SCHEMA, files, frozenset([number]))
            for key in part.types():
                if not isinstance(key, str) and part.can_remove(key):
                    remove(store, part, key)
                store[key] |= folded(part, key)
            for key in part.types():
                if isinstance(key, str) and part.can_remove(key):
                    remove(store, part, key)
        for key in KEYS:
            assert same(store[key], wanted[key]), (number, key, store[key], wanted[key])


def remove(store: Graph, part: Fold, key: TypeKey) -> None:
    for table in part.removed(key, 100):
        for row in table.to_pylist():
            pair = tuple(row.values())
            store[key].pop(pair, None)
            for edge in KEYS:
                if isinstance(key, str) and not isinstance(edge, str):
                    ends = [place for place, label in ((0, edge[0]), (1, edge[2])) if label == key]
                    store[edge] = {p: v for p, v in store[edge].items() if all(p[i] != pair[0] for i in ends)}
