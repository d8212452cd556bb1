"""Paths of categories whose names are parted by more than one sign."""

from __future__ import annotations

from pathlib import Path

import pytest

from kgdistill.ingest.mapping.load import parse_mapping
from kgdistill.ingest.propose.propose import Preview, preview, propose
from kgdistill.store.schema import load_schema

SCHEMA = load_schema()


def tried(folder: Path, paths: list[str], heading: str = "category") -> tuple[list[str], Preview]:
    """What is in doubt about these paths, and what comes of them."""
    lines = (f's{i},"{path}"\n' for i, path in enumerate(paths))
    (folder / "items.csv").write_text(f"sku,{heading}\n" + "".join(lines), encoding="utf-8")
    yaml = propose([folder / "items.csv"], SCHEMA)
    shown = preview(parse_mapping(yaml), SCHEMA, folder, 50)
    assert shown.rejects.to_pylist() == []
    told = [line.partition(f"# ? {heading}: ")[2] for line in yaml.splitlines()]
    return [doubt for doubt in told if doubt], shown


def tree(shown: Preview) -> set[str]:
    return {row["category_id"] for row in shown.examples["Category"].to_pylist()}


@pytest.mark.parametrize(
    ("paths", "mark", "sign"),
    [
        (["Food > Tea", "Home > Pots", "Food > Oil", "Home/Mugs", "Food/Rice"], " > ", "/"),
        (["Food > Tea", "Home > Pots", "Food > Oil", "Home>Mugs", "Food>Rice"], " > ", ">"),
        (["Food/Tea", "Home/Pots", "Food/Oil", "Home > Mugs", "Food > Rice"], "/", ">"),
        # None is that of most.
        (["Food > Tea", "Home > Pots", "Food > Oil", "Home/Mugs", "Food/Rice", "Home"], " > ", "/"),
    ],
)
def test_signs_that_part_the_same_tree_are_one(
    tmp_path: Path, paths: list[str], mark: str, sign: str
) -> None:
    doubts, shown = tried(tmp_path, paths)
    assert tree(shown) == {"Food > Tea", "Home > Pots", "Food > Oil", "Home > Mugs", "Food > Rice"}
    assert {row["department_id"] for row in shown.examples["Department"].to_pylist()} == {"Food", "Home"}
    texts = [row["category_text"] for row in shown.examples["Product"].to_pylist()]
    assert texts[3:5] == ["Home > Mugs", "Food > Rice"]
    assert doubts == [
        f'2 of {len(paths)} values, such as {paths[3]}, hold {sign} and not "{mark}";'
        " they are read as paths of the same tree"
    ]


@pytest.mark.parametrize(
    "paths",
    [
        # They begin as no other path does.
        ["Food > Tea", "Home > Pots", "Food > Oil", "TV/Audio"],
        # What one value without any sign tells is no tree yet.
        ["Food > Tea", "Food > Pots", "Food > Oil", "Home/Garden", "Home"],
        ["Food > Tea", "Food > Pots", "Food > Oil", "Home/Garden", "Home", "Home/Garden", "Food > Rice"],
        # In a path of the other kind the sign is part of a name.
        ["Food > Tea", "Home > Pots/Pans", "Food > Oil", "Home/Mugs"],
    ],
)
def test_a_sign_that_may_be_part_of_a_name_is_asked(tmp_path: Path, paths: list[str]) -> None:
    doubts, shown = tried(tmp_path, paths)
    assert paths[3] in {row["department_id"] for row in shown.examples["Department"].to_pylist()}
    few = f"{paths.count(paths[3])} of {len(paths)} values"
    assert doubts == [
        f'{few}, such as {paths[3]}, hold / and not " > ", and are one category each; as paths too:'
        r' replace: {"\\s*/\\s*": " > "}'
    ]


def test_two_values_that_begin_as_one_without_a_sign_are_paths(tmp_path: Path) -> None:
    rows = ["Food > Tea", "Food > Pots", "Food > Oil", "Home/Garden", "Home/Pets", "Home"]
    doubts, shown = tried(tmp_path, rows)
    assert tree(shown) == {"Food > Tea", "Food > Pots", "Food > Oil", "Home > Garden", "Home > Pets"}
    assert "they are read as paths of the same tree" in doubts[0]


def test_signs_that_part_no_tree_make_no_paths(tmp_path: Path) -> None:
    doubts, shown = tried(tmp_path, ["Tea | Pots", "Cups/Mugs", "Oil", "Rice"])
    assert (doubts, tree(shown)) == ([], {"Tea | Pots", "Cups/Mugs", "Oil", "Rice"})


