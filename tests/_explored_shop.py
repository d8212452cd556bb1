"""A shop of everything that an analyst may ask about, small enough to check an answer by hand."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from kgdistill.explore import NodeEmbeddings, write_back
from kgdistill.explore.run_nodes import RunFacts
from kgdistill.explore.writeback import ToldClass, write_classes
from kgdistill.ingest.tables import GraphTables, ingest_tables
from kgdistill.store import EdgeType, GraphStore, load_schema

BOUGHT = ("User", "BOUGHT", "Product")
TARGETED = ("Campaign", "TARGETED", "User")
DAY = {n: datetime(2024, 1, n) for n in range(1, 32)}
_CUT = DAY[31]

PRODUCTS = [
    # id, title, brand, category, price
    ("tea-1", "Green tea", "hillside", "tea", 3.0),
    ("tea-2", "Earl Grey", "hillside", "tea", 6.0),
    ("tea-3", "House tea", "roastery", "tea", 4.0),
    ("coffee-1", "Espresso beans", "roastery", "coffee", 8.0),
    ("coffee-2", "Filter coffee", "roastery", "coffee", 7.0),
    ("mug-1", "Stoneware mug", "kiln", "mugs", 12.0),
    ("mug-2", "Glass mug", "kiln", "mugs", 9.0),
    ("gift-1", "Gift card", None, None, None),
]
CATEGORIES = {"tea": "Drinks > Tea", "coffee": "Drinks > Coffee", "mugs": "Kitchen > Mugs"}
PURCHASES = [
    # user, product, first and last day, units at first, lines, sum
    ("ann", "tea-1", 1, 20, 1, 3, 9.0),
    ("ann", "mug-1", 2, 2, 1, 1, 12.0),
    ("ann", "coffee-1", 3, 3, 1, 1, 8.0),
    ("bob", "tea-1", 4, 4, 2, 1, 6.0),
    ("bob", "coffee-1", 5, 9, 1, 2, 16.0),
    ("bob", "mug-1", 6, 6, 1, 1, 12.0),
    ("cyd", "tea-2", 7, 7, 1, 1, 6.0),
    ("cyd", "mug-1", 8, 8, 1, 1, 12.0),
    ("dee", "coffee-2", 10, 10, 1, 1, 7.0),
]
RECOMMENDED = {
    "demo": [
        ("ann", "tea-2", 1, 0.9),
        ("ann", "mug-2", 2, 0.5),
        ("bob", "tea-2", 1, 0.8),
        ("bob", "coffee-2", 2, 0.4),
        ("cyd", "tea-1", 1, 0.7),
        ("cyd", "coffee-1", 2, 0.6),
        ("dee", "mug-1", 1, 0.3),
        ("dee", "tea-1", 2, 0.2),
    ],
    "former": [
        ("ann", "tea-2", 1, 0.9),
        ("ann", "coffee-2", 2, 0.8),
        ("bob", "tea-2", 2, 0.8),
        ("bob", "coffee-2", 1, 0.9),
        ("dee", "coffee-1", 1, 0.9),
    ],
}
FACTS = {"demo": RunFacts(task="recommend", cut=_CUT, metric="ndcg@20 warm", value=0.25, low=0.2, high=0.3)}
WHY: dict[tuple[str, str, str], dict[str, Any]] = {
    ("demo", "ann", "tea-2"): {
        "teacher_score": 1.5, "is_new": False,
        "reason": "bought Green tea", "reason_kind": "MADE_BY", "reason_lift": 2.0,
    },
    ("demo", "ann", "mug-2"): {"is_new": True},
    ("demo", "bob", "tea-2"): {
        "is_new": False, "reason": "bought Green tea", "reason_kind": "MADE_BY", "reason_lift": 3.0,
    },
}  # fmt: skip
ANSWERED = ("Question", "ANSWERED", "Answer")
TOLD: dict[str, dict[EdgeType, list[ToldClass]]] = {
    "profile": {
        ("User", "PROFILED", "Class"): [
            ToldClass("ann", "mood", "calm", 0.9),
            ToldClass("bob", "mood", "calm", 0.7),
            ToldClass("cyd", "mood", "hasty", 0.6),
        ]
    },
    "mood": {
        ("Statement", "CLASSIFIED", "Class"): [
            ToldClass("s1", "sentiment", "positive", 0.75),
            ToldClass("s3", "sentiment", "positive", 0.5),
        ]
    },
}
VECTORS = {"tea-1": [1.0, 0.0], "tea-2": [4.0, 3.0], "mug-1": [0.0, 2.0], "coffee-1": [-1.0, 0.0]}


def _nodes() -> dict[str, list[dict[str, Any]]]:
    return {
        "User": [{"user_id": user} for user in ("ann", "bob", "cyd", "dee", "eva")],
        "Product": [
            {
                "product_id": key,
                "title": title,
                "category_text": CATEGORIES.get(category or ""),
                "price": price,
            }
            for key, title, _, category, price in PRODUCTS
        ],
        "Brand": [{"brand_id": key, "name": key.title()} for key in ("hillside", "kiln", "roastery")],
        "Category": [
            {"category_id": key, "name": path.split(" > ")[1], "path": path, "level": 1}
            for key, path in CATEGORIES.items()
        ],
        "Department": [{"department_id": "drinks", "name": "Drinks"}],
        "Campaign": [
            {"campaign_id": "spring", "title": "Tea time", "start_at": DAY[10], "end_at": DAY[30]},
            {"campaign_id": "winter", "title": "Warm up", "start_at": DAY[1], "end_at": DAY[5]},
        ],
        "Coupon": [{"coupon_id": "c1", "start_at": DAY[10]}, {"coupon_id": "c2", "start_at": DAY[10]}],
        "Query": [{"query_id": f"q{n}", "text": text} for n, text in ((1, "black tea"), (2, "teapot"))],
        "Intent": [{"intent_id": "price", "name": "asks the price"}],
        "Utterance": [{"utterance_id": f"t{n}", "text": f"what is it, {n}"} for n in (1, 2)],
        "Question": [{"question_id": "f1", "text": "what is a mug"}],
        "Answer": [{"answer_id": "a1", "text": "a cup"}],
        "Statement": [
            {"statement_id": "s1", "text": "good", "sentiment": "positive", "topic": "tea", "at": DAY[3]},
            {"statement_id": "s2", "text": "fine", "sentiment": "positive", "topic": "tea", "at": DAY[4]},
            {"statement_id": "s3", "text": "late", "sentiment": "negative"},
        ],
    }


def _edges() -> dict[tuple[str, str, str], list[tuple[Any, ...]]]:
    """By type: rows of source, target and the properties of `_COLUMNS`."""
    made = [(key, brand) for key, _, brand, _, _ in PRODUCTS if brand]
    inside = [(key, category) for key, _, _, category, _ in PRODUCTS if category]
    return {
        ("Product", "MADE_BY", "Brand"): made,
        ("Product", "IN_CATEGORY", "Category"): inside,
        ("Category", "PART_OF", "Department"): [("tea", "drinks"), ("coffee", "drinks")],
        ("Product", "PART_OF", "Department"): [("gift-1", "drinks")],
        ("Coupon", "PART_OF", "Campaign"): [("c1", "spring"), ("c2", "winter")],
        ("Coupon", "FOR", "Product"): [("c1", "tea-1"), ("c1", "tea-2")],
        ("Intent", "ABOUT", "Product"): [("price", "mug-1")],
        ("Utterance", "HAS_INTENT", "Intent"): [("t1", "price"), ("t2", "price")],
        ("Question", "HAS_INTENT", "Intent"): [("f1", "price")],
        BOUGHT: [
            (u, p, DAY[a], DAY[b], units, lines, total) for u, p, a, b, units, lines, total in PURCHASES
        ],
        ("User", "VIEWED", "Product"): [
            ("ann", "tea-1", DAY[1], DAY[1], 1),
            ("eva", "mug-2", DAY[2], DAY[3], 4),
            ("dee", "mug-2", DAY[2], DAY[2], 1),
        ],
        ("User", "SEARCHED", "Query"): [("ann", "q1", DAY[1], DAY[1], 1), ("bob", "q2", DAY[2], DAY[2], 1)],
        ("Query", "CLICKED", "Product"): [("q1", "tea-2", DAY[1], DAY[4], 3)],
        ("Query", "JUDGED", "Product"): [("q1", "tea-2", 3.0, "exact"), ("q1", "tea-3", 1.0, "partial")],
        ("User", "RECEIVED", "Campaign"): [("ann", "spring", DAY[10]), ("bob", "spring", DAY[10])],
        ("User", "REDEEMED", "Coupon"): [("ann", "c1", DAY[12]), ("ann", "c1", DAY[14])],
        ("Product", "ALSO_BOUGHT", "Product"): [
            ("mug-1", "tea-1", 2, 1.5, 0.5, _CUT),
            ("coffee-1", "mug-1", 2, 2.0, 0.5, _CUT),
            ("coffee-1", "tea-1", 2, 1.0, 1.0, _CUT),
            ("tea-1", "tea-2", 1, 0.5, 0.25, _CUT),
        ],
        ("Brand", "BRAND_SIMILAR", "Brand"): [("hillside", "kiln", 3, 1.2, 0.75, _CUT)],
        TARGETED: [
            ("spring", "ann", "target", 1, 0.6),
            ("spring", "cyd", "target", 2, 0.1),
        ],
    }


_SEEN = ("first_at", "last_at", "count")
_TOGETHER = ("support", "lift", "jaccard", "cut")
_COLUMNS = {
    "BOUGHT": ("first_at", "last_at", "first_quantity", "count", "spend"),
    "VIEWED": _SEEN,
    "SEARCHED": _SEEN,
    "CLICKED": _SEEN,
    "JUDGED": ("grade", "verdict"),
    "RATED": ("at",),
    "RECEIVED": ("at",),
    "REDEEMED": ("at",),
    "ALSO_BOUGHT": _TOGETHER,
    "VIEWED_TOGETHER": _TOGETHER,
    "BRAND_SIMILAR": _TOGETHER,
    "TARGETED": ("run", "rank", "score"),
}


def fill_explored_shop(store: GraphStore) -> None:
    """Writes the shop into an empty store, with what two runs recommend and one run's vectors."""
    _fill(store, _nodes(), _edges(), RECOMMENDED, VECTORS)
    _tell(store, TOLD, [("q1", "tea-2", 1, 0.9), ("q1", "tea-1", 2, 0.5), ("q2", "mug-1", 1, 0.7)])


