"""What a schema declares sensitive aims at nobody, known or predicted, unless it was allowed and said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from _campaigns import TEST, USERS, fill_campaigns, make_campaigns, target_spec
from _tiny_encoder import tiny_encoder
from pydantic import ValidationError

from kgdistill.cli import main
from kgdistill.errors import InputError
from kgdistill.run.report import write_report
from kgdistill.run.run import Run
from kgdistill.run.told import told_classes
from kgdistill.serve.among import among
from kgdistill.serve.classifier import Classifier
from kgdistill.serve.joined import join
from kgdistill.snapshot import take_snapshot
from kgdistill.store import GraphStore, MemoryStore, Schema, load_schema
from kgdistill.tasks.sensitive import check_sensitive, learned_from, sensitive_targets
from kgdistill.tasks.spec import ClassifySpec, MatchSpec, parse_task

FAITHS = ["sun", "moon", "sea"]
REGIONS = ["north", "south"]
LIKED = make_campaigns().liked
AT = "c12"


def own_schema() -> Schema:
    """The project's own, with a region, a faith that is sensitive, and a sensitive fact of users."""
    raw = load_schema().model_dump(mode="json")
    user = raw["nodes"]["User"]
    user["properties"] |= {
        "region": {"type": "string"}, "words": {"type": "string"},
        "faith": {"type": "string", "sensitive": True},
    }  # fmt: skip
    user["text"] = ["words", "faith"]
    raw["relationships"]["PRAYS_WITH"] = {
        "kind": "event", "endpoints": [["User", "Brand"]], "time": "at", "sensitive": True,
        "properties": {"at": {"type": "timestamp", "required": True}},
    }  # fmt: skip
    return Schema.model_validate_json(json.dumps(raw))


def faith_of(user: str) -> str:
    return FAITHS[min(LIKED[user], 2)]


