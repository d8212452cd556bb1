from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from _load_script import load_script

from kgdistill import cli
from kgdistill.cli import main
from kgdistill.cli.output import print_json, print_table, say
from kgdistill.cli.reference import commands, help_of
from kgdistill.plain import json_rows
from kgdistill.store import load_schema

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = dict(commands())
LEAVES = [name for name, command in COMMANDS.items() if not hasattr(command, "commands")]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("KGDISTILL_STORE", "KGDISTILL_NEO4J_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    text = help_of(name, COMMANDS[name])
    assert "Examples:" in text
    assert f"  {name}" in text.split("Examples:")[1]


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_speaks_json(name: str) -> None:
    assert "--json" in help_of(name, COMMANDS[name])


def test_the_reference_and_the_picture_are_what_the_code_says() -> None:
    module = load_script("docs/generate.py")
    for page, text in module.pages().items():
        assert page.read_text(encoding="utf-8") == text, f"{page.name} is out of date: make docs"


def test_the_picture_shows_every_type(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--mermaid"]) == 0
    drawn = capsys.readouterr().out
    schema = load_schema()
    assert all(f"{label}([{label}])" in drawn for label in schema.nodes)
    assert all(f"|{name}| {target}" in drawn for _, name, target in schema.edges())


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom kgdistill.cli import main\nassert main(['--help']) == 0\n"
        "heavy = {'torch', 'pyarrow', 'pandas', 'numpy', 'neo4j', 'ladybug', 'matplotlib', 'rich.console'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    assert _python(code).stderr == "[]\n"


@pytest.mark.parametrize(
    ("args", "suggestion"),
    [(["ingset"], "'ingest'"), (["neo4j", "strat"], "'start'"), (["query", "--lmit", "3"], "--limit")],
)
def test_a_typo_is_refused_with_a_suggestion(
    args: list[str], suggestion: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(args) == 2
    assert suggestion in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["store", "stats"], "ladybug:kgdistill.db: there is no store here"),
        (["query", "history_of_user"], "kgdistill query run history_of_user"),
        (["query", "histry_of_user"], "did you mean 'history_of_user'"),
        (["query", "lst"], "did you mean 'list'"),
        (["query", "--store", "memory:", "list"], "options come after it: kgdistill query list"),
        (["query", "show", "histry_of_user"], "did you mean 'history_of_user'"),
        (["query", "RETURN 1", "--json", "--format", "csv"], "two formats"),
        (["query", "RETURN 1", "--format", "cvs"], "did you mean 'csv'"),
        (["query", "RETURN 1", "--format", "parquet"], "Parquet needs a file"),
        (["query", "RETURN 1", "--out", "x.xls"], "'xls' is no format of rows"),
        (["query", "RETURN 1", "--out", "x.csv", "--format", "table"], "'table' is no format of rows"),
        (["query", "run", "runs", "-p", "a=1", "-p", "a=2"], "'a' is given twice"),
        (["query", "RETURN 1", "--param", "x"], "'x' is not NAME=VALUE"),
        (["query", "RETURN $x", "--store", "memory:", "-p", 'x={"a": 1}'], "--param x"),
        (["query", "run", "histry_of_user", "--store", "memory:"], "history_of_user"),
        (["ingest", "folder", "nowhere"], "nowhere: is not a folder"),
        (["ingest", "folder", "orders.csv"], "kgdistill ingest init FILES"),
        (["search", "  ", "--bundle", "b"], "TEXT: there is no text to search for"),
        (["derive", "also-bought", "--cut", "yesterday"], "'yesterday' is not a date"),
        (["schema", "--schema", "none.yaml"], "none.yaml: cannot be read"),
        (["report", "runs/none"], "runs/none: there is no run here"),
        (["neo4j", "status"], "is no folder of a local Neo4j"),
        (["explain", "ann", "p2", "--language", "de"], "'de' is not one of: en, zh"),
        (["profile", "ann", "--language", "de"], "'de' is not one of: en, zh"),
        (["demo", "--lang", "de"], "'de' is not one of: en, zh"),
        (["query", "RETURN 1", "--store", "bolt://me:secret@localhost:1"], "carries a user name or password"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(
    args: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(args) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err
    assert "Traceback" not in said.err
    assert "secret" not in said.err
    assert not Path("kgdistill.db").exists()


def test_a_parameter_is_json_or_text(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["-p", "a=7", "-p", "b=seven", "-p", 'c="7"', "-p", "d=007", "-p", "e=NaN"]
    query = "RETURN $a AS a, $b AS b, $c AS c, $d AS d, $e AS e"
    assert main(["query", query, "--store", "memory:", *given, "--json"]) == 0
    row = {"a": 7, "b": "seven", "c": "7", "d": "007", "e": "NaN"}
    assert json.loads(capsys.readouterr().out) == [row]


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_a_password_that_others_can_read_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "password"
    file.write_text("hush\n")
    file.chmod(0o644)
    args = ["query", "RETURN 1", "--store", "bolt://127.0.0.1:1", "--password-file", str(file)]
    assert main(args) == 2
    said = capsys.readouterr().err
    assert f"chmod 600 {file}" in said
    assert "hush" not in said


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "runs/x"), "runs/x: the disk is full"),
        (OSError("[Errno 28] Error writing bytes: No space left on device"), "the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/root/x"), "/root/x: permission denied"),
    ],
)
def test_a_disk_that_refuses_is_one_message(
    error: OSError, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "app", refuse)
    assert main([]) == 2
    assert words in capsys.readouterr().err