def test_blanks_between_names_leave_signs_within_them(tmp_path: Path) -> None:
    rows = ["Action Drama", "Drama Action", "Action Comedy", "Comedy Drama", "Drama/Comedy", "Action"]
    lines = "".join(f"s{i}\tFilm {i}\t{row}\n" for i, row in enumerate(rows))
    (tmp_path / "ml.item").write_text("item_id:token\ttitle:token_seq\tclass:token_seq\n" + lines)
    shown = preview(parse_mapping(propose([tmp_path / "ml.item"], SCHEMA)), SCHEMA, tmp_path)
    assert tree(shown) == {"Action", "Comedy", "Drama", "Drama/Comedy"}


LISTED = 'hold several paths with "{}" between; each counts, but for heads of others'


@pytest.mark.parametrize(
    ("paths", "between", "ends"),
    [
        (
            ["Food > Tea, Food", "Food > Oil, Home", "Home > Pots"],
            ",",
            ["Food > Tea", "Food > Oil", "Home > Pots"],
        ),
        (
            ["Obst/Äpfel;Obst", "Obst/Birnen;Obst", "Brot/Roggen"],
            ";",
            ["Obst > Äpfel", "Obst > Birnen", "Brot > Roggen"],
        ),
        (
            ["家居 > 茶具 | 家居", "家居 > 花瓶 | 家居", "食品 > 茶叶"],
            "|",
            ["家居 > 茶具", "家居 > 花瓶", "食品 > 茶叶"],
        ),
        # Few are deep, and still they are paths.
        (["Tea, Sale", "Sale, Tea", "Oil, Sale", "Tea > Green, Tea"], ",", ["Tea > Green"]),
        ([r"Home\, Garden > Pots", "Home > Tea"], ",", ["Home, Garden > Pots", "Home > Tea"]),
    ],
)
def test_values_with_several_paths_are_one_each(
    tmp_path: Path, paths: list[str], between: str, ends: list[str]
) -> None:
    doubts, shown = tried(tmp_path, paths)
    edges = shown.examples["Product", "IN_CATEGORY", "Category"].to_pylist()
    assert [row["target"] for row in edges] == ends
    some = [path for path in paths if between in path.replace("\\,", "")]
    told = f"{len(some)} of {len(paths)} values, such as {paths[0]}, {LISTED.format(between)}"
    assert doubts == ([told] if some else [])
    texts = [row["category_text"] for row in shown.examples["Product"].to_pylist()]
    assert texts == [path.replace("\\,", ",").replace("/", " > ") for path in paths]


@pytest.mark.parametrize(
    "paths",
    [
        ["Home, Garden > Pots", "Toys, Games > Dice", "Food > Tea"],
        # Most of them are names that hold a comma.
        ["Home, Garden > Pots", "Toys, Games > Dice", "Food > Tea, Food"],
    ],
)
def test_a_comma_within_names_parts_no_paths(tmp_path: Path, paths: list[str]) -> None:
    doubts, shown = tried(tmp_path, paths)
    assert (doubts, "Home, Garden > Pots" in tree(shown)) == ([], True)


def test_what_is_cut_without_a_sign_of_a_path_is_counted(tmp_path: Path) -> None:
    doubts, shown = tried(tmp_path, ["Food > Tea, Food", "Food > Oil, Food", "Toys, Games > Dice"])
    assert doubts[1:] == [
        '1 of 3 values, such as Toys, Games > Dice, are cut at "," too, though no part of theirs begins as'
        " another path does"
    ]
    assert "Games > Dice" in tree(shown)


def test_a_name_with_which_all_of_several_paths_begin_is_no_department(tmp_path: Path) -> None:
    rows = [
        "All (1)/Tea,All (1)",
        "All (1) , All (1) / Oil",
        "All (1)",
        "All (1)/Tea,All (1),All (1)/Tea/Green",
    ]
    doubts, shown = tried(tmp_path, rows)
    assert doubts[1:] == ["all paths begin with All (1), which is left out"]
    assert {row["department_id"] for row in shown.examples["Department"].to_pylist()} == {"Tea", "Oil"}
    assert tree(shown) == {"Tea > Green"}
    one, _ = tried(tmp_path, ["Food > Tea, Food", "Food > Tea, Food"])
    assert len(one) == 1


def test_names_that_are_no_path_are_parted_by_several_signs_too(tmp_path: Path) -> None:
    rows = ["Action|Drama", "Drama|Action", "Action|Comedy", "Comedy|Drama", "Drama/Comedy", "Action"]
    doubts, shown = tried(tmp_path, rows, "genres")
    assert tree(shown) == {"Action", "Comedy", "Drama"}
    assert len(doubts) == 1