def region_of(user: str) -> str:
    return REGIONS[int(user[1:]) // 2 % 2]


@pytest.fixture(scope="module")
def store() -> Iterator[GraphStore]:
    with MemoryStore() as opened:
        fill_campaigns(opened, make_campaigns())
        schema = own_schema()
        opened.apply_schema(schema)
        keys = [f"u{u:03}" for u in range(USERS)]
        rows = [
            {
                "user_id": k,
                "region": region_of(k),
                "faith": faith_of(k),
                "words": f"words of {k}",
                "age": "old",
            }
            for k in keys
        ]
        opened.write_nodes("User", pa.Table.from_pylist(rows, schema=schema.node_arrow_schema("User")))
        yield opened


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("text")
    return {
        "text": {"encoder": str(tiny_encoder(folder / "tiny", layers=1)), "precision": "float32"},
        "audience": {"dim": 8, "z_dim": 4, "members": 1, "epochs": 4}, "device": "cpu",
    }  # fmt: skip


def made(folder: Path, store: GraphStore, settings: dict[str, Any], **more: Any) -> Run:
    run = Run.create(folder / "run", store, task=target_spec(), **settings, **more)
    run.fit()
    return run


@pytest.fixture(scope="module")
def guarded(store: GraphStore, settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    return made(tmp_path_factory.mktemp("guarded"), store, settings)


@pytest.fixture(scope="module")
def allowed(store: GraphStore, settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    return made(tmp_path_factory.mktemp("allowed"), store, settings, allow_sensitive=True)


@pytest.fixture(scope="module")
def profiles(store: GraphStore, settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that tells the faith by what was bought."""
    task = {
        "kind": "classify", "name": "faith",
        "subjects": {"label": "User", "by": "history", "history": "BOUGHT"},
        "targets": {"faith": {"property": "faith"}},
        "protocol": {"split": "held_out", "share": 0.2, "validation_share": 0.2},
    }  # fmt: skip
    classify = {
        "epochs": 30,
        "batch": 16,
        "dim": 8,
        "hidden": 16,
        "teacher_hidden": 16,
        "rank": 16,
        "lr": 0.01,
    }
    run = Run.create(
        tmp_path_factory.mktemp("profiles") / "run", store, task=parse_task(task), classify=classify,
        text=settings["text"], device="cpu",
    )  # fmt: skip
    run.fit()
    return run


def test_the_projects_own_schema_declares_what_is_known_of_households() -> None:
    schema = load_schema()
    held = {"age", "income", "marital_status", "household_size", "household_composition", "kids_count"}
    assert held <= set(schema.nodes["User"].sensitive_properties)
    assert not schema.nodes["Product"].sensitive_properties


def test_times_and_identities_cannot_be_sensitive() -> None:
    raw = load_schema().model_dump(mode="json")
    for of, name, says in (("BOUGHT", "first_at", "the time"), ("REDEEMED", "at", "cannot be sensitive")):
        changed = json.loads(json.dumps(raw))
        changed["relationships"][of]["properties"][name]["sensitive"] = True
        with pytest.raises(ValidationError, match=says):
            Schema.model_validate(changed)


def test_a_guarded_schema_has_no_sensitive_text_name_or_relationship() -> None:
    raw = own_schema().model_dump(mode="json")
    raw["nodes"]["User"]["name"] = "faith"
    schema = Schema.model_validate(raw).guarded()
    assert schema.nodes["User"].text == ("words",)
    assert schema.nodes["User"].name == "user_id"
    assert "PRAYS_WITH" not in schema.relationships
    assert "faith" in schema.nodes["User"].sensitive_properties  # who serves still knows what it is


def test_a_run_that_ranks_freezes_nothing_sensitive_unless_it_was_allowed(
    store: GraphStore, guarded: Run, allowed: Run, profiles: Run, tmp_path: Path
) -> None:
    for run, held in ((guarded, False), (allowed, True), (profiles, True)):
        for snapshot in (run.snapshot, *([run.later] if run is not profiles else [])):
            columns = snapshot.node_table("User").column_names
            assert "region" in columns
            assert ("faith" in columns, "age" in columns) == (held, held)
            assert ("sun" in " ".join(snapshot.texts("User"))) == held
            assert any(edge[1] == "PRAYS_WITH" for edge in snapshot.edge_types) == held
    whole = take_snapshot(store, tmp_path / "whole", cut=None)
    assert "faith" in whole.node_table("User").column_names


def test_a_task_that_reads_something_sensitive_is_refused(store: GraphStore, tmp_path: Path) -> None:
    raw = {
        "kind": "match", "name": "by-words", "anchors": {"label": "User", "by": "text"},
        "candidates": {"label": "Product", "by": "text"}, "positives": {"event": "BOUGHT"},
        "protocol": {"split": "time"},
    }  # fmt: skip
    with pytest.raises(InputError) as caught:
        Run.create(tmp_path / "no", store, task=raw)
    assert "User.faith is sensitive: a task that ranks reads no such thing" in str(caught.value)
    assert "--allow-sensitive" in str(caught.value)
    assert not (tmp_path / "no").exists()
    run = Run.create(tmp_path / "yes", store, task=raw, allow_sensitive=True)
    assert "moon" in " ".join(run.texts())
    prays = target_spec(reached_by="PRAYS_WITH")
    split = parse_task(
        raw | {"positives": {"event": "BOUGHT"}, "anchors": {"label": "Brand", "by": "text"}}, name="x"
    )
    check_sensitive(split, own_schema(), allowed=False)
    with pytest.raises(InputError, match="PRAYS_WITH is sensitive"):
        check_sensitive(prays, own_schema(), allowed=False)
    check_sensitive(prays, own_schema(), allowed=True)


def test_the_part_of_a_split_and_a_target_count_too() -> None:
    given = parse_task(
        {
            "kind": "match", "anchors": {"label": "User", "by": "text"},
            "candidates": {"label": "Answer", "by": "text"}, "positives": {"relationship": "ANSWERED_BY"},
            "protocol": {"split": "given", "property": "faith"},
        }, name="given",
    )  # fmt: skip
    assert isinstance(given, MatchSpec)
    schema = own_schema()
    plain = schema.model_copy(
        update={
            "nodes": schema.nodes | {"User": schema.nodes["User"].model_copy(update={"text": ("words",)})}
        }
    )
    with pytest.raises(InputError, match=r"User\.faith is sensitive"):
        check_sensitive(given, plain, allowed=False)
    tells = parse_task(
        {
            "kind": "classify", "subjects": {"label": "User", "by": "history"},
            "targets": {
                "a": {"property": "faith"}, "b": {"property": "region"}, "c": {"relationship": "PRAYS_WITH"},
            },
        }, name="tells",
    )  # fmt: skip
    assert isinstance(tells, ClassifySpec)
    check_sensitive(tells, schema, allowed=False)  # it aims at nobody
    assert sensitive_targets(tells, schema) == ["a", "c"]


def test_what_is_not_sensitive_chooses(guarded: Run) -> None:
    bundle = guarded.bundle()
    whole, north = bundle.audience(AT, size=200), bundle.audience(AT, size=200, where={"region": "north"})
    assert [m.id for m in north] == [m.id for m in whole if region_of(m.id) == "north"]
    assert 0 < len(north) < len(whole)
    assert any(f"{len(north)} are left by what was asked of them" in note for note in north.notes)
    new = bundle.audience(text="thing", size=200, where={"region": ["north", "nowhere"]})
    assert {region_of(m.id) for m in new} == {"north"}
    assert any("nobody has region 'nowhere'; there are: " in note for note in new.notes)
    assert not any("nobody has" in note for note in north.notes)
    with pytest.raises(InputError, match=r"neither is 'regoin' known.*\n?.*did you mean 'region'"):
        bundle.audience(AT, where={"regoin": "north"})


def test_what_is_sensitive_chooses_nobody_unless_allowed_twice(guarded: Run, allowed: Run) -> None:
    for run in (guarded, allowed):
        with pytest.raises(InputError) as caught:
            run.bundle().audience(AT, where={"faith": "sun", "region": "north"})
        assert "faith is sensitive: nobody is chosen by it" in str(caught.value)
        assert "allow_sensitive=True" in str(caught.value)
    with pytest.raises(InputError, match="holds no faith: it is sensitive, and the run was made without it"):
        guarded.bundle().audience(AT, where={"faith": "sun"}, allow_sensitive=True)
    answer = allowed.bundle().audience(AT, size=200, where={"faith": "sun"}, allow_sensitive=True)
    assert {faith_of(m.id) for m in answer} == {"sun"}
    assert any("faith is sensitive, and was allowed" in note for note in answer.notes)
    assert not any("allowed" in note for note in allowed.bundle().audience(AT, size=5).notes)


def test_a_predicted_property_is_as_sensitive_as_a_known_one(guarded: Run, profiles: Run) -> None:
    bundle, told = guarded.bundle(), profiles.bundle()
    assert told.config["sensitive"] == ["faith"]
    with pytest.raises(InputError, match="faith is sensitive: nobody is chosen by it, known or predicted"):
        among(bundle, {"faith": "moon"}, profiles=told)
    found = among(bundle, {"faith": "moon"}, profiles=told, allow_sensitive=True)
    assert bundle.finder is not None
    chosen = [key for key, held in zip(bundle.finder.keys.candidates, found.mask, strict=True) if held]
    assert sum(faith_of(key) == "moon" for key in chosen) > 0.8 * len(chosen) > 10
    assert any("predicts" in note for note in found.notes)
    # Whatever else the other bundle reads first, a history of purchases is one of purchases.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Classifier, "events", ["VIEWED", "BOUGHT"])
        again = among(bundle, {"faith": "moon"}, profiles=told, allow_sensitive=True)
    assert again.mask.tolist() == found.mask.tolist()
    sure = among(bundle, {"faith": "moon"}, profiles=told, allow_sensitive=True, least=1.0).mask
    assert sure.sum() < found.mask.sum()
    with pytest.raises(InputError, match=r"faith is never told as 'mars'\n  .*moon"):
        among(bundle, {"faith": ["moon", "mars"]}, profiles=told, allow_sensitive=True)
    with pytest.raises(InputError, match="profiles: tells no classes"):
        among(bundle, {"region": "north"}, profiles=bundle)
    with pytest.raises(InputError, match="tells nothing from BOUGHT"):
        among(bundle, {"faith": "moon"}, profiles=_of_views(told), allow_sensitive=True)


def _of_views(bundle: Any) -> Any:
    """The same bundle, as if it read what was viewed."""
    from dataclasses import replace

    part = bundle.classifier
    part.nodes = tuple(replace(nodes, relationship="VIEWED") for nodes in part.nodes)
    return bundle


def test_the_report_and_the_figures_say_what_was_allowed(guarded: Run, allowed: Run) -> None:
    for run, said in ((allowed, True), (guarded, False)):
        found = run.evaluate()
        assert ("User.faith" in found.get("sensitive", [])) == said
        for file in write_report(run.folder):
            text = file.read_text(encoding="utf-8")
            assert ("Sensitive, and allowed to this run" in text) == said
            assert ("User.faith" in text) == said


def test_the_commands(
    guarded: Run, allowed: Run, profiles: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["audience", AT, "--size", "200", "--json", "--where"]
    at, told = ["--run", str(guarded.folder)], ["--profiles", str(profiles.folder)]
    assert main([*asked, "region=south", *at]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert {region_of(m["id"]) for m in answer["members"]} == {"south"}
    for args in ([*asked, "faith=sun", *at], [*asked, "faith=sun", *at, *told]):
        assert main(args) == 2
        said = capsys.readouterr().err
        assert "faith is sensitive" in said
        assert "--allow-sensitive" in said
    assert main([*asked, "faith=sun", *at, *told, "--allow-sensitive"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert any("was allowed to choose" in note for note in answer["notes"])
    # A folder of several bundles is asked for the one that tells properties of users.
    several = {"target": guarded.folder / "bundle", "profile": profiles.folder / "bundle"}
    join(tmp_path / "several", several)
    among_several = ["--profiles", str(tmp_path / "several"), "--allow-sensitive"]
    assert main([*asked, "faith=sun", *at, *among_several]) == 0
    assert json.loads(capsys.readouterr().out) == [answer]
    assert main([*asked, "faith=sun", "--run", str(allowed.folder), "--allow-sensitive"]) == 0
    capsys.readouterr()
    assert main(["fit", "--run", str(guarded.folder), "--allow-sensitive"]) == 2
    assert "has settings already" in capsys.readouterr().err
    for option in (told, ["--allow-sensitive"]):
        assert main(["audience", AT, *at, *option]) == 2
        assert f"{option[0]}: goes with --where" in capsys.readouterr().err
    assert main([*asked, "north", *at]) == 2
    assert "is no KEY=VALUE" in capsys.readouterr().err


def test_a_run_that_is_allowed_more_stands_on_another_snapshot(
    store: GraphStore, settings: dict[str, Any], tmp_path: Path
) -> None:
    run = Run.create(tmp_path / "run", store, task=target_spec(), **settings)
    first = run.need("graph").made
    again = Run.create(tmp_path / "run", store, allow_sensitive=True)
    assert again.need("graph").made != first
    assert "faith" in again.snapshot.node_table("User").column_names
    assert len(again.later.node_table("Campaign")) > TEST


def test_what_is_declared_sensitive_later_leaves_a_runs_snapshot(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    with MemoryStore() as store:
        fill_campaigns(store, make_campaigns())
        schema = load_schema().model_dump(mode="json")
        schema["nodes"]["User"]["properties"]["faith"] = {"type": "string"}
        store.apply_schema(Schema.model_validate_json(json.dumps(schema)))
        first = Run.create(tmp_path / "run", store, task=target_spec(), **settings)
        assert "faith" in first.snapshot.node_table("User").column_names
        schema["nodes"]["User"]["properties"]["faith"]["sensitive"] = True
        store.apply_schema(Schema.model_validate_json(json.dumps(schema)))
        again = Run.create(tmp_path / "run", store)
        assert "faith" not in again.snapshot.node_table("User").column_names


def test_a_target_of_another_name_is_as_sensitive_as_what_it_is_told_by(guarded: Run, profiles: Run) -> None:
    told = profiles.bundle()
    told.config["sensitive"] = []  # as of a run that was made before it was declared so
    part = told.classifier
    assert part is not None
    told.config["task"]["targets"] = {"creed": told.config["task"]["targets"]["faith"]}
    part.targets["creed"] = part.targets.pop("faith")
    with pytest.raises(InputError, match="creed is sensitive: nobody is chosen by it"):
        among(guarded.bundle(), {"creed": "moon"}, profiles=told)


def test_the_end_of_positives_and_the_part_of_an_event_count_too() -> None:
    raw = own_schema().model_dump(mode="json")
    raw["nodes"]["Campaign"]["properties"]["end_at"]["sensitive"] = True
    schema = Schema.model_validate_json(json.dumps(raw))
    ends = target_spec()
    ends = ends.model_copy(update={"protocol": ends.protocol.model_copy(update={"end": "end_at"})})
    with pytest.raises(InputError, match=r"Campaign\.end_at is sensitive"):
        check_sensitive(ends, schema, allowed=False)
    raw["relationships"]["BOUGHT"]["properties"]["first_quantity"]["sensitive"] = True
    given = parse_task(
        {
            "kind": "match", "anchors": {"label": "User", "by": "history"},
            "candidates": {"label": "Product", "by": "facts"}, "positives": {"event": "BOUGHT"},
            "protocol": {"split": "given", "of": "relationship", "property": "first_quantity"},
        }, name="given",
    )  # fmt: skip
    with pytest.raises(InputError, match=r"BOUGHT\.first_quantity is sensitive"):
        check_sensitive(given, Schema.model_validate_json(json.dumps(raw)), allowed=False)


@pytest.mark.parametrize(
    ("subjects", "reads"),
    [
        ({"label": "User", "by": "text"}, ["User.faith"]),
        ({"label": "User", "by": ["history", "text"], "history": "BOUGHT"}, ["User.faith"]),
        ({"label": "User", "by": "history", "history": "PRAYS_WITH"}, ["PRAYS_WITH", "Brand.creed"]),
        ({"label": "User", "by": "history", "history": "BOUGHT"}, []),
        ({"label": "User", "by": ["history", "facts"], "history": "BOUGHT"}, ["LIVES_BY", "Brand.creed"]),
        ({"label": "Product", "by": "facts"}, ["Brand.creed"]),
        ({"label": "Product", "by": "text"}, []),
    ],
)
def test_whatever_is_learned_from_something_sensitive_is_as_sensitive(
    subjects: dict[str, Any], reads: list[str]
) -> None:
    raw = own_schema().model_dump(mode="json")
    raw["nodes"]["Brand"]["properties"]["creed"] = {"type": "string", "sensitive": True}
    raw["nodes"]["Brand"]["text"].append("creed")
    raw["relationships"]["LIVES_BY"] = {
        "kind": "fact", "endpoints": [["User", "Product"]], "sensitive": True, "properties": {},
    }  # fmt: skip
    schema = Schema.model_validate_json(json.dumps(raw))
    target = "region" if subjects["label"] == "User" else "category_text"
    task = {
        "kind": "classify", "name": "told", "subjects": subjects, "targets": {"it": {"property": target}},
        "protocol": {"split": "held_out"},
    }  # fmt: skip
    spec = parse_task(task)
    assert isinstance(spec, ClassifySpec)
    assert learned_from(spec, schema) == reads
    assert sensitive_targets(spec, schema) == (["it"] if reads else [])
    # What is told is not read.
    own = parse_task(task | {"targets": {"it": {"property": "faith"}}}) if target == "region" else None
    if isinstance(own, ClassifySpec):
        assert "User.faith" not in learned_from(own, schema)
    tied = parse_task(task | {"targets": {"it": {"relationship": "LIVES_BY"}}})
    assert isinstance(tied, ClassifySpec)
    assert "LIVES_BY" not in learned_from(tied, schema)


def test_a_harmless_property_told_by_a_sensitive_one_is_refused_as_that_is(
    store: GraphStore, guarded: Run, settings: dict[str, Any], tmp_path: Path
) -> None:
    task = {
        "kind": "classify", "name": "region", "subjects": {"label": "User", "by": "text"},
        "targets": {"region": {"property": "region"}},
        "protocol": {"split": "held_out", "share": 0.2, "validation_share": 0.2},
    }  # fmt: skip
    classify = {"epochs": 1, "batch": 16, "dim": 8, "hidden": 16, "teacher_hidden": 16, "rank": 16}
    run = Run.create(
        tmp_path / "run", store, task=parse_task(task), classify=classify, text=settings["text"], device="cpu"
    )
    run.fit()
    assert run.bundle().config["sensitive"] == ["region"]
    with pytest.raises(InputError, match="region is sensitive: it is not written back"):
        told_classes(run, store)
    assert told_classes(run, store, allow_sensitive=True)
