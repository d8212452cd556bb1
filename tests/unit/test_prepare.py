"""The script that makes data sets from what their projects publish, over small inputs of that layout."""

from __future__ import annotations

import csv
import gzip
import json
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from _load_script import load_script

from bench.suites.data import suite_tables
from bench.suites.search import search_task
from bench.suites.spec import SearchSuite, load_suite

DAY = 86_400


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("data/prepare.py")


def _split(file: Path, rows: list[tuple[str, list[tuple[str, int, float]]]]) -> None:
    """A published split: each row a user's history, the last of which is the target."""
    numbers = {"A1": 0, "A2": 1, "A3": 2}
    file.parent.mkdir(parents=True)
    with file.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines)
        columns = "item_asins item_asin history_item_id item_id history_item_title item_title"
        columns += " history_rating rating history_timestamp timestamp"
        writer.writerow(["user_id", *columns.split()])
        for user, events in rows:
            asins, days, ratings = (list(column) for column in zip(*events, strict=True))
            times = [day * DAY for day in days]
            ids = [numbers[a] for a in asins]
            titles = [f"Title {a}" for a in asins]
            pairs = [values for c in (asins, ids, titles, ratings, times) for values in (c[:-1], c[-1])]
            writer.writerow([user, *pairs])


def test_office_comes_from_the_histories_and_targets_of_both_splits(
    script: ModuleType, tmp_path: Path
) -> None:
    rere, minionerec = tmp_path / "rere", tmp_path / "minionerec"
    # The history of a test row holds what was a target of valid; a repeated event keeps its first rating.
    _split(rere / script._SPLIT.format("valid"), [("u", [("A1", 1, 5.0), ("A1", 1, 2.0), ("A2", 5, 4.0)])])
    _split(
        rere / script._SPLIT.format("test"),
        [("u", [("A2", 5, 4.0), ("A3", 9, 3.0)]), ("v", [("A2", 6, 1.0), ("A1", 9, 2.0)])],
    )
    items = {
        "7": {"title": "Title A1", "description": "['one', 'two']", "brand": "Alpha", "categories": ""},
        "8": {"title": "Title A2", "description": "[half a list", "brand": "", "categories": ""},
        "9": {"title": "Title A3", "description": "", "brand": "Alpha", "categories": ""},
    }
    index = minionerec / script._ITEMS
    index.parent.mkdir(parents=True)
    index.write_text(json.dumps(items), encoding="utf-8")

    assert script.main(["office", str(rere), str(minionerec), str(tmp_path)]) == 0
    folder = tmp_path / "amazon_office"
    with gzip.open(folder / "interactions.csv.gz", "rt", encoding="utf-8") as lines:
        rows = [tuple(row.values()) for row in csv.DictReader(lines)]
    assert rows == [
        ("u", "A1", str(DAY), "5.0", "train", "0"),
        ("u", "A2", str(5 * DAY), "4.0", "valid", "1"),
        ("v", "A2", str(6 * DAY), "1.0", "valid", "0"),
        ("u", "A3", str(9 * DAY), "3.0", "test", "1"),
        ("v", "A1", str(9 * DAY), "2.0", "test", "1"),
    ]
    tables, _ = suite_tables(load_suite("office").data, folder)
    assert tables.nodes["Product"]["description"].to_pylist() == ["one two", "[half a list", None]
    assert tables.edges["User", "BOUGHT", "Product"].num_rows == 5


def test_chorus_loses_pictures_and_the_queries_that_were_not_asked_for(
    script: ModuleType, tmp_path: Path
) -> None:
    clone = tmp_path / "chorus"
    for part in range(1, 5):
        file = clone / script._PRODUCTS.format(part)
        file.parent.mkdir(parents=True, exist_ok=True)
        product = {
            "id": str(part), "name": "N", "title": f"Lamp {part}", "short_description": "light",
            "supplier": "Alpha", "price": 100, "img_high": "http://nowhere", "attr_t_image_size": "large",
            "attr_t_colour": "red",
        }  # fmt: skip
        with zipfile.ZipFile(file, "w") as packed:
            packed.writestr(f"{part}.json", json.dumps([product]))
    judged = clone / script._JUDGED
    judged.parent.mkdir(parents=True)
    judged.write_text("query,docid,rating\nlamp,1,3\nlamp,2,0\nother,3,3\n", encoding="utf-8")

    script.chorus(clone, tmp_path, {"lamp"})
    folder = tmp_path / "chorus_icecat"
    with gzip.open(folder / "products.jsonl.gz", "rt", encoding="utf-8") as lines:
        assert all({"img_high", "attr_t_image_size"}.isdisjoint(json.loads(line)) for line in lines)
    suite = load_suite("chorus")
    assert isinstance(suite, SearchSuite)
    task = search_task(suite, folder, tmp_path / "snapshot")
    assert task.snapshot.texts("Product")[0] == "Lamp 1 [SEP] Alpha [SEP] red"
    task.open_test()
    assert task.judgements.queries == ["lamp"]


def test_what_is_missing_is_named(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(["chorus", str(tmp_path), str(tmp_path)]) == 2
    assert "1.json.zip" in capsys.readouterr().err
    assert not (tmp_path / "chorus_icecat").exists()
