"""The task sentiment as a run: trained on statements of a graph, it tells sentiment and topic of a stream."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from _statements import lines, planted
from _tiny_encoder import tiny_encoder

from kgdistill.cli import main
from kgdistill.run.run import Run
from kgdistill.store import MemoryStore, load_schema

MOODS, TOPICS = {"negative": "pen", "positive": "paper"}, {"tea": "chair", "cups": "lamp"}


def text_of(mood: str, topic: str, i: int) -> str:
    """A statement whose two words tell all."""
    return f"thing {MOODS[mood]} {TOPICS[topic]} maker {i % 7}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sentiment")
    schema = load_schema()
    rows = [
        {
            "statement_id": f"s{i}", "text": text_of(mood, topic, i), "sentiment": mood, "topic": topic,
            "at": datetime(2023, 1, 1) + timedelta(hours=i), "split": "test" if i % 5 == 0 else "train",
        }
        for i in range(160)
        for mood, topic in [(list(MOODS)[i % 2], list(TOPICS)[i // 2 % 2])]
    ]  # fmt: skip
    with MemoryStore() as store:
        store.apply_schema(schema)
        store.write_nodes(
            "Statement", pa.Table.from_pylist(rows, schema=schema.node_arrow_schema("Statement"))
        )
        text = {"encoder": str(tiny_encoder(folder / "tiny", layers=1)), "precision": "float32"}
        small = {"epochs": 20, "batch": 16, "dim": 12, "hidden": 16, "teacher_hidden": 16, "lr": 0.01}
        made = Run.create(folder / "run", store, task="sentiment", text=text, classify=small, device="cpu")
        made.fit()
    return folder / "run"


def test_a_stream_of_texts_raises_the_alerts_of_its_labels(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = planted()
    given, texts = tmp_path / "given.jsonl", tmp_path / "texts.jsonl"
    given.write_text(lines(rows))
    bare = [
        {"id": r["id"], "at": r["at"], "text": text_of(r["sentiment"], r["topic"], i)}
        for i, r in enumerate(rows)
    ]
    texts.write_text(lines(bare))
    assert main(["watch", str(given), "--json"]) == 0
    want = capsys.readouterr().out
    assert [json.loads(line)["topic"] for line in want.splitlines()] == ["tea", "tea"]
    for of in (["--run", str(run)], ["--bundle", str(run / "bundle")]):
        assert main(["watch", str(texts), *of, "--json"]) == 0
        assert capsys.readouterr().out == want
