"""docs/own-data.md, "Your own data in five minutes", followed word by word."""

from __future__ import annotations

import csv
import gzip
import os
import re
import subprocess
import sys
from collections import defaultdict
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from _load_script import load_script

from kgdistill.store import open_store

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "own-data.md").read_text(encoding="utf-8")
SAMPLE = ROOT / "data" / "sample_orders"
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.S)
CLOSED = {"12041", "12328"}


def _follow(folder: Path) -> list[str]:
    """What each block of the page says, run one after the other in one shell as from a clone."""
    (folder / "data").symlink_to(ROOT / "data")
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "kgdistill").symlink_to(Path(sys.executable).parent / "kgdistill")
    script = "".join(f"{block}\necho '=== end of block'\n" for block in BLOCKS)
    left = {k: v for k, v in os.environ.items() if not k.startswith("KGDISTILL_")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=left | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert "Traceback" not in done.stdout
    return done.stdout.split("=== end of block\n")[:-1]


def _bytes(file: Path) -> bytes:
    # How gzip packs differs from one version to the next.
    return gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()


def _lines() -> list[dict[str, str]]:
    """The good lines of all files, by plain Python."""
    found = []
    for file in sorted(SAMPLE.glob("*/orders-*")):
        for row in csv.DictReader(_bytes(file).decode().splitlines()):
            dirty = None in row.values() or row["Quantity"] == "six" or row["UnitPrice"] == "n/a"
            if not dirty and not row["InvoiceDate"].startswith("3/32/"):
                found.append(row)
    return found


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("clone")
    return folder, _follow(folder)


@pytest.mark.parametrize("made", ["orders.yaml", "exports", "shop.db", "runs/mine"])
def test_it_can_be_followed_after_the_readmes_program(made: str) -> None:
    """A file that stands there would be refused, and a run would go on with the other graph."""
    assert made in (ROOT / "README.md").read_text(encoding="utf-8")
    assert not re.search(rf"(?<![\w-]){re.escape(made)}\b", "".join(BLOCKS))


def test_every_command_says_what_the_text_promises(followed: tuple[Path, list[str]]) -> None:
    folder, (proposed, tried, twice, later, trained, viewed) = followed
    assert "then: kgdistill ingest run my-orders.yaml my-orders --dry-run" in proposed
    assert "550 rows read: 4 do not fit, 73 make nothing" in tried
    assert "nothing was written" in tried
    for title in ("User", "Product", "User-BOUGHT-Product"):
        assert f"\n{title}, the first 10:\n" in tried
    assert "473 rows of 3 sources" in twice
    assert "4 of 550 rows did not fit and were left out; they are in rejects.csv" in twice
    assert "nothing to do: 3 sources are as they were" in twice
    rejects = list(csv.reader(twice[twice.index('"source","line"') :].splitlines()))
    places = {(row[0].split("/")[-1], int(row[1]), row[3], row[5]) for row in rejects[1:]}
    source = "orders-2024-01:orders-2024-0"
    assert places == {
        (f"{source}2.csv", 42, "", "has 5 values, not 8 as the header"),
        (f"{source}3.csv.gz", 42, "Quantity", "is not a number"),
        (f"{source}3.csv.gz", 82, "InvoiceDate", "is not a time such as 04/01/2017 13:05"),
        (f"{source}3.csv.gz", 122, "UnitPrice", "is not a number"),
    }
    assert "168 rows of 2 sources" in later
    assert "3 sources are as they were; 8 events came late" in later
    assert re.search(r"\n +1 .* accepted +3 +550 +473 +73 +4\n +2 .* accepted +2 +192 +168 +24 +0\n", later)
    assert "the store holds them all" in later
    assert later.count(" equal\n") == 3
    assert "DIFFERS" not in later
    assert "0 errors" in trained
    assert "rests on what was bought before" in trained
    assert re.search(r"\nUser-VIEWED-Product +223 +0\n", f"\n{viewed}")
    assert "1 source" in viewed
    assert re.search(r"User with BOUGHT and VIEWED +38\n", viewed)
    assert "with-views can be asked of this graph\n" in viewed
    assert "no run learns it" not in viewed
    with open_store(f"ladybug:{folder / 'orders.db'}") as store:
        told = store.query("MATCH (:User)-[r:RECOMMENDED]->(:Product) RETURN count(r) AS n")
        twice_sold = store.query(
            "MATCH (u:User)-[:RECOMMENDED]->(p:Product) MATCH (u)-[b:BOUGHT]->(p) RETURN count(b) AS n"
        )
    assert (told["n"][0].as_py() > 700, twice_sold["n"][0].as_py()) == (True, 0)
    for made in ("report.html", "bundle/model.safetensors", "evaluate/metrics.json"):
        assert (folder / "runs" / "orders" / made).is_file()


def test_the_graph_is_what_plain_python_makes_of_the_files(followed: tuple[Path, list[str]]) -> None:
    lines = [row for row in _lines() if row["StockCode"] != "POST"]
    bought: dict[tuple[str, str], list[tuple[datetime, int, Decimal]]] = defaultdict(list)
    for row in lines:
        if row["CustomerID"] and row["CustomerID"] not in CLOSED:
            at = datetime.strptime(row["InvoiceDate"], "%m/%d/%Y %H:%M")
            amount = int(row["Quantity"]) * Decimal(row["UnitPrice"])
            bought[row["CustomerID"], row["StockCode"]].append((at, int(row["Quantity"]), amount))
    expected: dict[tuple[str, str], dict[str, Any]] = {}
    for pair, events in bought.items():
        sold = [event for event in events if event[1] > 0]
        expected[pair] = {
            "first_at": min(sold)[0],
            "first_quantity": max(q for at, q, _ in sold if at == min(sold)[0]),
            "last_at": max(events)[0],
            "count": len(events),
            "spend": float(sum(amount for *_, amount in events)),
        }
    with open_store(f"ladybug:{followed[0] / 'orders.db'}") as store:
        table = store.read_relationships(("User", "BOUGHT", "Product"))
        held = {(row.pop("source"), row.pop("target")): row for row in table.to_pylist()}
        users = set(store.read_nodes("User", []).column(0).to_pylist())
        products = store.read_nodes("Product", ["title"]).to_pylist()
    assert held == expected
    assert users == {customer for customer, _ in expected}
    assert {p["product_id"]: p["title"] for p in products} == {
        row["StockCode"]: row["Description"] for row in lines
    }


def test_the_graph_holds_the_views_of_the_file(followed: tuple[Path, list[str]]) -> None:
    expected: dict[tuple[str, str], list[datetime]] = defaultdict(list)
    for row in csv.DictReader((SAMPLE / "views" / "views-2024.csv").read_text().splitlines()):
        at = datetime.strptime(row["ViewedAt"], "%m/%d/%Y %H:%M")
        expected[row["CustomerID"], row["StockCode"]].append(at)
    with open_store(f"ladybug:{followed[0] / 'orders.db'}") as store:
        table = store.read_relationships(("User", "VIEWED", "Product")).to_pylist()
    held = {(row["source"], row["target"]): (row["first_at"], row["last_at"], row["count"]) for row in table}
    assert held == {pair: (min(times), max(times), len(times)) for pair, times in expected.items()}


def test_the_sample_is_what_its_script_writes(tmp_path: Path) -> None:
    module = load_script("data/sample_orders/make.py")
    module.main(tmp_path)
    names = sorted(p.relative_to(tmp_path) for p in tmp_path.glob("*/*"))
    assert names == sorted(p.relative_to(SAMPLE) for p in SAMPLE.glob("*/*.csv*"))
    for name in names:
        assert _bytes(tmp_path / name) == _bytes(SAMPLE / name)
