"""Measures the page on Complete Journey in an embedded store: its first paint, and what a click takes.

    python bench/page.py
    python bench/page.py --store ladybug:PATH      one that holds it already, with two runs

A headless Chromium asks `kgdistill explore`. Of each kind of click the median and the 95th percentile of the
time to the next page's first paint (or, where a part of a page changes, to that part), over nodes that were
not asked for before, with a 95 % interval of the median by bootstrap; and the processor time that the page's
processes spent on it. Parts that come after the paint (reasons, paths, plots, a picture's places) are told
apart. Writes bench/results/page.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import psutil
import pyarrow as pa
from playwright.sync_api import Page, sync_playwright

from kgdistill.explore import run_query, write_back
from kgdistill.store import GraphStore, open_store

RESULTS = Path(__file__).parent / "results" / "page.json"
TARGETS = {"first paint": 1.0, "click": 0.3}
_NODES, _STARTS, _SEED = 20, 5, 0
_PAINT = """() => new Promise((done) => {
  const found = performance.getEntriesByName("first-contentful-paint")[0];
  if (found) done(found.startTime / 1000);
  new PerformanceObserver((list) => list.getEntriesByName("first-contentful-paint").forEach(
    (entry) => done(entry.startTime / 1000))).observe({type: "paint", buffered: true});
})"""


def filled(folder: Path) -> str:
    """Complete Journey, what is bought together in it, and what two simple runs recommend."""
    url = f"ladybug:{folder / 'journey.db'}"
    ours = [sys.executable, "-m", "kgdistill"]
    subprocess.run([*ours, "ingest", "dataset", "complete-journey", "--store", url], check=True)
    subprocess.run([*ours, "derive", "also-bought", "--cut", "2017-10-15", "--store", url], check=True)
    with open_store(url) as store:
        for run, shuffled in (("popular", False), ("shuffled", True)):
            write_back(store, run, _lists(store, shuffled))
    return url


def _lists(store: GraphStore, shuffled: bool) -> pa.Table:
    """For each user ten of the 400 most bought products that the user did not buy."""
    pairs = store.query(
        "MATCH (u:User)-[:BOUGHT]->(p:Product) RETURN u.user_id AS user, p.product_id AS product",
        limit=2_000_000, timeout_s=120,
    )  # fmt: skip
    counted = pairs.group_by("product").aggregate([("user", "count")]).sort_by([("user_count", "descending")])
    popular = counted["product"].to_pylist()[:400]
    bought: dict[str, set[str]] = {}
    for user, product in zip(pairs["user"].to_pylist(), pairs["product"].to_pylist(), strict=True):
        bought.setdefault(user, set()).add(product)
    draw = random.Random(_SEED)
    rows = []
    for user, own in sorted(bought.items()):
        left = [product for product in popular if product not in own]
        chosen = draw.sample(left, 10) if shuffled else left[:10]
        rows += [
            {"user": user, "product": product, "rank": rank, "score": 1 / rank}
            for rank, product in enumerate(chosen, 1)
        ]
    return pa.Table.from_pylist(rows)


def nodes_of(store: GraphStore) -> dict[str, list[str]]:
    """Keys to ask for, drawn at random among what is bought."""
    draw, found = random.Random(_SEED), {}
    for label, key, text in (
        ("User", "user_id", "MATCH (n:User)-[:BOUGHT]->(:Product)"),
        ("Product", "product_id", "MATCH (n:Product)<-[:RECOMMENDED]-(:User)"),
        ("Brand", "brand_id", "MATCH (n:Brand)<-[:MADE_BY]-(:Product)<-[:BOUGHT]-(:User)"),
        ("Category", "category_id", "MATCH (n:Category)<-[:IN_CATEGORY]-(:Product)<-[:BOUGHT]-(:User)"),
    ):
        keys = store.query(
            f"{text} RETURN DISTINCT n.`{key}` AS key ORDER BY key", limit=200_000, timeout_s=120
        )
        found[label] = draw.sample(keys["key"].to_pylist(), 2 * _NODES)
    return found


class Measured:
    """Times of one kind of click, in seconds, and the processor time beside each."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def _spent(self) -> float:
        every = [self._process, *self._process.children(recursive=True)]
        return sum(sum(p.cpu_times()[:2]) for p in every)

    def take(self, timed: Callable[[], float]) -> None:
        """Keeps what a click took."""
        before = self._spent()
        self.wall.append(timed())
        self.cpu.append(self._spent() - before)

    def summary(self) -> dict[str, Any]:
        """Median with its interval, 95th percentile, and the median of processor time."""
        wall = np.array(self.wall)
        draws = np.random.default_rng(_SEED).choice(wall, (2000, len(wall)))
        low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
        return {
            "clicks": len(wall),
            "median_s": round(float(np.median(wall)), 3),
            "median_95": [round(float(low), 3), round(float(high), 3)],
            "p95_s": round(float(np.quantile(wall, 0.95)), 3),
            "cpu_s": round(float(np.median(self.cpu)), 3),
        }


