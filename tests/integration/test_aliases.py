"""Nodes that go by several names: what an alias file says, and the graph that comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from _jobs import SCHEMA, graph, ingest, rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kgdistill.cli import main
from kgdistill.errors import InputError, SchemaError
from kgdistill.graphcheck import inspect_graph, write_aliases
from kgdistill.ingest.alias_file import read_aliases
from kgdistill.ingest.aliases import joined, resolved, spelled
from kgdistill.ingest.archive import Archive
from kgdistill.ingest.job import graph_tables
from kgdistill.ingest.mapping.load import Mapping, load_mapping
from kgdistill.ingest.projection import rebuild
from kgdistill.store import load_schema, open_store

MADE_BY = ("Product", "MADE_BY", "Brand")
_MAPPING = """
version: 1
name: shop
{aliases}
sources:
  products:
    files: "*.csv"
    nodes:
      - {{label: Product, key: id, properties: {{title: title, brand_text: brand}}}}
      - {{label: Brand, key: brand, properties: {{name: brand}}}}
    relationships:
      - {{type: MADE_BY, from: {{Product: id}}, to: {{Brand: brand}}}}
"""


def mapping(folder: Path, aliases: str | None = None) -> Mapping:
    """The mapping of `folder/files`; `aliases` is what its alias file holds, None: it names none."""
    if aliases is not None:
        (folder / "brands.csv").write_text(aliases, encoding="utf-8")
    text = _MAPPING.format(aliases="" if aliases is None else "aliases: {Brand: brands.csv}")
    (folder / "shop.yaml").write_text(text, encoding="utf-8")
    return load_mapping(folder / "shop.yaml")


def products(folder: Path, name: str, brands: list[str]) -> None:
    (folder / "files").mkdir(exist_ok=True)
    lines = "".join(f"{name}{i},Pan {i},{brand}\n" for i, brand in enumerate(brands))
    (folder / "files" / f"{name}.csv").write_text(f"id,title,brand\n{lines}", encoding="utf-8")


SUPOR = "alias,name\nSUPOR,苏泊尔\n苏泊尔（SUPOR）,苏泊尔\n"


@pytest.mark.parametrize("url", ["memory:", "ladybug:{}"])
def test_rows_of_every_spelling_are_one_node_and_twice_is_once(url: str, tmp_path: Path) -> None:
    products(tmp_path, "a", ["苏泊尔", "SUPOR", "Supor ", "ＳＵＰＯＲ", "苏泊尔（SUPOR）", "Mill"])
    with open_store(url.format(tmp_path / "db")) as store:
        for state in ("done", "unchanged"):
            report = ingest(store, tmp_path / "files", tmp_path / "x", mapping=mapping(tmp_path, SUPOR))
            assert report.state == state
            assert rows(store, "Brand") == [
                {"brand_id": "Mill", "name": "Mill"},
                {"brand_id": "苏泊尔", "name": "苏泊尔"},
            ]
            assert [edge["target"] for edge in rows(store, MADE_BY)] == ["苏泊尔"] * 5 + ["Mill"]
            assert [item["brand_text"] for item in rows(store, "Product")] == ["苏泊尔"] * 5 + ["Mill"]
            if state == "done":
                merged = report.applied.merged["Brand"]
                # Four spellings beside the name, each in a node's row and in a fact's.
                assert (merged.spellings, merged.rows, merged.names) == (4, 8, 1)


def test_aliases_that_come_later_merge_what_is_there_and_taken_away_part_it(tmp_path: Path) -> None:
    products(tmp_path, "a", ["苏泊尔", "SUPOR", "Mill"])
    files, archive = tmp_path / "files", tmp_path / "x"
    with open_store("memory:") as store:
        ingest(store, files, archive, mapping=mapping(tmp_path))
        before = graph(store)
        # The export is gone; what it gave is merged all the same.
        (files / "a.csv").unlink()
        products(tmp_path, "b", ["SUPOR"])
        report = ingest(store, files, archive, mapping=mapping(tmp_path, SUPOR))
        assert [node["brand_id"] for node in rows(store, "Brand")] == ["Mill", "苏泊尔"]
        assert [edge["target"] for edge in rows(store, MADE_BY)] == ["苏泊尔", "苏泊尔", "Mill", "苏泊尔"]
        assert report.applied.removed == {"Brand": 1, "Product-MADE_BY-Brand": 1}
        assert [item["brand_text"] for item in rows(store, "Product")] == [
            "苏泊尔",
            "苏泊尔",
            "Mill",
            "苏泊尔",
        ]
        (files / "b.csv").write_text("id,title,brand\n")
        ingest(store, files, archive, mapping=mapping(tmp_path, "alias,name\n"))
        assert rows(store, MADE_BY)[:3] == before["Product-MADE_BY-Brand"].to_pylist()
        assert [item["brand_text"] for item in rows(store, "Product")][:3] == ["苏泊尔", "SUPOR", "Mill"]
        assert [node["brand_id"] for node in rows(store, "Brand")] == ["Mill", "SUPOR", "苏泊尔"]


def test_a_path_that_was_the_key_is_that_of_the_name(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    text = "id,path\n1,Boeken > Fictie\n2,本 > 小説\n3,本 > 漫画\n"
    (tmp_path / "files" / "a.csv").write_text(text, encoding="utf-8")
    (tmp_path / "c.csv").write_text("alias,name\n本 > 小説,Boeken > Fictie\n", encoding="utf-8")
    (tmp_path / "shop.yaml").write_text(
        "version: 1\nname: shop\naliases: {Category: c.csv}\nsources:\n  p:\n    files: '*.csv'\n"
        "    nodes: [{label: Product, key: id}]\n    trees:\n"
        "      - {label: Category, path: {column: path, split: ' > '}, from: {Product: id}}\n",
        encoding="utf-8",
    )
    with open_store("memory:") as store:
        store.apply_schema(load_schema())
        told = load_mapping(tmp_path / "shop.yaml")
        ingest(store, tmp_path / "files", tmp_path / "x", mapping=told, schema=load_schema())
        paths = {node["category_id"]: (node["name"], node["path"]) for node in rows(store, "Category")}
    assert paths["Boeken > Fictie"] == ("Fictie", "Boeken > Fictie")
    assert paths["本 > 漫画"] == ("漫画", "本 > 漫画")
    assert "本 > 小説" not in paths


def test_keys_that_are_no_names_keep_the_name_of_the_one_that_counts(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    text = "id,title,brand,called\n1,Pan,b1,SUPOR\n2,Pot,b2,苏泊尔\n"
    (tmp_path / "files" / "a.csv").write_text(text, encoding="utf-8")
    mapping(tmp_path, "alias,name\nb1,b2\n")
    text = (tmp_path / "shop.yaml").read_text(encoding="utf-8").replace("{name: brand}", "{name: called}")
    (tmp_path / "shop.yaml").write_text(text, encoding="utf-8")
    told = load_mapping(tmp_path / "shop.yaml")
    found = graph_tables(told, tmp_path / "files", schema=SCHEMA)
    assert found.nodes["Brand"].select(["brand_id", "name"]).to_pylist() == [
        {"brand_id": "b2", "name": "苏泊尔"}
    ]


def test_words_for_a_brand_are_its_name_where_they_are_no_key(tmp_path: Path) -> None:
    """From a file that tells of no brands, and only where they are nothing but a name of one."""
    (tmp_path / "files").mkdir()
    text = "id,title,brand\n1,SUPOR pan,supor\n2,Pot,SUPOR pots\n3,Lid,\n"
    (tmp_path / "files" / "a.csv").write_text(text, encoding="utf-8")
    mapping(tmp_path, SUPOR)
    text = (tmp_path / "shop.yaml").read_text(encoding="utf-8")
    text = text[: text.index("      - {label: Brand")]
    (tmp_path / "shop.yaml").write_text(text, encoding="utf-8")
    told = load_mapping(tmp_path / "shop.yaml")
    found = graph_tables(told, tmp_path / "files", schema=SCHEMA).nodes["Product"]
    assert found.select(["title", "brand_text"]).to_pylist() == [
        {"title": "SUPOR pan", "brand_text": "苏泊尔"},
        {"title": "Pot", "brand_text": "SUPOR pots"},
        {"title": "Lid", "brand_text": None},
    ]


NAMES = ["苏泊尔", "SUPOR", "Supor", "Mill", "MILL", "Acme"]


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(
    jobs=st.lists(
        st.tuples(
            st.sampled_from("ab"),
            st.lists(st.sampled_from(NAMES), max_size=4),
            st.dictionaries(st.sampled_from(NAMES), st.sampled_from(NAMES), max_size=2),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_jobs_one_by_one_lead_to_what_the_last_aliases_make_of_everything(
    jobs: list[tuple[str, list[str], dict[str, str]]], tmp_path_factory: Any
) -> None:
    folder = tmp_path_factory.mktemp("aliases")
    made: dict[str, str] = {}
    with open_store("memory:") as store:
        for name, brands, aliases in jobs:
            try:
                names = resolved(list(aliases.items()), "")
            except InputError:
                continue
            products(folder, name, brands)
            made |= {f"{name}{i}": brand for i, brand in enumerate(brands)}
            told = mapping(folder, "alias,name\n" + "".join(f"{a},{n}\n" for a, n in aliases.items()))
            ingest(store, folder / "files", folder / "x", mapping=told)
            known = {spelled(name): name for name in names.values()}
            known |= {spelled(alias): name for alias, name in names.items()}
            wanted = {product: known.get(spelled(brand), brand) for product, brand in made.items()}
            assert {edge["source"]: edge["target"] for edge in rows(store, MADE_BY)} == wanted
            assert {item["product_id"]: item["brand_text"] for item in rows(store, "Product")} == wanted
            held = {node["brand_id"] for node in rows(store, "Brand")}
            assert held >= set(wanted.values())
            assert not {brand for brand in held if known.get(spelled(brand), brand) != brand}
        if made:
            with open_store("memory:") as anew:
                rebuild(anew, Archive(folder / "x"))
                assert graph(anew) == graph(store)


@given(st.dictionaries(st.sampled_from("abcde"), st.sampled_from("abcdefg"), max_size=5))
def test_a_chain_ends_or_is_a_circle(aliases: dict[str, str]) -> None:
    def end(name: str) -> str | None:
        seen = [name]
        while aliases.get(seen[-1], seen[-1]) != seen[-1]:
            seen.append(aliases[seen[-1]])
            if seen[-1] in seen[:-1]:
                return None
        return seen[-1]

    ends = {alias: end(alias) for alias in aliases}
    if None in ends.values():
        with pytest.raises(InputError, match="lead in a circle"):
            resolved(list(aliases.items()), "here")
    else:
        assert resolved(list(aliases.items()), "here") == ends


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("alias,name\nA,B\nB,C\nC,A\n", "aliases lead in a circle: 'A' -> 'B' -> 'C' -> 'A'"),
        ("alias,name\nA,B\n\nA,B\n", "line 4: the alias 'A' stands twice, first in line 2"),
        ("alias,name\nSUPOR,B\nsupor,C\n", "'supor' is 'C', but 'SUPOR' is 'B'"),
        ("alias,name\nA\n", "line 2: holds A, not an alias and a name"),
        ("alias,name\nA,\n", "line 2: holds A, , not an alias and a name"),
        ("alias,name\nA,B,C\n", "line 2: holds A, B, C, not an alias and a name"),
        ("A,B\n", "line 1: has the columns A, B, not alias, name"),
        ("", "line 1: is empty"),
        ('alias,name\n"A"x,B\n', "line 2: is not CSV"),
    ],
)
def test_an_alias_file_that_is_none_is_one_clear_error(text: str, error: str, tmp_path: Path) -> None:
    products(tmp_path, "a", ["A"])
    told = mapping(tmp_path, text)
    with open_store("memory:") as store, pytest.raises(InputError) as found:
        ingest(store, tmp_path / "files", tmp_path / "x", mapping=told)
    assert error in f"{found.value.where}: {found.value.message}"
    assert str(tmp_path / "brands.csv") in str(found.value.where)
    assert main(["ingest", "run", str(tmp_path / "shop.yaml"), str(tmp_path / "files"), "--dry-run"]) == 2


def test_files_of_yaml_and_what_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "brands.yaml"
    file.write_text("SUPOR: 苏泊尔\n苏泊尔（SUPOR）: SUPOR\n", encoding="utf-8")
    assert read_aliases(file) == {"SUPOR": "苏泊尔", "苏泊尔（SUPOR）": "苏泊尔"}
    file.write_text("SUPOR: 苏泊尔\nSUPOR: x\n", encoding="utf-8")
    with pytest.raises(InputError, match="'SUPOR' stands twice"):
        read_aliases(file)
    file.write_text("SUPOR: [苏泊尔]\n", encoding="utf-8")
    with pytest.raises(InputError, match="is not a text for each text"):
        read_aliases(file)
    file.write_bytes("SUPOR: 苏泊尔\n海尔: 海尔集团\n".encode("gb18030"))
    assert read_aliases(file) == {"SUPOR": "苏泊尔", "海尔": "海尔集团"}
    with pytest.raises(InputError, match="there is no such alias file"):
        read_aliases(tmp_path / "none.csv")
    told = mapping(tmp_path, SUPOR).model_copy(update={"aliases": {"Brnd": str(file)}})
    with pytest.raises(SchemaError, match="unknown label 'Brnd'\n  did you mean 'Brand'"):
        told.read_aliases(SCHEMA, tmp_path)
    with pytest.raises(InputError, match="'a' is 'c', but 'a' is 'b'"):
        joined([{"Brand": {"a": "b"}}, {"Brand": {"a": "c"}}], "two mappings")


def test_what_graph_check_drafts_merges_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KGDISTILL_ARCHIVE", raising=False)
    products(
        tmp_path,
        "a",
        ["苏泊尔", "SUPOR", "SUPOR", "Supor", "苏泊尔（SUPOR）", "小米 Redmi", "红米 Redmi", "Mill"],
    )
    mapping(tmp_path)
    store = ["--store", "ladybug:shop.db"]
    assert main(["ingest", "run", "shop.yaml", "files", *store]) == 0
    assert main(["graph", "check", *store, "--aliases", "brands.csv"]) == 0
    assert "aliases: {Brand: brands.csv}" in capsys.readouterr().err
    assert read_aliases(Path("brands.csv")) == dict.fromkeys(["苏泊尔", "Supor", "苏泊尔（SUPOR）"], "SUPOR")
    assert main(["graph", "check", *store, "--aliases", "brands.csv"]) == 2
    mapping(tmp_path, Path("brands.csv").read_text(encoding="utf-8"))
    assert main(["ingest", "run", "shop.yaml", "files", *store]) == 0
    assert "Brand: 3 other spellings in 6 rows count for 1 name" in capsys.readouterr().err
    assert main(["store", "verify", *store]) == 0
    assert main(["graph", "check", *store, "--aliases", "again.csv"]) == 0
    assert "there is nothing to draft" in capsys.readouterr().err
    assert not Path("again.csv").exists()
    with open_store("ladybug:shop.db") as opened:
        assert inspect_graph(opened, SCHEMA).aliases == []
    with pytest.raises(InputError, match="exists already"):
        write_aliases([("a", "b")], Path("brands.csv"))
