"""`kgdistill task`, and a task beside a schema and a graph: what they lack is named, with the nearest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from _shop import fill_shop

from kgdistill.cli import main
from kgdistill.errors import InputError
from kgdistill.store import GraphStore, MemoryStore, Schema, load_schema, open_store
from kgdistill.tasks.check import GraphCounts, check_graph, check_task
from kgdistill.tasks.propose import propose_task
from kgdistill.tasks.spec import load_task, parse_task, task_names

SCHEMA = load_schema()
MATCH = """\
kind: match
anchors: {label: User, by: history}
candidates: {label: Product, by: [history, text]}
positives: {event: BOUGHT}
output: RECOMMENDED
"""
SEARCH = """\
kind: match
anchors: {label: Query, by: text}
candidates: {label: Product, by: text}
positives: {synthetic: catalogue}
judged_by: JUDGED
"""
CLASSIFY = """\
kind: classify
subjects: {label: User, by: history, history: BOUGHT}
targets: {income: {property: income}}
"""


@pytest.fixture(scope="module")
def store() -> Iterator[GraphStore]:
    with MemoryStore() as held:
        fill_shop(held)
        yield held


@pytest.mark.parametrize("name", sorted({*task_names()} - {"basket"}))
def test_the_projects_own_tasks_stand_with_its_schema(name: str) -> None:
    check_task(load_task(name), SCHEMA)


def test_the_next_basket_needs_every_event_in_the_graph() -> None:
    with pytest.raises(InputError, match=r"one BOUGHT of a pair, its first(?s:.*)identity: \[at\]"):
        check_task(load_task("basket"), SCHEMA)
    raw = SCHEMA.model_dump()
    at = {"at": {"type": "timestamp", "required": True}}
    raw["relationships"]["BOUGHT"] |= {"time": "at", "identity": ["at"], "properties": at}
    check_task(load_task("basket"), Schema.model_validate(raw))


@pytest.mark.parametrize(
    ("text", "old", "new", "place", "says"),
    [
        (MATCH, "label: User", "label: Usr", "anchors.label", "no label 'Usr'\n  did you mean 'User'?"),
        (MATCH, "label: Product", "label: Embedding", "candidates.label", "no label 'Embedding'"),
        (MATCH, "BOUGHT", "BOUGTH", "positives.event", "no event 'BOUGTH'\n  did you mean 'BOUGHT'?"),
        (MATCH, "BOUGHT", "MADE_BY", "positives.event", "of the kind fact, which has no time"),
        (MATCH, "BOUGHT", "SAW", "positives.event", "does not lead from User to Product"),
        (MATCH, "event: BOUGHT", "event: BOUGHT, reverse: true", "positives.event", "(User)-[BOUGHT]->"),
        (
            MATCH,
            "event: BOUGHT",
            "event: BOUGHT, weights: {VIEWD: 0.2}",
            "positives.weights.VIEWD",
            "'VIEWED'",
        ),
        (MATCH, "RECOMMENDED", "RECOMENDED", "output", "did you mean 'RECOMMENDED'?"),
        (MATCH, "RECOMMENDED", "BOUGHT", "output", "of the kind event, where output is asked"),
        (MATCH, "by: history}", "by: text}", "anchors.by", "names no text of User"),
        (MATCH, "by: history}", "by: history, history: SERCHED}", "anchors.history", "'SEARCHED'?"),
        (MATCH, "[history, text]}", "history, history: SAW}", "candidates.history", "does not touch Product"),
        (
            MATCH,
            "event: BOUGHT}",
            "relationship: MADE_BY}\nprotocol: {split: held_out}",
            "positives.relationship",
            "does not lead from User to Product",
        ),
        (
            MATCH,
            "event: BOUGHT}",
            "event: BOUGHT}\nprotocol: {split: given, property: prt}",
            "protocol.property",
            "User has no property 'prt'",
        ),
        (
            MATCH,
            "event: BOUGHT}",
            "event: BOUGHT}\nprotocol: {split: given, property: cont, of: relationship}",
            "protocol.property",
            "did you mean 'count'?",
        ),
        (SEARCH, "JUDGED", "JUGED", "judged_by", "did you mean 'JUDGED'?"),
        (SEARCH, "label: Query", "label: Utterance", "judged_by", "does not lead from Utterance to Product"),
        (
            CLASSIFY,
            "property: income",
            "property: incom",
            "targets.income.property",
            "did you mean 'income'?",
        ),
        (CLASSIFY, "label: User", "label: Usr", "subjects.label", "did you mean 'User'?"),
        (
            CLASSIFY,
            "property: income",
            "relationship: HAS_INTENT",
            "targets.income.relationship",
            "does not lead from User",
        ),
        (
            CLASSIFY.replace("User", "Product").replace("income}", "price}"),
            "kind",
            "kind",
            "targets.income.property",
            "price is double",
        ),
    ],
)
def test_what_the_schema_lacks_is_named_with_the_nearest(
    text: str, old: str, new: str, place: str, says: str
) -> None:
    assert old in text
    with pytest.raises(InputError) as caught:
        check_task(parse_task(text.replace(old, new, 1)), SCHEMA, where="mine.yaml")
    assert says in str(caught.value)
    assert caught.value.where == f"mine.yaml: {place}"


TARGET = (Path(__file__).parents[2] / "graph" / "tasks" / "target.yaml").read_text(encoding="utf-8")
PAIR = ("User", "BOUGHT", "Product")
JUDGED = ("Query", "JUDGED", "Product")


@pytest.mark.parametrize(
    ("text", "counts", "place", "says"),
    [
        (MATCH, GraphCounts({"Product": 9}, {PAIR: 9}), "anchors", "has no User"),
        (MATCH, GraphCounts({"User": 9}, {PAIR: 9}), "candidates", "has no Product"),
        (MATCH, GraphCounts({"User": 9, "Product": 1}, {PAIR: 9}), "candidates", "has one Product"),
        (MATCH, GraphCounts({"User": 9, "Product": 9}, {PAIR: 0}), "positives", "nothing to learn from"),
        (TARGET, GraphCounts({"User": 9}, {PAIR: 9}), "anchors", "has no Campaign"),
        (CLASSIFY, GraphCounts({}, {}, {"income": 3}), "subjects", "has no User"),
        (CLASSIFY, GraphCounts({"User": 9}, {}, {"income": 1}), "targets.income", "only one class"),
        (CLASSIFY, GraphCounts({"User": 9}, {}, {"income": 0}), "targets.income", "no class"),
    ],
)
def test_what_the_graph_lacks_is_named(text: str, counts: GraphCounts, place: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        check_task(parse_task(text), SCHEMA, counts, where="mine.yaml")
    assert caught.value.where == f"mine.yaml: {place}"


def test_one_target_of_several_that_nobody_has_is_no_error() -> None:
    both = CLASSIFY.replace("income}}", "income}, age: {property: age}}")
    assert both != CLASSIFY
    check_task(parse_task(both), SCHEMA, GraphCounts({"User": 9}, {}, {"income": 2, "age": 0}))
    for counts, says in (({"income": 2, "age": 1}, "only one class of age"), ({}, "no class of income")):
        with pytest.raises(InputError, match=says):
            check_task(parse_task(both), SCHEMA, GraphCounts({"User": 9}, {}, counts))


def test_a_graph_is_counted(store: GraphStore) -> None:
    counts = check_graph(load_task("recommend"), store)
    assert counts.nodes == {"User": 60, "Product": 80}
    assert counts.edges == {PAIR: store.read_relationships(PAIR, []).num_rows}
    made_by = CLASSIFY.replace("User, by: history, history: BOUGHT", "Product, by: text")
    found = check_graph(parse_task(made_by.replace("property: income", "relationship: MADE_BY")), store)
    assert (found.nodes, found.classes) == ({"Product": 80}, {"income": 6})
    found = check_graph(parse_task(made_by.replace("property: income", "property: category_text")), store)
    assert found.classes == {"income": 6}
    with pytest.raises(InputError, match="no class of age"):
        check_graph(load_task("profile"), store)
    assert check_graph(load_task("search"), store).edges[JUDGED] == 0


GIVEN = """\
kind: classify
subjects: {label: Statement, by: text}
targets: {sentiment: {property: sentiment}}
protocol: {split: given, property: split}
"""


@pytest.mark.parametrize(
    ("splits", "says"),
    [
        ([None, None], "nothing has the property 'split'"),
        (["train", "dev"], "no value of 'split' means test (test); it holds 'dev', 'train'"),
        (["test", "fold 1"], "no value of 'split' means train (train); it holds 'fold 1', 'test'"),
        (["train", "test"], ""),
    ],
)
def test_a_given_split_that_the_graph_lacks_is_told_before_training(
    splits: list[str | None], says: str
) -> None:
    rows = [
        {"statement_id": str(i), "text": "good tea", "sentiment": mood, "split": split}
        for i, (mood, split) in enumerate(zip(["good", "bad"], splits, strict=True))
    ]
    with MemoryStore() as held:
        held.apply_schema(SCHEMA)
        held.write_nodes(
            "Statement", pa.Table.from_pylist(rows, schema=SCHEMA.node_arrow_schema("Statement"))
        )
        if not says:
            assert check_graph(parse_task(GIVEN), held).nodes == {"Statement": 2}
            return
        with pytest.raises(InputError) as caught:
            check_graph(parse_task(GIVEN), held, where="mine.yaml")
    assert says in str(caught.value)
    assert caught.value.where == "mine.yaml: protocol.property"
    assert ("else: held_out" in caught.value.hint) == (not any(splits))


def test_what_takes_the_place_of_a_given_split_is_said_before_training(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [{"statement_id": m, "text": "good tea", "sentiment": m} for m in ("good", "bad")]
    with MemoryStore() as held:
        held.apply_schema(SCHEMA)
        held.write_nodes(
            "Statement", pa.Table.from_pylist(rows, schema=SCHEMA.node_arrow_schema("Statement"))
        )
        task = GIVEN.replace("property: split}", "property: split, else: held_out}")
        assert check_graph(parse_task(task), held, where="mine.yaml").nodes == {"Statement": 2}
    assert "mine.yaml: No Statement has the property split: 20% of the Statements" in capsys.readouterr().err


def test_a_given_split_may_stand_on_a_relationship() -> None:
    raw = SCHEMA.model_dump()
    raw["relationships"]["ANSWERED_BY"]["properties"] = {"part": {"type": "int64"}}
    schema = Schema.model_validate(raw)
    edge, nodes = ("Question", "ANSWERED_BY", "Answer"), {"Question": "question_id", "Answer": "answer_id"}
    task = """\
