"""One's own files, from a folder to recommendations, by the commands that the README shows."""

from __future__ import annotations

import csv
import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from kgdistill.cli import main
from kgdistill.run.run import Run
from kgdistill.store import open_store

_STORE = ["--store", "ladybug:shop.db"]
_SETTINGS = """
protocol: {min_user_events: 3, min_item_users: 3}
teacher: {dim: 8, graph_steps: 20, epochs: 2, candidates: 20, random: 10}
student: {epochs: 2, candidates: 20, random: 10}
device: cpu
"""


def _write(file: Path, columns: list[str], rows: list[list[str]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([columns, *rows])


def _shop(folder: Path) -> None:
    """40 users who buy 12 of 60 products each, mostly of one of two brands."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    products = [[f"p{i}", f"{('tea', 'mug', 'oats')[i % 3]} number {i}", f"b{i % 2}"] for i in range(60)]
    _write(folder / "User.csv", ["user_id"], [[f"u{i}"] for i in range(40)] + [["zoe"]])
    _write(folder / "Product.csv", ["product_id", "title", "brand_text"], products)
    _write(folder / "Brand.csv", ["brand_id", "name"], [["b0", "Alpha"], ["b1", "Beta"]])
    _write(folder / "MADE_BY.csv", ["source", "target"], [[p[0], p[2]] for p in products])
    bought = []
    for user in range(40):
        odds = np.where(np.arange(60) % 2 == user % 2, 5.0, 1.0)
        for product in draw.choice(60, 12, replace=False, p=odds / odds.sum()):
            at = datetime(2024, 1, 1) + timedelta(minutes=int(draw.integers(0, 100_000)))
            bought.append([f"u{user}", f"p{product}", at.isoformat(), "1"])
    _write(folder / "BOUGHT.csv", ["source", "target", "at", "quantity"], bought)


def test_files_become_recommendations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KGDISTILL_STORE", raising=False)
    _shop(Path("my-shop"))
    Path("mine.yaml").write_text(_SETTINGS)

    def ask(*args: str) -> dict[str, object]:
        assert main([*args, "--json"]) == 0, capsys.readouterr().err
        found: dict[str, object] = json.loads(capsys.readouterr().out)
        return found

    ask("ingest", "folder", "my-shop", *_STORE)
    taken = ask("snapshot", "--run", "mine", "--config", "mine.yaml", *_STORE)
    # A quantile of 480 distinct moments.
    assert 380 <= taken["relationships"]["User-BOUGHT-Product"] <= 385  # type: ignore[index]
    ask("train", "teacher", "--run", "mine")
    ask("train", "student", "--run", "mine")
    before = Path("mine/student/model.safetensors").stat().st_mtime_ns
    ask("train", "student", "--run", "mine")
    assert Path("mine/student/model.safetensors").stat().st_mtime_ns == before, "trained again"
    metrics = ask("evaluate", "--run", "mine")
    assert len(metrics["arms"]) == 11  # type: ignore[arg-type]

    known = ask("recommend", "--run", "mine", "--user", "u3", "-k", "5")
    assert known["basis"] == "history"
    assert len(known["hits"]) == 5  # type: ignore[arg-type]
    idle = ask("recommend", "--run", "mine", "--user", "zoe")
    assert (idle["basis"], idle["notes"]) == (
        "popularity",
        ["the run's folder knows no purchase of the user zoe"],
    )
    assert ask("recommend", "--run", "mine", "--user", "zoe", "--text", "tea")["basis"] == "text"
    assert ask("recommend", "--run", "mine", "--user", "zoe", *_STORE)["basis"] == "popularity"
    for store, says in (
        ([], "the run's folder knows no User with the id 'u333'"),
        (_STORE, "there is no User"),
    ):
        assert main(["recommend", "--run", "mine", "--user", "u333", *store]) == 2
        err = capsys.readouterr().err
        assert says in err
        assert "near it are: u33" in err

    written = ask("writeback", "--run", "mine", *_STORE)
    assert main(["query", "run", "recommendations_of_user", "-p", "user=u3", "-p", "run=mine",
                 "--json", *_STORE]) == 0  # fmt: skip
    rows = json.loads(capsys.readouterr().out)
    assert written["recommendations"] == 40 * 20
    told = [(f["id"], f["score"]) for f in known["hits"]]  # type: ignore[attr-defined]
    assert [(row["product"], row["score"]) for row in rows[:5]] == told

    # The run itself, with the figure that its evaluation says.
    of_run = "MATCH (r:Run) RETURN r.run_id AS run, r.task AS task, r.metric AS metric, r.value AS value"
    (node,) = ask("query", of_run, *_STORE)  # type: ignore[misc]
    own = next(arm for arm in metrics["arms"] if arm["arm"] == "student")  # type: ignore[attr-defined]
    name, _, setting = node["metric"].partition(" ")
    assert (node["run"], node["task"], name) == ("mine", "recommend", "ndcg@20")
    assert node["value"] == own["settings"][setting][name]["mean"]
    why = "MATCH (u:User)-[r:RECOMMENDED]->(p:Product) WHERE {} RETURN count(r) AS n"
    for known in ("r.reason IS NOT NULL", "r.teacher_score IS NOT NULL", "r.is_new IS NOT NULL"):
        assert ask("query", why.format(known), *_STORE)[0]["n"] > 0, known  # type: ignore[index]

    # The vectors in the graph are those of the run, each at its product.
    want = {
        (space, key): vector
        for space, keys, vectors in Run.open("mine").embeddings()
        for key, vector in zip(keys, vectors, strict=True)
    }
    with open_store("ladybug:shop.db") as store:
        held = store.read_nodes("Embedding", ["space", "node_key", "vector"]).to_pylist()
    assert len(held) == len(want)
    for row in held:
        np.testing.assert_allclose(row["vector"], want[row["space"], row["node_key"]], rtol=1e-6)
        assert np.linalg.norm(row["vector"]) > 0

    def bought_and_recommended() -> int:
        cypher = "MATCH (u:User)-[:RECOMMENDED]->(p:Product) MATCH (u)-[b:BOUGHT]->(p) RETURN count(b) AS n"
        return int(ask("query", cypher, *_STORE)[0]["n"])  # type: ignore[index]

    assert bought_and_recommended() == 0

    # A purchase, a user and a return that come after the snapshot, and a product that goes.
    best = [row["product"] for row in rows]
    with Path("my-shop/User.csv").open("a") as users, Path("my-shop/BOUGHT.csv").open("a") as events:
        users.write("new\n")
        events.write(f"u3,{best[0]},2024-06-01T00:00:00,1\nu3,{best[1]},2024-06-01T00:00:00,0\n")
        events.writelines(f"new,p{n},2024-06-0{n}T00:00:00,2\n" for n in range(1, 4))
        users.writelines(f"new{n}\n" for n in range(6, 0, -1))
    ask("ingest", "folder", "my-shop", *_STORE)
    assert bought_and_recommended() > 0
    with open_store(_STORE[1]) as store:
        store.delete_nodes("Product", pa.array([best[2]]))
    assert written["unanswered"] == 1  # zoe
    written = ask("writeback", "--run", "mine", *_STORE)
    assert written["recommendations"] == 41 * 20
    assert (written["unanswered"], written["unanswered_first"]) == (7, [f"new{n}" for n in range(1, 6)])
    assert main(["writeback", "--run", "mine", *_STORE]) == 0
    told = (
        "7 User nodes got no answer: new1, new2, new3, new4, new5, …\n"
        "none is written for who has BOUGHT fewer than 3 (min_user_events of the task's protocol): "
        "`kgdistill recommend --user` may answer\n"
    )
    assert told in capsys.readouterr().err
    assert bought_and_recommended() == 0
    of_user = (
        "MATCH (u:User {user_id: $u})-[r:RECOMMENDED]->(p:Product) RETURN p.product_id AS p ORDER BY r.rank"
    )
    for user, latest, out in (("u3", "2024-06-01", {*best[:3]}), ("new", "2024-06-03", {"p1", "p2", "p3"})):
        answer = ask("recommend", "--run", "mine", "--user", user, "-k", "20", *_STORE)
        told = [found["id"] for found in answer["hits"]]  # type: ignore[attr-defined]
        assert not {*told} & out
        written = ask("query", of_user, "-p", f"u={user}", *_STORE)
        assert [row["p"] for row in written] == told  # type: ignore[index]
        assert f"the latest event on {latest}, known from ladybug:" in str(answer["rests_on"])
    # The folder of the run does not know what came after it was made, and says so.
    frozen = ask("recommend", "--run", "mine", "--user", "u3")
    assert frozen["hits"][0]["id"] == best[0]  # type: ignore[index]
    assert "known from the run's folder" in str(frozen["rests_on"])
