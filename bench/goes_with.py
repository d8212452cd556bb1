"""What is bought together, beside what people would use: the other items of baskets that came later.

    python bench/goes_with.py              Complete Journey, and Amazon Office where its data lies
    python bench/goes_with.py --only office --validation
    python bench/goes_with.py --scale      time and memory of counting 2 million invented purchases

Everything is counted before the test's start; of one later basket of each user (with two items or more, drawn
by a seed) one item is asked about, and the others are right. All items that somebody bought before are
ranked, but for those that an arm says nothing of; ties by id. Settings were chosen on the validation period
(`--validation`). `lift` is how many times as many of the listed items are in the basket as if it were filled
by popularity.
Complete Journey's table keeps every purchase; the arms "first" count the first of each pair alone, as a graph
does whose schema keeps no more. Means of three seeds; intervals and p-values over users, by Holm over the
comparisons of the file. Prints tables and writes results/goes_with.json.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse as sp

from bench.comparisons import Resamples, holm
from kgdistill.arrays import DoubleArray, IntArray
from kgdistill.datasets.adapt_journey import package_folder
from kgdistill.datasets.complete_journey import (
    EXCLUDED_CATEGORIES,
    EXCLUDED_DEPARTMENTS,
    complete_journey_protocol,
)
from kgdistill.derive.together import Baskets, partners
from kgdistill.progress import step
from kgdistill.ranking.bootstrap import bootstrap_statistic
from kgdistill.ranking.metrics import ndcg_at_k
from kgdistill.serve.items import Items
from kgdistill.serve.pack_complements import pack_complements

RESULTS = Path(__file__).parent / "results" / "goes_with.json"
K, SEEDS = 10, 3
METRICS = ("hit@10", "ndcg@10")
# Each of ours against each of these.
OURS, OTHERS = ("goes_with", "usual"), ("counts", "popularity", "similar")
Score = Callable[[int], DoubleArray]


@dataclass(frozen=True)
class Sales:
    """Who bought what when, as codes, int64 [events]; the items; where validation, test and the end lie."""

    title: str
    user: IntArray
    item: IntArray
    at_us: IntArray
    items: Items
    moments: tuple[int, int, int]

    def between(self, start: int, end: int) -> Baskets:
        """The baskets of a period: purchases of one moment."""
        inside = (self.at_us >= start) & (self.at_us < end)
        return Baskets.of(self.user[inside], self.item[inside], self.at_us[inside], 0)

    def first_before(self, end: int) -> Baskets:
        """The baskets before a moment that hold only what their users had not bought before."""
        order = np.lexsort((self.at_us, self.item, self.user))
        user, item, at = (column[order] for column in (self.user, self.item, self.at_us))
        new = np.r_[True, (user[1:] != user[:-1]) | (item[1:] != item[:-1])] & (at < end)
        return Baskets.of(user[new], item[new], at[new], 0)


def _us(moment: datetime | str) -> int:
    return int(pd.Timestamp(moment).value // 1000)


def _items(table: pd.DataFrame) -> Items:
    columns = {name: pa.array(table[name], pa.string(), from_pandas=True) for name in table.columns}
    return Items(pa.table(columns))


def complete_journey() -> Sales:
    """Every purchase of the year, without what the protocol leaves out."""
    folder, protocol = package_folder(), complete_journey_protocol()
    known = pd.read_parquet(folder / "products.parquet").astype({"product_id": str})
    known = known[~known.department.isin(EXCLUDED_DEPARTMENTS)]
    known = known[~known.product_category.isin(EXCLUDED_CATEGORIES)]
    columns = ["household_id", "product_id", "transaction_timestamp", "quantity"]
    lines = pd.read_parquet(folder / "transactions.parquet", columns=columns).astype({"product_id": str})
    lines = lines[(lines.quantity > 0) & lines.product_id.isin(known.product_id)]
    known = known[known.product_id.isin(lines.product_id)].sort_values("product_id")
    path = known[["department", "product_category", "product_type"]].fillna("")
    table = pd.DataFrame(
        {
            "id": known.product_id,
            "title": known.product_type,
            "brand": known.manufacturer_id.astype(str),
            "category": path.department + " > " + path.product_category + " > " + path.product_type,
        }
    )
    at = pd.to_datetime(lines.transaction_timestamp, utc=True).dt.tz_localize(None)
    return Sales(
        "Complete Journey",
        pd.factorize(lines.household_id, sort=True)[0].astype(np.int64),
        pd.Index(known.product_id).get_indexer(lines.product_id).astype(np.int64),
        at.astype("datetime64[us]").astype("int64").to_numpy(),
        _items(table),
        (_us(protocol.cut or ""), _us(protocol.test_start or ""), _us("2100-01-01")),
    )


def office() -> Sales:
    """Amazon Office Products, whose times are days."""
    folder = Path(os.environ.get("KGDISTILL_DATA", "../shared/data")) / "amazon_office"
    lines = pd.read_csv(folder / "interactions.csv.gz")
    known = pd.read_json(folder / "items.jsonl.gz", lines=True).sort_values("asin")
    known = known[known.asin.isin(lines.asin)]
    table = pd.DataFrame(
        {
            "id": known.asin,
            "title": known.title,
            "brand": known.brand.where(known.brand != ""),
            "category": None,
        }
    )
    lines = lines[lines.asin.isin(known.asin)]
    return Sales(
        "Amazon Office",
        pd.factorize(lines.user_id, sort=True)[0].astype(np.int64),
        pd.Index(known.asin).get_indexer(lines.asin).astype(np.int64),
        lines.timestamp.to_numpy(np.int64) * 1_000_000,
        _items(table),
        (_us("2018-02-03"), _us("2018-04-02"), _us("2100-01-01")),
    )


def arms_of(sales: Sales, start: int) -> tuple[dict[str, Score], IntArray, dict[str, Any]]:
    """What is known before a moment, by arm; how many users bought each item; and what counting cost."""
    baskets, size = sales.between(0, start), len(sales.items)
    begin = time.monotonic()
    ours = pack_complements(baskets, sales.items)
    cost = {"events": len(baskets.item), "seconds": round(time.monotonic() - begin, 1)}
    cost["pairs_beyond_chance"] = int(ours.items.beyond.sum()) // 2
    cost["megabytes"] = round(sum(a.nbytes for a in ours.arrays().values()) / 2**20, 1)
    first = pack_complements(sales.first_before(start), sales.items)
    users = ours.items.users
    by_basket = _matrix(baskets.basket, baskets.item, size)
    by_user = _matrix(baskets.user, baskets.item, size)
    of_basket, of_user = by_basket.T.tocsr(), by_user.T.tocsr()
    length = np.sqrt(np.maximum(users, 1))
    # Less than any count, so that it orders equals alone.
    popular = users / (users.max() + 1.0) * 1e-6

    def row(left: Any, right: Any, item: int) -> DoubleArray:
        return np.asarray((left[item] @ right).todense(), np.float64).ravel()

    arms: dict[str, Score] = {
        "goes_with": lambda item: ours.scores(item, sales.items, usual=False),
        "usual": lambda item: ours.scores(item, sales.items, usual=True) + popular,
        "goes_with_first": lambda item: first.scores(item, sales.items, usual=False),
        "usual_first": lambda item: first.scores(item, sales.items, usual=True) + popular,
        "counts": lambda item: row(of_basket, by_basket, item) + popular,
        "popularity": lambda item: users.astype(np.float64),
        "similar": lambda item: row(of_user, by_user, item) / length / length[item] + popular,
    }
    return arms, users, cost


def _matrix(rows: IntArray, items: IntArray, size: int) -> Any:
    matrix = sp.csr_matrix((np.ones(len(rows), np.float32), (rows, items)), shape=(int(rows.max()) + 1, size))
    matrix.data[:] = 1
    return matrix


def questions(baskets: Baskets, known: IntArray, seed: int) -> dict[int, tuple[int, IntArray]]:
    """By user an item of one of the baskets, and what else was in it; items that nobody had are left out."""
    draw = np.random.default_rng(seed)
    some = known[baskets.item] > 0
    user, basket, item = baskets.user[some], baskets.basket[some], baskets.item[some]
    starts = np.flatnonzero(np.r_[True, basket[1:] != basket[:-1]])
    by_user: dict[int, list[IntArray]] = {}
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(item)], strict=True):
        if end - start > 1:
            by_user.setdefault(int(user[start]), []).append(item[start:end])
    found = {}
    for who, mine in sorted(by_user.items()):
        held = mine[int(draw.integers(len(mine)))]
        asked = int(draw.choice(held))
        found[who] = asked, held[held != asked]
    return found


def judged(score: Score, asked: Mapping[int, tuple[int, IntArray]], users: IntArray) -> DoubleArray:
    """Hit, NDCG, how many of the listed are in the basket or would be by popularity, how many are listed.

    Returns:
        float64 [5, questions].
    """
    found, share = np.zeros((5, len(asked))), users / users.sum()
    for n, (item, right) in enumerate(asked.values()):
        scores = score(item).copy()
        scores[[item]] = 0
        scores[users == 0] = 0
        # The K best, of equals the first.
        edge = np.partition(scores, -K)[-K]
        best = np.flatnonzero((scores >= edge) & (scores > 0))
        best = best[np.lexsort((best, -scores[best]))][:K]
        hits = np.zeros((1, K), np.bool_)
        hits[0, : len(best)] = np.isin(best, right)
        by_popularity = (1 - (1 - share[best]) ** len(right)).sum()
        ndcg = ndcg_at_k(hits, np.array([len(right)]), K)[0]
        found[:, n] = hits.any(), ndcg, hits.sum(), by_popularity, len(best)
    return found


def measured(sales: Sales, *, validation: bool) -> dict[str, Any]:
    """Figures and comparisons of one data set."""
    start, end = sales.moments[:2] if validation else sales.moments[1:]
    arms, users, cost = arms_of(sales, start)
    later = sales.between(start, end)
    asked = [questions(later, users, seed) for seed in range(SEEDS)]
    values: dict[str, DoubleArray] = {}
    with step(f"asking {sales.title}", total=len(arms) * SEEDS) as progress:
        for name, score in arms.items():
            rows = []
            for questioned in asked:
                rows.append(judged(score, questioned, users))
                progress.advance()
            values[name] = np.stack(rows)  # [seeds, 5, users]
    drawn = {}
    for place, metric in enumerate(METRICS):
        resampled = Resamples(len(asked[0])).draw(*(rows[:, place] for rows in values.values()))
        drawn[metric] = dict(zip(values, resampled, strict=True))
    figures = []
    for name, rows in values.items():
        row: dict[str, Any] = {"arm": name, "listed": float(rows[:, 4].mean())}
        row |= {metric: _ends(drawn[metric][name].estimate()) for metric in METRICS}
        hits, chance = rows[:, 2].mean(axis=0), rows[:, 3].mean(axis=0)
        lift = bootstrap_statistic(
            lambda w, h=hits, c=chance: float((w * h).sum() / (w * c).sum()), len(hits)
        )
        figures.append({**row, "lift": list(lift)})
    compared = []
    for metric in METRICS:
        for one in OURS:
            for other in OTHERS:
                less = drawn[metric][one].difference(drawn[metric][other])
                compared.append({"metric": metric, "arm": one, "other": other, **_told(less)})
    return {"title": sales.title, "users": len(asked[0]), **cost, "figures": figures, "compared": compared}


def _ends(estimate: Any) -> list[float]:
    return [estimate.mean, estimate.low, estimate.high]


def _told(difference: Any) -> dict[str, float]:
    return {name: getattr(difference, name) for name in ("mean", "low", "high", "p")}


def scale(events: int = 2_000_000) -> dict[str, Any]:
    """What counting takes: purchases of 100 thousand items by 100 thousand users, five a basket, drawn."""
    draw = np.random.default_rng(0)
    items, users = 100_000, 100_000
    item = np.minimum((draw.pareto(1.0, events) * 20).astype(np.int64), items - 1)
    basket = np.repeat(np.arange(events // 5), 5)
    user, at_us = draw.integers(0, users, events // 5)[basket], basket * 3_600_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.monotonic()
    found = partners(Baskets.of(user, item, at_us, 0), items)
    told = {"events": events, "items": items, "pairs_kept": len(found.partner)}
    told["seconds"] = round(time.monotonic() - begin, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return told | {"peak_mib": peak // 1024, "mib_before": before // 1024}


def show(held: Mapping[str, Any]) -> None:
    """A table of a data set."""
    print(f"{held['title']}: {held['users']:,} users; {held['events']:,} rows in {held['seconds']} s, "
          f"{held['pairs_beyond_chance']:,} pairs beyond chance, {held['megabytes']} MiB")  # fmt: skip
    for row in held["figures"]:
        told = [f"{m} {row[m][0]:.4f} [{row[m][1]:.4f}, {row[m][2]:.4f}]" for m in (*METRICS, "lift")]
        print(f"  {row['arm']:<16} {'  '.join(told)}  listed {row['listed']:.1f}")
    for pair in held["compared"]:
        print(
            f"  {pair['metric']} {pair['arm']} less {pair['other']}: {pair['mean']:+.4f} "
            f"[{pair['low']:+.4f}, {pair['high']:+.4f}], p {pair['p']:.4f}, by Holm {pair['p_holm']:.4f}"
        )


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=("office", "complete_journey"))
    parser.add_argument("--validation", action="store_true", help="choose; nothing is written")
    parser.add_argument("--scale", action="store_true", help="time and memory alone")
    asked = parser.parse_args()
    document = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {"sets": {}}
    if asked.scale:
        document["scale"] = scale()
        print(document["scale"])
        RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        return
    sets = {"complete_journey": complete_journey, "office": office}
    names = [asked.only] if asked.only else list(sets)
    new: dict[str, Any] = {}
    for name in names:
        try:
            new[name] = measured(sets[name](), validation=asked.validation)
        except FileNotFoundError as error:
            print(f"{name} is left out: {error}")
    shown = new if asked.validation else {**document["sets"], **new}
    pairs = [pair for one in shown.values() for pair in one["compared"]]
    for pair, p in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
        pair["p_holm"] = p
    for one in shown.values():
        show(one)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"peak memory {peak:,} MiB")
    if not asked.validation:
        now = datetime.now(timezone.utc).strftime("%Y-%m-%d")
        document |= {"measured": now, "seeds": SEEDS, "peak_mib": peak, "sets": shown}
        RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