kind: match
anchors: {label: Question, by: text}
candidates: {label: Answer, by: text}
positives: {relationship: ANSWERED_BY}
protocol: {split: given, of: relationship, property: part, train: ["0"], test: ["1"]}
"""
    with MemoryStore() as held:
        held.apply_schema(schema)
        for label, key in nodes.items():
            rows = [{key: "a", "text": "one"}, {key: "b", "text": "two"}]
            held.write_nodes(label, pa.Table.from_pylist(rows, schema=schema.node_arrow_schema(label)))
        ends = [{"source": "a", "target": "a", "part": 0}]
        held.write_relationships(edge, pa.Table.from_pylist(ends, schema=schema.edge_arrow_schema(edge)))
        with pytest.raises(InputError, match=r"no value of 'part' means test .* it holds '0'"):
            check_graph(parse_task(task), held)
        ends = [{"source": "b", "target": "b", "part": 1}]
        held.write_relationships(edge, pa.Table.from_pylist(ends, schema=schema.edge_arrow_schema(edge)))
        check_graph(parse_task(task), held)


VIEWED = ("User", "VIEWED", "Product")
WEIGHED = MATCH.replace("event: BOUGHT", "event: BOUGHT, weights: {VIEWED: 0.5}")


@pytest.mark.parametrize("back_to_front", [False, True])
def test_weighed_events_are_counted_and_told_where_they_can_say_nothing(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    back_to_front: bool,
) -> None:
    """The views lie as the purchases do: from users to products, or from products to users."""
    monkeypatch.chdir(tmp_path)
    ends, task = ("User", "Product"), WEIGHED
    if back_to_front:
        task = task.replace("label: User, by: history", "label: Product, by: history")
        task = task.replace("label: Product, by: [history, text]", "label: User, by: [history, text]")
        task = task.replace("weights:", "reverse: true, weights:").replace("output: RECOMMENDED\n", "")
    Path("task.yaml").write_text(task)
    raw = SCHEMA.restricted(ends, ("BOUGHT", "VIEWED", "RATED", "RECOMMENDED")).model_dump()
    raw["nodes"]["User"]["text"] = ["age"]
    raw["relationships"]["VIEWED"]["properties"]["first_at"]["required"] = False
    schema = Schema.model_validate(raw)
    here = ["--store", "ladybug:shop.db"]
    at = datetime(2024, 1, 1)

    def add(edge: tuple[str, str, str], source: str, target: str, when: datetime | None) -> None:
        row = {"source": source, "target": target, "first_at": when, "at": when}
        with open_store("ladybug:shop.db") as held:
            table = pa.Table.from_pylist([row], schema=schema.edge_arrow_schema(edge))
            held.write_relationships(edge, table)

    with open_store("ladybug:shop.db") as held:
        held.apply_schema(schema)
        held.write_nodes("User", pa.table({"user_id": ["u1", "u2"]}))
        held.write_nodes("Product", pa.table({"product_id": ["p1", "p2"], "title": ["a", "b"]}))
    add(PAIR, "u1", "p1", at)
    add(("User", "RATED", "Product"), "u1", "p1", at)
    _, err = run(capsys, "check", "task.yaml", *here, code=2)
    assert "task.yaml: positives.weights.VIEWED: the graph has no (User)-[VIEWED]->(Product)" in err
    assert "there is: BOUGHT, RATED" in err
    add(VIEWED, "u2", "p2", None)
    out, err = run(capsys, "check", "task.yaml", *here)
    assert "(User)-[VIEWED]->(Product)" in out
    assert "1 of 1 VIEWED have no time and are left out" in err
    asking = "Product" if back_to_front else "User"
    assert f"no {asking} has both BOUGHT and VIEWED" in err
    counts = json.loads(run(capsys, "check", "task.yaml", *here, "--json")[0])["counts"]
    assert counts["(User)-[VIEWED]->(Product)"] == 1
    assert counts["VIEWED without a time"] == 1
    assert counts[f"{asking} with BOUGHT and VIEWED"] == 0
    # One of its own side shares it: the other's is not enough.
    add(VIEWED, "u1", "p2", at)
    counts = json.loads(run(capsys, "check", "task.yaml", *here, "--json")[0])["counts"]
    assert counts[f"{asking} with BOUGHT and VIEWED"] == (0 if back_to_front else 1)
    add(VIEWED, "u2", "p1", at)
    counts = json.loads(run(capsys, "check", "task.yaml", *here, "--json")[0])["counts"]
    assert counts[f"{asking} with BOUGHT and VIEWED"] == 1
    out, err = run(capsys, "check", "task.yaml", *here)
    assert "has both" not in err


def test_of_weighed_events_that_the_graph_lacks_the_nearest_is_named() -> None:
    counts = GraphCounts({"User": 9, "Product": 9}, {PAIR: 9, VIEWED: 0, ("User", "REVIEWED", "Product"): 3})
    with pytest.raises(InputError, match="did you mean 'REVIEWED'") as caught:
        check_task(parse_task(WEIGHED), SCHEMA, counts, where="mine.yaml")
    assert caught.value.where == "mine.yaml: positives.weights.VIEWED"


def test_a_proposed_task_can_be_asked(store: GraphStore) -> None:
    for held in (None, store):
        text = propose_task(SCHEMA, held)
        spec = parse_task(text)
        assert spec.kind == "match"
        assert spec.interaction == PAIR
        check_graph(spec, store)
        assert ("1,020 in the graph" in text) == (held is not None)
        assert ("(User)-[VIEWED]->(Product)" in text) == (held is None)
        stars = "# positives: {event: BOUGHT, weights: {RATED: 0.5}, above: {RATED.rating: middle}}"
        assert (stars in text) == (held is None)
        named = [line for line in text.splitlines() if line.startswith(stars)]
        for line in named:
            check_task(
                parse_task(text.replace("positives: {event: BOUGHT}", line.removeprefix("# "))), SCHEMA
            )
    check_task(parse_task(propose_task(SCHEMA, kind="classify")), SCHEMA)
    with pytest.raises(InputError, match="no property in the graph has from 2 to 100 values"):
        propose_task(SCHEMA.restricted(("User",), ()), store, kind="classify")
    with pytest.raises(InputError, match="no event stands in the schema"):
        propose_task(SCHEMA.restricted(("User", "Product"), ()))


def run(capsys: pytest.CaptureFixture[str], *args: str, code: int = 0) -> tuple[str, str]:
    assert main(["task", *args]) == code
    said = capsys.readouterr()
    return said.out, said.err


def test_tasks_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = run(capsys, "list")
    assert all(name in out for name in task_names())
    listed = json.loads(run(capsys, "list", "--json")[0])
    assert [task["name"] for task in listed] == task_names()
    out, _ = run(capsys, "show", "recommend")
    assert parse_task(out, name="recommend") == load_task("recommend")
    shown = json.loads(run(capsys, "show", "recommend", "--json")[0])
    assert parse_task(shown) == load_task("recommend")
    _, err = run(capsys, "show", "recomend", code=2)
    assert "did you mean 'recommend'?" in err


def test_a_task_is_checked_and_proposed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    narrow = SCHEMA.restricted(
        ("User", "Product", "Utterance", "Intent"), ("BOUGHT", "HAS_INTENT", "RECOMMENDED")
    )
    with open_store("ladybug:shop.db") as held:
        held.apply_schema(narrow)
        held.write_nodes("User", pa.table({"user_id": ["u1", "u2"]}))
        held.write_nodes("Product", pa.table({"product_id": ["p1", "p2"], "title": ["a", "b"]}))
        row = {"source": "u1", "target": "p1", "first_at": datetime(2024, 1, 1), "first_quantity": 1}
        held.write_relationships(PAIR, pa.Table.from_pylist([row], schema=narrow.edge_arrow_schema(PAIR)))
    here = ["--store", "ladybug:shop.db"]
    out, err = run(capsys, "init", "mine.yaml", *here)
    assert Path("mine.yaml").read_text() == out
    assert "kgdistill task check mine.yaml --store ladybug:shop.db\n" in err
    checked: dict[str, Any] = json.loads(run(capsys, "check", "mine.yaml", *here, "--json")[0])
    assert checked["counts"] == {"User": 2, "Product": 2, "(User)-[BOUGHT]->(Product)": 1}
    assert checked["task"]["name"] == "mine"
    out, err = run(capsys, "check", "mine.yaml")
    assert (out, err) == ("", "mine can be asked of this schema\n")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("KGDISTILL_STORE", "ladybug:shop.db")
        assert "mine can be asked of this graph" in run(capsys, "check", "mine.yaml")[1]
        Path("my own.yaml").write_text(yaml.safe_dump(narrow.model_dump(mode="json")))
        _, err = run(capsys, "init", "again.yaml", "--schema", "my own.yaml")
        assert "check again.yaml --store ladybug:shop.db --schema 'my own.yaml'\n" in err
    Path("given.yaml").write_text(MATCH + "protocol: {split: held_out}\n")
    assert "but no run learns it yet: task given: protocol: " in run(capsys, "check", "given.yaml")[1]
    (tmp_path / "age.yaml").write_text(
        "kind: match\nanchors: {label: User, by: history}\ncandidates: {label: Product, by: facts}\n"
        "positives: {event: BOUGHT}\nprotocol: {split: given, property: age}\n", "utf-8",
    )  # fmt: skip
    assert "no run learns it yet: task age: User.age is sensitive" in run(capsys, "check", "age.yaml")[1]
    # What is there stays as it is.
    _, err = run(capsys, "init", "mine.yaml", *here, code=2)
    assert "is there already" in err
    assert yaml.safe_load(Path("mine.yaml").read_text())["positives"] == {"event": "BOUGHT"}
    for args, says in (
        (("init", "x.yaml", "--kind", "both"), "no kind of task"),
        (("init", "no/such/folder.yaml"), "cannot be written"),
        (("check", "intent", *here), "has no Utterance"),
        (("check", "mine.yaml", "--store", "ladybug:none.db"), "there is no store here"),
    ):
        out, err = run(capsys, *args, code=2)
        assert out == ""
        assert says in err
    assert not Path("x.yaml").exists()
    Path("wrong.yaml").write_text("kind: match\nanchor: {}\n")
    _, err = run(capsys, "check", "wrong.yaml", code=2)
    assert "wrong.yaml, line 2: anchor: is not a key here" in err
