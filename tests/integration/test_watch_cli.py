"""`kgdistill watch`: a line for an alert, a page, a model for what lines lack, a process that is killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from _statements import Row, lines, planted
from tokenizers import BertWordPieceTokenizer

from kgdistill.cli import main
from kgdistill.ranking.calibration import Calibration
from kgdistill.serve.bundle import Bundle
from kgdistill.serve.classifier import Classifier, TargetClasses
from kgdistill.serve.file import FORMAT
from kgdistill.serve.items import SHOWN, Items
from kgdistill.serve.readings import Readings
from kgdistill.serve.tower import TextTower
from kgdistill.tasks.spec import load_task

ROWS = planted()
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("statements") / "s.jsonl"
    path.write_text(lines(ROWS), encoding="utf-8")
    return path


def test_an_alert_is_a_line(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", str(file)]) == 0
    said = capsys.readouterr()
    first, second = said.out.splitlines()
    assert "tea: a surge of negatives" in first
    assert "tea: the surge is over" in second
    assert f"{len(ROWS):,} lines read; {len(ROWS):,} statements are counted" in said.err
    assert main(["watch", str(file), "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(a["topic"], a["kind"]) for a in told] == [("tea", "surge"), ("tea", "over")]
    assert {"id", "since", "until", "negatives", "statements", "expected", "usual", "a_month"} <= set(told[0])


def test_options_take_the_place_of_what_is_declared(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", str(file), "--min-count", "1000"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["watch", str(file), "--bad", "furious"]) == 0
    assert "no statement is 'furious'; there are: positive, negative" in capsys.readouterr().err
    assert main(["watch", str(file), "--field", "topic=nothing"]) == 0
    assert f"{len(ROWS):,} statements have no topic" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--window", "7min"], "--window: 7min divides no day"),
        (["--field", "at"], "'at' is no NAME=KEY"),
        (["--field", "time=x"], "there is no field 'time'"),
        (["--field", "at=wen"], "has no 'wen', the time"),
        (["--format", "xml"], "'xml' is no format"),
        (["--zone", "Mars"], "there is no time zone 'Mars'"),
        (["--task", "recommend"], "'recommend' declares no alerts"),
        (["--task", "sentimnt"], "did you mean 'sentiment'?"),
        (["--bundle", "none"], "none: is not there"),
        (["--false-alarms", "nan"], "--false-alarms"),
    ],
)
def test_what_cannot_be_watched_is_one_message(
    args: list[str], says: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["watch", str(file), *args]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert says in said.err
    assert "Traceback" not in said.err


def test_the_page_shows_curves_and_surges_and_is_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = "<script>alert('tea')</script>"
    file, page = tmp_path / "s.jsonl", tmp_path / "pages" / "alerts.html"
    file.write_text(lines([{**r, "topic": odd if r["topic"] == "tea" else "cups"} for r in ROWS]))
    assert main(["watch", str(file), "--page", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 2
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "1 surges" in text
    assert not re.search(r"(?:src|href)=\"(?!#|data:)", text)
    assert len(re.findall(r"<tr><th scope=\"row\">2024-01-0", text)) == 2
    assert "opacity: 0.25" in text


def _bundle(folder: Path) -> None:
    """A bundle that tells the sentiment by one word."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "bad", "good"]
    tokenizer = BertWordPieceTokenizer({word: i for i, word in enumerate(words)})._tokenizer
    table = np.zeros((len(words), 2), np.float32)
    table[4:] = np.eye(2)
    layers = {
        "target.sentiment.weight": np.eye(2, dtype=np.float32),
        "target.sentiment.bias": np.zeros(2, np.float32),
    }
    told = {"sentiment": TargetClasses(("negative", "positive"), False, Calibration(1.0, 0.0))}
    task = load_task("sentiment").declared()
    config = {
        "format": FORMAT,
        "task": task,
        "label": "Statement",
        "reads": Readings.joined(["title"]).settings(),
    }
    nothing = Items(pa.table({name: pa.array([], pa.string()) for name in ("id", *SHOWN)}))
    tower = TextTower.of(tokenizer, table, None, 16)
    Bundle(config, nothing, text=tower, classifier=Classifier(told, layers, [], 2)).save(folder)