def painted(page: Page, address: str) -> float:
    """From asking for an address to the first paint of what it shows."""
    answer = page.goto(address)
    assert answer is not None
    assert answer.ok, address
    return float(page.evaluate(_PAINT))


def until(page: Page, act: Callable[[], object], selector: str, state: Any = "visible") -> float:
    """From an act to a part's being there."""
    begin = time.perf_counter()
    act()
    page.locator(selector).first.wait_for(state=state)
    return time.perf_counter() - begin


def measured(
    page: Page, base: str, nodes: dict[str, list[str]], runs: list[str], process: psutil.Process
) -> dict[str, Any]:
    """Every kind of click."""
    kinds: dict[str, Measured] = {}

    def kind(name: str) -> Measured:
        return kinds.setdefault(name, Measured(process))

    for label, keys in nodes.items():
        for key in keys[:_NODES]:
            address = f"{base}/card?label={label}&key={key.replace('&', '%26').replace(' ', '+')}"
            kind(f"card of a {label}").take(lambda address=address: painted(page, address))  # type: ignore[misc]
            if label == "User":
                # From the card's paint on; the next card waits for it.
                kind("later: a user's reasons").take(
                    lambda: until(page, lambda: None, ".waiting", "detached")
                )
    for key in nodes["Product"][_NODES:]:
        kind("neighbourhood of a product").take(
            lambda key=key: painted(page, f"{base}/graph?node=Product:{key}")
        )  # type: ignore[misc]
        kind("later: the neighbourhood in its places").take(
            lambda: until(page, lambda: None, "#picture[data-laid]")
        )
        said = page.locator("#nodes button").nth(2)
        kind("expand a neighbour").take(
            lambda said=said: until(page, said.click, "#picture-said:not(:empty)")
        )  # type: ignore[misc]
    for user in nodes["User"][_NODES:]:
        kind("search").take(lambda user=user: painted(page, f"{base}/search?q={user}"))  # type: ignore[misc]
        product = nodes["Product"][len(kinds["search"].wall) - 1]
        kind("why").take(lambda u=user, p=product: painted(page, f"{base}/why?user={u}&product={p}"))  # type: ignore[misc]
        kind("later: the paths of a why").take(lambda: until(page, lambda: None, ".waiting", "detached"))
        asked = f"{base}/query/brands_of_user?user={user}"
        kind("a saved query").take(lambda asked=asked: painted(page, asked))  # type: ignore[misc]
    for run in runs:
        kind("a run").take(lambda run=run: painted(page, f"{base}/run?run={run}"))  # type: ignore[misc]
        kind("later: a run's plots").take(lambda: until(page, lambda: None, ".waiting", "detached"))
    kind("two runs").take(lambda: painted(page, f"{base}/compare?run={runs[0]}&other={runs[1]}"))
    return {name: one.summary() for name, one in kinds.items()}


def main() -> None:
    """Fills, serves, measures, prints and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", help="an embedded store that holds Complete Journey and two runs")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the figures go")
    choices = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = choices.store or filled(Path(folder))
        with open_store(url) as store:
            nodes = nodes_of(store)
            table = run_query(store, "runs", {})
            runs = table["run"].to_pylist()
        command = [sys.executable, "-m", "kgdistill", "explore", "--store", url, "--port", "0"]
        begin = time.perf_counter()
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as served:
            assert served.stderr is not None
            said = ""
            while not (found := re.search(r"open (http://\S+)/\n", said)):
                said += served.stderr.readline()
            started = time.perf_counter() - begin
            process = psutil.Process(served.pid)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
                )
                first = Measured(process)
                for _ in range(_STARTS):
                    # A browser that has nothing of the page yet.
                    context = browser.new_context()
                    first.take(lambda context=context: painted(context.new_page(), f"{found[1]}/"))  # type: ignore[misc]
                    context.close()
                clicks = measured(browser.new_page(), found[1], nodes, runs, process)
                browser.close()
            served.terminate()
    document = {
        "targets_s": TARGETS,
        "machine": {"cores": os.cpu_count(), "load": [round(x, 1) for x in os.getloadavg()]},
        "start_s": round(started, 2),
        "first_paint": {**first.summary(), "very_first_s": round(first.wall[0], 3)},
        "clicks": clicks,
    }
    for name, told in [("first paint", document["first_paint"]), *clicks.items()]:
        low, high = told["median_95"]
        print(
            f"{told['median_s']:6.3f} s ({low:.3f} to {high:.3f}), 95 % below {told['p95_s']:6.3f} s, "
            f"{told['cpu_s']:6.3f} s of processor: {name}"
        )
    choices.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
