"""Makes the files of Amazon Office and of Chorus from what their projects publish.

python data/prepare.py office RERE MINIONEREC OUT   clones of sober-clever/ReRe and AkaliKong/MiniOneRec
python data/prepare.py chorus CHORUS OUT            a clone of querqy/chorus; all from GitHub

OUT is the folder for `--data` or KGDISTILL_DATA: a folder amazon_office or chorus_icecat is made in it.
"""

from __future__ import annotations

import argparse
import ast
import csv
import gzip
import json
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_SPLIT = "data/Amazon/{}/Office_Products_5_2016-10-2018-11.csv"
_PAST = ("item_asins", "history_timestamp", "history_rating", "history_item_id", "history_item_title")
_ITEMS = "data/Amazon/index/Office_Products.item.json"
_PRODUCTS = "data-encoder/ecommerce/vectors/data/{}.json.zip"
_JUDGED = "katas/Broad_Query_Set_rated.csv"
# Attributes with such a piece in their names are left out, addresses of pictures above all.
_PICTURES = ("img", "image", "url")

Key = tuple[int, str, str]


def office(rere: Path, minionerec: Path, out: Path) -> list[Path]:
    """Writes amazon_office/interactions.csv.gz and items.jsonl.gz below `out`."""
    targets: dict[Key, list[Any]] = {}
    histories: dict[Key, float] = {}
    titles: dict[str, tuple[int, str]] = {}
    starts: dict[str, int] = {}
    for split in ("valid", "test"):
        for row in _rows(rere / _SPLIT.format(split)):
            key = (int(row["timestamp"]), row["user_id"], row["item_asin"])
            targets[key] = [float(row["rating"]), split]
            starts[split] = min(starts.get(split, key[0]), key[0])
            titles[row["item_asin"]] = (int(row["item_id"]), row["item_title"])
            past = [ast.literal_eval(row[column]) for column in _PAST]
            for asin, at, rating, number, title in zip(*past, strict=True):
                histories.setdefault((int(at), row["user_id"], asin), float(rating))
                titles[asin] = (int(number), title)
    lines: list[list[Any]] = []
    for key in sorted({*targets, *histories}):
        at, user, asin = key
        if key in targets:
            lines.append([user, asin, at, *targets[key], 1])
        else:
            split = "train" if at < starts["valid"] else "valid" if at < starts["test"] else "test"
            lines.append([user, asin, at, histories[key], split, 0])
    known = json.loads((minionerec / _ITEMS).read_text(encoding="utf-8"))
    # The two number items differently: titles are what both have, and those of one title stand in one order.
    by_title: dict[str, list[tuple[int, Any]]] = {}
    for number, item in known.items():
        by_title.setdefault(item["title"], []).append((int(number), item))
    items: list[dict[str, Any]] = []
    for asin, (_, title) in sorted(titles.items(), key=lambda pair: pair[1]):
        number, item = by_title[title].pop(0)
        text = {"title": item["title"], "brand": item["brand"], "description": _joined(item["description"])}
        items.append({"asin": asin, "item_id": number, **text})
    items.sort(key=lambda item: str(item["asin"]))
    folder = _made(out / "amazon_office")
    with gzip.open(folder / "interactions.csv.gz", "wt", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["user_id", "asin", "timestamp", "rating", "split", "is_target"])
        writer.writerows(lines)
    return [folder / "interactions.csv.gz", _json_lines(folder / "items.jsonl.gz", items)]


def chorus(clone: Path, out: Path, queries: set[str] | None = None) -> list[Path]:
    """Writes chorus_icecat/products.jsonl.gz and judgements.csv below `out`; `queries` None keeps all."""
    products: dict[str, dict[str, Any]] = {}
    for part in range(1, 5):
        with zipfile.ZipFile(clone / _PRODUCTS.format(part)) as packed:
            for product in json.loads(packed.read(f"{part}.json")):
                kept = {k: v for k, v in product.items() if not any(p in k for p in _PICTURES)}
                products[product["id"]] = kept
    judged = [row for row in _rows(clone / _JUDGED) if queries is None or row["query"] in queries]
    folder = _made(out / "chorus_icecat")
    with (folder / "judgements.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["query", "docid", "rating"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(judged)
    return [_json_lines(folder / "products.jsonl.gz", products.values()), folder / "judgements.csv"]


def _rows(file: Path) -> Iterator[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines)


def _joined(text: str) -> str:
    """The words of a description, which is a Python list in text, or plain text."""
    try:
        parts = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text
    return " ".join(parts) if isinstance(parts, list) else text


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _json_lines(file: Path, rows: Iterable[dict[str, Any]]) -> Path:
    with gzip.open(file, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return file


def _units(parquet: Path) -> set[str]:
    import pyarrow.parquet as pq

    return set(pq.read_table(parquet, columns=["unit"])["unit"].to_pylist())


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns 2 where something is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    which = parser.add_subparsers(dest="which", required=True)
    one = which.add_parser("office", help="Amazon Office Products, a subset")
    one.add_argument("rere", type=Path, metavar="RERE", help="a clone of github.com/sober-clever/ReRe")
    one.add_argument("minionerec", type=Path, metavar="MINIONEREC", help="of github.com/AkaliKong/MiniOneRec")
    two = which.add_parser("chorus", help="Chorus / Icecat")
    two.add_argument("clone", type=Path, metavar="CHORUS", help="a clone of github.com/querqy/chorus")
    two.add_argument(
        "--queries-of",
        type=Path,
        metavar="PARQUET",
        help="keep only the queries that its column 'unit' names",
    )
    for each in (one, two):
        each.add_argument("out", type=Path, metavar="OUT", help="the folder that holds the data sets")
    given = parser.parse_args(arguments)
    try:
        if given.which == "office":
            written = office(given.rere, given.minionerec, given.out)
        else:
            queries = _units(given.queries_of) if given.queries_of else None
            written = chorus(given.clone, given.out, queries)
    except (OSError, KeyError, ValueError, SyntaxError, zipfile.BadZipFile) as error:
        print(f"data/prepare.py: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    for file in written:
        print(file)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