def test_a_bundle_tells_what_lines_lack(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["watch", str(file), "--json"]) == 0
    want = capsys.readouterr().out
    _bundle(tmp_path / "bundle")
    words = {"negative": "bad", "positive": "good"}
    rows: list[Row] = [{k: v for k, v in row.items() if k != "sentiment"} for row in ROWS]
    rows = [{**row, "text": words[old["sentiment"]]} for row, old in zip(rows, ROWS, strict=True)]
    texts = tmp_path / "texts.jsonl"
    texts.write_text(lines(rows))
    assert main(["watch", str(texts), "--bundle", str(tmp_path / "bundle"), "--json"]) == 0
    assert capsys.readouterr().out == want
    assert main(["watch", str(texts)]) == 2
    assert "no model tells it: give --run or --bundle" in capsys.readouterr().err
    assert main(["watch", str(texts), "--bundle", str(tmp_path / "bundle"), "--bad", "furious"]) == 2
    assert "does not tell 'furious', but negative, positive" in capsys.readouterr().err


def test_a_class_of_several_names_is_one(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Labels in three languages are read without a model or a mapping."""
    assert main(["watch", str(file), "--json"]) == 0
    want = capsys.readouterr().out
    names = ["negatief", "negatywna", "悪い"]
    rows = [
        {**row, "sentiment": names[n % 3]} if row["sentiment"] == "negative" else row
        for n, row in enumerate(ROWS)
    ]
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_text(lines(rows), encoding="utf-8")
    bad = [part for name in names for part in ("--bad", name)]
    state = ["--state", str(tmp_path / "state.json")]
    assert main(["watch", str(mixed), *bad, *state, "--json"]) == 0
    said = capsys.readouterr()
    assert said.out == want
    assert "of them negatief or negatywna or 悪い, in" in said.err
    page = tmp_path / "page.html"
    assert main(["watch", str(mixed), *bad, "--bad", "悪い", *state, "--page", str(page)]) == 0
    assert "or 悪い or" not in capsys.readouterr().err
    drawn = page.read_text(encoding="utf-8")
    assert "of them negatief or negatywna or 悪い, in" in drawn
    assert ">Negatief or negatywna or 悪い</th>" in drawn
    assert ">Negatief or negatywna or 悪い statements, and" in drawn
    assert main(["watch", str(mixed), *bad[:4], *state]) == 2
    assert "was kept for also ('negatywna', '悪い'), not ('negatywna',)" in capsys.readouterr().err


def test_a_sentiment_that_the_model_does_not_tell_is_not_believed(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _bundle(tmp_path / "bundle")
    french, words = {"negative": "négatif", "positive": "positif"}, {"negative": "bad", "positive": "good"}
    rows: list[Row] = [{**row, "text": words[row["sentiment"]]} for row in ROWS]
    mixed = tmp_path / "mixed.jsonl"
    renamed = [{**row, "sentiment": french[row["sentiment"]]} if n % 3 else row for n, row in enumerate(rows)]
    bare = {**ROWS[0], "id": "bare", "sentiment": "fâché"}
    mixed.write_text(lines([bare, *renamed]), encoding="utf-8")
    assert main(["watch", str(file), "--json"]) == 0
    want = capsys.readouterr().out
    assert main(["watch", str(mixed), "--bundle", str(tmp_path / "bundle"), "--json"]) == 0
    said = capsys.readouterr()
    assert said.out == want
    count = sum(n % 3 > 0 for n in range(len(rows)))
    assert (
        f"{count:,} statements have a sentiment that the model does not tell (positif, négatif): it told "
        "theirs from their text; it tells negative, positive\n"
    ) in said.err
    assert "line 1 has the sentiment 'fâché', which the model does not tell, and no text" in said.err
    assert main(["watch", str(file), "--bundle", str(tmp_path / "bundle")]) == 0
    assert "does not tell" not in capsys.readouterr().err


def test_a_file_with_the_newest_first_is_refused_and_leaves_nothing(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newest, state = tmp_path / "s.jsonl", tmp_path / "state.json"
    newest.write_text(lines(ROWS[::-1]))
    assert main(["watch", str(newest), "--state", str(state)]) == 2
    said = capsys.readouterr().err
    assert "is the newest first?" in said
    assert "sort the file by time" in said
    assert not state.exists()
    assert main(["watch", str(file), "--state", str(state)]) == 0
    # Read on, the same lines come late to what is known, not to each other.
    assert main(["watch", str(file), "--state", str(state)]) == 0
    assert "lines had been read before" in capsys.readouterr().err


def test_a_pipe_is_read_like_a_file(tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(file.read_bytes()))
    writer.start()
    assert main(["watch", str(pipe)]) == 0
    writer.join()
    assert f"{len(ROWS):,} statements are counted" in capsys.readouterr().err


def test_of_lines_that_are_sorted_otherwise_further_on_the_late_ones_are_said(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grouped = tmp_path / "s.jsonl"
    early = [{**row, "id": f"again {row['id']}"} for row in ROWS]
    grouped.write_text(lines([*ROWS, *early, *early, *early]))
    assert main(["watch", str(grouped)]) == 0
    assert "more than half came late: sort them by time" in capsys.readouterr().err
    assert main(["watch", str(file)]) == 0
    assert "came late" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["s.jsonl", "--out", "s.jsonl"], "--out would write over FILE"),
        (["s.jsonl", "--rejects", "./s.jsonl"], "--rejects would write over FILE"),
        (["s.jsonl", "--page", "other.jsonl"], "--page would write over FILE"),
        (["s.jsonl", "--state", "hard.jsonl"], "--state would write over FILE"),
        (["s.jsonl", "--out", "new", "--rejects", "./new"], "--rejects would write over --out"),
        (["s.jsonl", "--state", "new", "--page", "new.lock"], "--page would write over --state"),
        (["-", "--out", "s.jsonl"], "--out would write over standard input"),
    ],
)
def test_nothing_is_written_over_what_is_read(args: list[str], says: str, tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    file.write_text(lines(ROWS[:9]))
    (tmp_path / "other.jsonl").symlink_to(file)
    (tmp_path / "hard.jsonl").hardlink_to(file)
    more = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": tmp_path}
    with file.open() as read, _process(*args, stdin=read, **more) as process:
        said = process.communicate()
    assert (process.returncode, said[0]) == (2, "")
    assert says in said[1]
    assert file.read_text() == lines(ROWS[:9])
    assert not (tmp_path / "new").exists()


def _process(*args: str, **more: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "kgdistill", "watch", *args, "--json"]
    paths = {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env={**os.environ, **paths}, text=True, **more)  # type: ignore[call-overload, no-any-return]


def _wait_for(file: Path, former: bytes = b"") -> bytes:
    for _ in range(3000):
        if file.exists() and (now := file.read_bytes()) != former:
            return now
        time.sleep(0.02)
    raise AssertionError(f"{file} never came")


def test_a_stream_whose_watcher_is_killed_gives_the_same_alerts_once(tmp_path: Path, file: Path) -> None:
    """Killed after its first alert, with statements under way that no state knows; then all is sent again."""
    with _process(str(file), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as whole:
        want = [json.loads(line) for line in whole.communicate()[0].splitlines()]
    state, out = tmp_path / "state.json", tmp_path / "alerts.jsonl"
    args = ("-", "--state", str(state), "--out", str(out))
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    until = next(i for i, row in enumerate(ROWS) if row["at"] > want[0]["until"]) + 300
    with _process(*args, **pipe) as first:
        assert first.stdin is not None
        first.stdin.write(lines(ROWS[:until]))
        first.stdin.flush()
        _wait_for(out)
        first.send_signal(signal.SIGKILL)
    told = [json.loads(line) for line in out.read_text().splitlines()]
    assert told == want[: len(told)] != []
    # What a killed process may leave behind the state.
    with out.open("a") as more:
        more.write('{"id": "half')
    with _process(*args, **pipe) as second:
        second.communicate(lines(ROWS))
    assert second.returncode == 0
    assert [json.loads(line) for line in out.read_text().splitlines()] == want
    assert json.loads(state.read_text())["watcher"]["counts"]["counted"] == len(ROWS)


def test_a_file_whose_watcher_is_killed_gives_the_same_alerts_once(tmp_path: Path) -> None:
    """Killed while it reads a file, at the first sign of a state; then started again."""
    rows = planted(days=40, surge=(120, 144))
    file, state, out = tmp_path / "s.jsonl", tmp_path / "state.json", tmp_path / "alerts.jsonl"
    file.write_text(lines(rows))
    with _process(str(file), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as whole:
        want = [json.loads(line) for line in whole.communicate()[0].splitlines()]
    args = (str(file), "--state", str(state), "--out", str(out))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with _process(*args, **quiet) as first:
        _wait_for(state)
        first.send_signal(signal.SIGKILL)
    assert json.loads(state.read_text())["watcher"]["counts"]["counted"] < len(rows)
    with _process(*args, **quiet) as second:
        pass
    assert second.returncode == 0
    assert [json.loads(line) for line in out.read_text().splitlines()] == want
    assert [a["kind"] for a in want[:2]] == ["surge", "over"]


def test_a_stream_is_told_while_it_runs(tmp_path: Path) -> None:
    """The alert is there before the stream ends."""
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with _process("-", **pipe) as watching:
        assert watching.stdin is not None
        assert watching.stdout is not None
        watching.stdin.write(lines(ROWS))
        watching.stdin.flush()
        assert json.loads(watching.stdout.readline())["kind"] == "surge"
        assert watching.poll() is None
        watching.stdin.close()