def _fill(
    store: GraphStore,
    nodes: Mapping[str, list[dict[str, Any]]],
    edges: Mapping[tuple[str, str, str], list[tuple[Any, ...]]],
    recommended: Mapping[str, list[tuple[str, str, int, float]]],
    vectors: Mapping[str, list[float]],
    reasons: Mapping[tuple[str, str, str], dict[str, Any]] = WHY,
) -> None:
    tables = {}
    for edge, rows in edges.items():
        names = ("source", "target", *_COLUMNS.get(edge[1], ()))
        tables[edge] = pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows])
    targeted = tables.pop(TARGETED)
    ingest_tables(
        store, load_schema(), GraphTables({k: pa.Table.from_pylist(v) for k, v in nodes.items()}, tables)
    )
    store.write_relationships(TARGETED, targeted)
    held = NodeEmbeddings("Product", "student", list(vectors), np.array(list(vectors.values()), np.float32))
    for run, rows in recommended.items():
        columns = ("user", "product", "rank", "score")
        why: dict[str, Any] = dict.fromkeys(
            ("teacher_score", "is_new", "reason", "reason_kind", "reason_lift")
        )
        table = pa.Table.from_pylist(
            [dict(zip(columns, row, strict=True)) | why | reasons.get((run, *row[:2]), {}) for row in rows]
        )
        write_back(store, run, table, [held] if run == "demo" else [], facts=FACTS.get(run))


