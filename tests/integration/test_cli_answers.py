"""What a bundle answers, from the command line: the same as from Python, and one clear message otherwise."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from _bundle import random_bundle

from kgdistill.cli import main
from kgdistill.cli.asking import purchases_in
from kgdistill.errors import InputError
from kgdistill.serve.bundle import Bundle, load_bundle
from kgdistill.serve.diverse import DEPTH, diversified
from kgdistill.serve.personal import SHARE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = random_bundle(300, dim=6, text=True, pool="warm")
    made.save(tmp_path_factory.mktemp("bundles") / "bundle")
    return tmp_path_factory.getbasetemp() / "bundles0" / "bundle"


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return load_bundle(folder)


def told(args: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main([*args, "--bundle", str(folder), "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


WHERE = [
    "--where",
    "price=..9",
    "--where",
    "stock=true",
    "--where",
    "brand=brand3",
    "--where",
    "brand=BRAND4",
]
SAME = {"price": (None, 9.0), "stock": True, "brand": ["brand3", "brand4"]}


def test_the_commands_answer_as_python_does(
    folder: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = bundle.keys[:2]
    for args, want in (
        (["search", "red tea 17"], bundle.search("red tea 17", 10)),
        (["search", "red tea 17", "-k", "3", *WHERE], bundle.search("red tea 17", 3, where=SAME)),
        (["search", "gren tea under 9", "--facets", "filter"],
         bundle.search("gren tea under 9", 10, facets="filter")),
        (["search", "gren brand3", "--as-typed"], bundle.search("gren brand3", 10, spelling=False)),
        (["search", "red tea", "--history", f"{first},{second}"],
         bundle.search("red tea", 10, history=[first, second], share=SHARE)),
        (["search", "red tea", "--history", first, "--share", "1", "--recommender", str(folder)],
         bundle.search("red tea", 10, history=[first], share=1)),
        (["similar", first], bundle.similar(first, 10)),
        (["similar", first, *WHERE], bundle.similar(first, 10, where=SAME)),
        (["recommend", "--history", f"{first},{second}"],
         bundle.recommend([first, second], 10, reasons=True)),
        (["recommend", "--history", first, "--pool", "all", *WHERE],
         bundle.recommend([first], 10, where=SAME, pool="all", reasons=True)),
        (["recommend", "--pool", "cold"], bundle.recommend(k=10, pool="cold")),
        (["recommend", "--history", first, "--diversity", "0.9"],
         diversified(bundle, bundle.recommend([first], 10 * DEPTH, reasons=True), 10, 0.9)),
    ):  # fmt: skip
        answer = told(args, folder, capsys)
        assert answer["basis"] == want.basis
        assert answer["score_is"] == "rank only"
        assert answer["hits"] == [hit._asdict() for hit in want]
        assert want


def test_a_search_says_what_it_made_of_the_text(
    folder: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = "gren tea brand3 between 2 and 9"
    answer = told(["search", asked, "--history", f"{bundle.keys[0]},nobody"], folder, capsys)
    assert answer["corrections"] == [{"typed": "gren", "searched": "green"}]
    assert answer["facets"] == [
        {"field": "brand", "value": "brand3", "least": None, "most": None, "text": "brand3"},
        {"field": "price", "value": None, "least": 2.0, "most": 9.0, "text": "between 2 and 9"},
    ]
    assert answer["notes"] == [
        "searched for green instead of gren; --as-typed searches for what was typed",
        "'brand3' is read as brand brand3",
        "'between 2 and 9' is read as price from 2 up to 9",
        "what is so comes further ahead; --facets filter leaves out the rest",
        "unknown in --history: nobody",
    ]
    assert answer["rests_on"].endswith("; and on what was bought before (--share 0.1)")
    strange = told(["search", "tea hobbitses"], folder, capsys)
    assert strange["missing"] == ["hobbitses"]
    assert "no item has 'hobbitses': found is what fits the rest" in strange["notes"]
    plain = told(["search", "tea", "--history", "nobody"], folder, capsys)
    assert plain["missing"] == []
    assert (plain["corrections"], plain["facets"]) == ([], [])
    assert "bought" not in plain["rests_on"]


def test_another_bundle_knows_the_history_of_a_search(
    folder: Path, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mute = Bundle(bundle.config, bundle.items, text=bundle.text, search=bundle.search_index)
    mute.save(tmp_path / "mute")
    asked = ["search", "red tea", "--history", bundle.keys[0], "--share", "1"]
    assert main([*asked, "--bundle", str(tmp_path / "mute")]) == 2
    assert "knows nothing of what was bought" in capsys.readouterr().err
    answer = told([*asked, "--recommender", str(folder)], tmp_path / "mute", capsys)
    wanted = bundle.search("red tea", 10, history=bundle.keys[:1], share=1)
    assert [hit["id"] for hit in answer["hits"]] == [hit.id for hit in wanted]


def test_an_answer_says_how_it_was_made_diverse(
    folder: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = told(["recommend", "--history", bundle.keys[0], "--diversity", "0.4"], folder, capsys)
    assert "how unlike each is to those before (--diversity 0.4)" in answer["rests_on"]
    assert "unlike" not in told(["recommend", "--history", bundle.keys[0]], folder, capsys)["rests_on"]


def test_an_answer_is_shown_with_what_it_rests_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "red tea", "--bundle", str(folder)]) == 0
    said = capsys.readouterr()
    assert "category" in said.out
    assert "rests on the words that are shared" in said.err
    assert "no probability" in said.err
    assert main(["search", "xylophone", "--bundle", str(folder)]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "nothing fits that text\n")
    assert main(["search", "tea", "--bundle", str(folder), "--where", "brand=brandd3"]) == 0
    assert "no item has brand 'brandd3'; did you mean 'brand3'?" in capsys.readouterr().err
    assert main(["search", "tea", "--bundle", str(folder), "--where", "brand=Dutch"]) == 0
    assert "no item has brand 'Dutch'; there are: brand" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["search", "tea", "--where", "brnd=x"], "no property 'brnd'"),
        (["search", "tea", "--where", "price"], "'price' is no KEY=VALUE"),
        (["search", "tea", "--where", "price=cheap"], "price is a number; 'cheap' is none"),
        (["search", "tea", "--where", "price=10 .. 5"], "write 5..10"),
        (["search", "tea", "--where", "price=1..x"], "'x' is none"),
        (["search", "tea", "--where", "price=nan"], "'nan' is none"),
        (["search", "tea", "--where", "stock=perhaps"], "stock is true or false"),
        (["similar", "nobody"], "knows no item 'nobody'"),
        (["classify", "tea"], "made for 'recommend'; it cannot tell classes"),
        (["classify"], "give a TEXT, --history, --event or --fact"),
        (["classify", "--fact", "BOUGHT"], "is no RELATIONSHIP=ID"),
        (["recommend", "--pool", "tepid"], "no pool 'tepid'"),
        (["recommend", "--task", "search"], "was made for 'recommend', not for 'search'"),
        (["search", "tea", "--task", "recomend"], "recomend"),
        (["search", "tea", "--run", "none"], "give one of: --run, --bundle"),
        (["search", "tea", "--facets", "on"], "'on' is not one of 'boost', 'filter', 'off'"),
        (
            ["search", "tea", "--history", "7", "--share", "2"],
            "'--share': Input should be less than or equal to 1",
        ),
        (["search", "tea", "--user", "7"], "a bundle knows no users"),
        (["search", "tea", "--history", ""], "an id is empty"),
        (["search", "tea", "--history", "7", "--recommender", "none"], "none: is not there"),
    ],
)
def test_what_cannot_be_answered_is_one_message(
    args: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*args, "--bundle", str(folder)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert "Traceback" not in said.err


def test_a_bundle_of_the_named_task_is_asked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(["recommend", "--task", "recommend"], folder, capsys)["hits"]


def test_another_pool_is_named_only_where_it_holds_more(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "no product is left to recommend among what --where leaves"
    for pool, end in (("warm", "; try --pool all"), ("all", "")):
        nothing = ["--where", "price=900000..", "--pool", pool]
        assert main(["recommend", "--bundle", str(folder), *nothing]) == 0
        assert capsys.readouterr().err.endswith(f"{said}{end}\n")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["search", "tea", "--recommender", "."], "--recommender: goes with --user, --history or --event"),
        (["search", "tea", "--share", "2"], "--share"),
        (["search", "tea", "--share", "nan"], "--share"),
        (["recommend", "--new", "1", "--pool", "warm"], "--pool: warm leaves out what --new asks for"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(
    args: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*args, "--bundle", str(folder)]) == 2
    assert said in capsys.readouterr().err


def test_a_share_of_nothing_is_nothing_to_rest_on(
    folder: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = told(["search", "tea", "--history", bundle.keys[0], "--share", "0"], folder, capsys)
    assert "bought" not in answer["rests_on"]


def test_a_bundle_where_a_run_belongs_is_named_for_what_it_is(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for args in (["search", "tea"], ["recommend"]):
        assert main([*args, "--run", str(folder)]) == 2
        assert f"is a bundle\n  --bundle {folder}" in capsys.readouterr().err
    shutil.copytree(folder, tmp_path / "run" / "bundle")
    (tmp_path / "run" / "config.json").write_text("{}", "utf-8")
    assert main(["search", "tea", "--bundle", str(tmp_path / "run")]) == 2
    assert f"is a run\n  --run {tmp_path / 'run'}" in capsys.readouterr().err


def test_lines_end_at_line_feeds_alone(tmp_path: Path) -> None:
    file = tmp_path / "bought.jsonl"
    file.write_bytes('\ufeff{"product": "a\u2028b", "at": "2024-03-01"}\r\n\n{"product": "c"}\n'.encode())
    with pytest.raises(InputError, match="line 3 is no product with its time"):
        purchases_in(file)
    file.write_bytes(file.read_bytes()[:-17])
    assert purchases_in(file) == [("a\u2028b", "2024-03-01")]
    file.write_bytes(b"\xff")
    with pytest.raises(InputError, match="is no text in UTF-8") as raised:
        purchases_in(file)
    assert raised.value.where == f"--purchases {file}"
