"""Takes the pictures of docs/page.md from made-up shops: `python docs/screens.py [DEMO]`; needs chromium.

Those in Chinese are of `kgdistill demo --lang zh --quick`, run in the folder DEMO; they need a font such as
fonts-wqy-microhei. What is recommended in the other shop is what buyers of the same things bought, and, as
another run, what most bought.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, sync_playwright

import kgdistill as kg
from kgdistill.demo import run_demo
from kgdistill.derive.also_bought import write_also_bought
from kgdistill.explore import write_back
from kgdistill.moment import moment
from kgdistill.page import page_app

ROOT = Path(__file__).resolve().parents[1]
SCREENS = ROOT / "docs" / "screens"
USER, PRODUCT, CAMPAIGN, PORT = "u004", "b01", "c17", 8791
SHOTS = {
    "customer": f"/card?label=User&key={USER}&run=together",
    "product": f"/card?label=Product&key={PRODUCT}",
    "run": "/run?run=together",
    "compare": "/compare?run=together&other=popular",
    "campaign": f"/card?label=Campaign&key={CAMPAIGN}",
    "neighbourhood": f"/graph?node=Product:{PRODUCT}&limit=4&run=together",
}


def fill(graph: kg.Graph) -> str:
    """The sample's shop with what two simple runs recommend and whom one targets; the product of the why."""
    graph.ingest(ROOT / "data" / "sample_campaigns")
    write_also_bought(graph.store, cut=moment("2025-12-31", "cut"), min_support=2)
    pairs = graph.store.read_relationships(("User", "BOUGHT", "Product"), [])
    bought: dict[str, set[str]] = {}
    for user, product in zip(pairs["source"].to_pylist(), pairs["target"].to_pylist(), strict=True):
        bought.setdefault(user, set()).add(product)
    popular = Counter(product for own in bought.values() for product in own)
    together = {user: Counter[str]() for user in bought}
    for user, own in bought.items():
        for other in bought.values():
            if other is not own:
                together[user].update(dict.fromkeys(other, len(own & other)))
    for run, scores in (("popular", dict.fromkeys(bought, popular)), ("together", together)):
        rows = []
        for user, own in bought.items():
            best = sorted((-n, p) for p, n in scores[user].items() if p not in own)[:5]
            rows += [
                {"user": user, "product": p, "rank": rank, "score": float(-n)}
                for rank, (n, p) in enumerate(best, 1)
            ]
        write_back(graph.store, run, pa.Table.from_pylist(rows))
    held = graph.query(
        "MATCH (:Campaign {campaign_id: $campaign})<-[:PART_OF]-(:Coupon)-[:`FOR`]->(p:Product) "
        "RETURN p.product_id AS product", {"campaign": CAMPAIGN},
    )["product"].to_pylist()  # fmt: skip
    near = sorted((-len(own & set(held)) / len(held), user) for user, own in bought.items())[:10]
    targeted = [
        {"user": CAMPAIGN, "product": user, "rank": rank, "score": -share}
        for rank, (share, user) in enumerate(near, 1)
    ]
    write_back(graph.store, "target", pa.Table.from_pylist(targeted), edge=("Campaign", "TARGETED", "User"))
    first = graph.query("recommendations_of_user", {"user": USER, "run": "together"})
    return str(first["product"][0].as_py())


def take(browser: Browser, app: FastAPI, shots: Mapping[str, str], **reader: Any) -> None:
    """Serves a page, goes to each place as a reader does and keeps what stands there."""
    server = uvicorn.Server(uvicorn.Config(app, port=PORT, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    page = browser.new_page(**reader)
    for name, address in shots.items():
        page.goto(f"http://127.0.0.1:{PORT}{address}", wait_until="networkidle")
        page.screenshot(path=SCREENS / f"{name}.png")
        print(SCREENS / f"{name}.png")
    page.close()
    server.should_exit = True
    thread.join()


def main() -> None:
    """Fills both shops and takes what they show."""
    SCREENS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        with kg.Graph(f"ladybug:{folder}/shop") as graph:
            shots = {**SHOTS, "why": f"/why?user={USER}&product={fill(graph)}"}
            take(
                browser, page_app(graph.store), shots, viewport={"width": 900, "height": 640}, locale="en-GB"
            )
        # A run that stands there already is taken as it is.
        out = Path(sys.argv[1] if len(sys.argv) > 1 else f"{folder}/demo")
        shown = run_demo(out, quick=True, device="cpu", threads=1, language="zh")
        # Somebody whose first product has a reason.
        one = next(e for e in shown.examples if e["recommendations"][0]["explained"])
        user, product = one["user"], one["recommendations"][0]["product"]
        shots = {
            "chinese": f"/card?label=User&key={user}",
            "terms": f"/why?user={user}&product={product}",
        }
        with kg.Graph(shown.store_url) as graph:
            app = page_app(graph.store, bundle=shown.bundle)
            take(browser, app, shots, viewport={"width": 900, "height": 760}, locale="zh-CN")
        browser.close()


if __name__ == "__main__":
    main()