def test_a_defect_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "gone", "x")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(FileNotFoundError):
        main([])


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["schema", "--schema"], "kgdistill: stopped"),
        (
            ["ingest", "run"],
            "kgdistill: stopped; the same command, started again, goes on from the last finished stage",
        ),
    ],
)
def test_ctrl_c_ends_with_130_and_says_what_comes_next(command: list[str], said: str, tmp_path: Path) -> None:
    pipe = tmp_path / "schema.yaml"
    os.mkfifo(pipe)
    # A test run in the background of a shell ignores SIGINT, and so would its children.
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{listen}; import sys; from kgdistill.cli import main; sys.exit(main(sys.argv[1:]))"
    started = subprocess.Popen(
        [sys.executable, "-c", code, *command, str(pipe)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # Opening the writing end waits until the command reads its schema, so it is in the middle of its work.
    with pipe.open("w"):
        time.sleep(0.1)
        started.send_signal(signal.SIGINT)
        out, err = started.communicate(timeout=30)
    assert started.returncode == 130
    assert out == ""
    assert err.strip() == said


def test_a_reader_that_leaves_is_no_error() -> None:
    command = f"{sys.executable} -m kgdistill schema --json | head -c 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "{"
    assert done.stderr == ""


def test_json_has_no_number_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": float("nan"), "b": [float("inf"), 1.5]})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5]}


def test_a_plain_table_lines_up_and_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["na\x1bme", "count"], [["tea\x1b[31m\nx", 7], ["coffee\u202e", 1200]])
    assert capsys.readouterr().out == (
        "na\\x1bme       count\ntea\\x1b[31m x      7\ncoffee\\u202e    1200\n"
    )


def test_json_and_messages_steer_no_terminal_either(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"a\x1b[31m": "b\x9b31m\u202e\ud800"}
    print_json(value)
    sys.stdout.writelines(json_rows([value, {}]))
    say("c\x1b[31m\x9b\n  d")
    out, err = capsys.readouterr()
    whole, rows = out.split("\n[")
    assert json.loads(whole) == value
    assert json.loads(f"[{rows}") == [value, {}]
    assert err == "c\\x1b[31m\\x9b\n  d\n"
    assert not set(out + err) & set("\x1b\x9b\u202e\ud800")


@pytest.mark.parametrize("rows", [[], [{}], [{"a": [1, {"b": 2}]}, {"a": "x\ny"}]])
def test_rows_are_written_as_their_list_is(
    capsys: pytest.CaptureFixture[str], rows: list[dict[str, object]]
) -> None:
    print_json(rows)
    whole = capsys.readouterr().out
    sys.stdout.writelines(json_rows(rows))
    assert capsys.readouterr().out == whole