def _tell(
    store: GraphStore,
    told: Mapping[str, Mapping[EdgeType, list[ToldClass]]],
    found: list[tuple[str, str, int, float]],
) -> None:
    for run, classes in told.items():
        write_classes(store, run, classes, facts=RunFacts(task=run))
    given = pa.table({"user": ["f1"], "product": ["a1"], "rank": [1], "score": [0.75]})
    write_back(store, "answer", given, edge=ANSWERED, facts=RunFacts(task="answer"))
    columns = ("user", "product", "rank", "score")
    finds = pa.Table.from_pylist([dict(zip(columns, row, strict=True)) for row in found])
    write_back(store, "finder", finds, edge=("Query", "FOUND", "Product"), facts=RunFacts(task="search"))


def fill_random_shop(store: GraphStore, seed: int = 0) -> None:
    """The same kinds of things, 30 users and 40 products of them, drawn at random."""
    draw = random.Random(seed)
    users = [f"u{n:02}" for n in range(30)]
    products = [f"p{n:02}" for n in range(40)]
    brands, categories = [f"b{n}" for n in range(6)], [f"c{n}" for n in range(5)]

    def day() -> datetime:
        return DAY[draw.randint(1, 31)]

    def pairs(some: list[str], others: list[str], share: float) -> list[tuple[str, str]]:
        return [(one, other) for one in some for other in others if draw.random() < share and one != other]

    def seen(found: list[tuple[str, str]]) -> list[tuple[Any, ...]]:
        return [(*pair, first := day(), max(first, day()), draw.randint(1, 4)) for pair in found]

    def together(some: list[str], share: float) -> list[tuple[Any, ...]]:
        found = [(one, other) for one, other in pairs(some, some, share) if one < other]
        return [(*pair, draw.randint(1, 9), draw.choice([0.5, 1.0, 1.5, 4.0]), 0.25, _CUT) for pair in found]

    def of(things: list[str], groups: list[str]) -> list[tuple[str, str]]:
        return [(thing, draw.choice(groups)) for thing in things if draw.random() < 0.9]

    nodes = _nodes() | {
        "User": [{"user_id": user} for user in users],
        "Product": [
            {"product_id": key, "title": f"thing {key}", "price": draw.choice([None, 1.0, 2.5])}
            for key in products
        ],
        "Brand": [{"brand_id": key, "name": f"maker {key}"} for key in brands],
        "Category": [
            {"category_id": key, "name": key, "path": f"all > {key}", "level": 1} for key in categories
        ],
    }
    bought = [(*row[:4], draw.randint(0, 2), row[4], 2.5) for row in seen(pairs(users, products, 0.15))]
    queries, coupons = ["q1", "q2"], ["c1", "c2"]
    edges = _edges() | {
        ("Product", "MADE_BY", "Brand"): of(products, brands),
        ("Product", "IN_CATEGORY", "Category"): of(products, categories),
        ("Category", "PART_OF", "Department"): [(key, "drinks") for key in categories],
        ("Product", "PART_OF", "Department"): [],
        ("Coupon", "FOR", "Product"): pairs(coupons, products, 0.5),
        ("Intent", "ABOUT", "Product"): pairs(["price"], products, 0.2),
        BOUGHT: bought,
        ("User", "VIEWED", "Product"): seen(pairs(users, products, 0.1)),
        ("User", "SEARCHED", "Query"): seen(pairs(users, queries, 0.5)),
        ("Query", "CLICKED", "Product"): seen(pairs(queries, products, 0.3)),
        ("Query", "JUDGED", "Product"): [(*pair, 2.0, "exact") for pair in pairs(queries, products, 0.3)],
        ("User", "RECEIVED", "Campaign"): [(*pair, DAY[1]) for pair in pairs(users, ["spring"], 0.5)],
        ("User", "REDEEMED", "Coupon"): [(*pair, DAY[2]) for pair in pairs(users, coupons, 0.3)],
        ("Product", "ALSO_BOUGHT", "Product"): together(products, 0.1),
        ("Brand", "BRAND_SIMILAR", "Brand"): together(brands, 0.8),
        ("User", "RATED", "Product"): [(*pair, day()) for pair in pairs(users, products, 0.1)],
        ("Product", "MENTIONS", "Brand"): pairs(products, brands, 0.1),
        ("Product", "VIEWED_TOGETHER", "Product"): together(products, 0.1),
        TARGETED: [
            ("spring", user, "target", rank, 1 / rank) for rank, user in enumerate(draw.sample(users, 9), 1)
        ],
    }
    recommended = {
        run: [
            (user, product, rank, 1 / rank)
            for user in draw.sample(users, 25)
            for rank, product in enumerate(draw.sample(products, 5), 1)
        ]
        for run in ("demo", "former")
    }
    vectors = {product: [draw.uniform(-1, 1) for _ in range(4)] for product in products[:30]}
    reasons = {
        ("demo", user, product): {
            "teacher_score": draw.choice([None, draw.uniform(0, 1)]),
            "is_new": draw.random() < 0.3,
            **draw.choice(
                [{}, {"reason": "why", "reason_kind": "MADE_BY", "reason_lift": draw.uniform(1, 3)}]
            ),
        }
        for user, product, _, _ in recommended["demo"]
    }
    _fill(store, nodes, {k: v for k, v in edges.items() if v}, recommended, vectors, reasons)
    moods = [ToldClass(user, "mood", draw.choice(["calm", "hasty"]), draw.random()) for user in users]
    found = [(query, product, n, 1 / n) for query in queries for n, product in enumerate(products[5:15], 1)]
    _tell(store, TOLD | {"profile": {("User", "PROFILED", "Class"): moods}}, found)
