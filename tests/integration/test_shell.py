"""`kgdistill shell` at a terminal and behind a pipe."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from kgdistill.cli.shell import completions, statements
from kgdistill.explore import write_back
from kgdistill.store import load_schema, open_store

COMMAND = [sys.executable, "-m", "kgdistill", "shell"]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"ladybug:{tmp_path_factory.mktemp('shop') / 'graph'}"
    with open_store(url) as store:
        store.apply_schema(load_schema())
        store.write_nodes("Brand", pa.table({"brand_id": ["b1", "b2"], "name": ["Hillside", "Kiln"]}))
        store.write_nodes("Product", pa.table({"product_id": ["tea-1"], "title": ["Green tea"]}))
        store.write_nodes("User", pa.table({"user_id": ["ann"]}))
        table = pa.table({"user": ["ann"], "product": ["tea-1"], "rank": [1], "score": [0.5]})
        for run in ("demo", "former"):
            write_back(store, run, table)
    return url


def _at_a_terminal() -> None:
    """Ctrl-C is a signal and no letter, and is heard: what runs in the background inherits deafness."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


class Terminal:
    """A program at a terminal of its own."""

    def __init__(self, url: str, home: Path) -> None:
        self._main, side = pty.openpty()
        environment = {**os.environ, "XDG_STATE_HOME": str(home), "TERM": "dumb", "COLUMNS": "200"}
        self.process = subprocess.Popen(
            [*COMMAND, "--store", url],
            stdin=side,
            stdout=side,
            stderr=side,
            env=environment,
            start_new_session=True,
            preexec_fn=_at_a_terminal,
        )
        os.close(side)
        self.shown = ""

    def until(self, text: str, seconds: float = 60.0) -> str:
        """Reads until `text` is shown; gives what came up to there."""
        end = time.monotonic() + seconds
        while text not in self.shown:
            assert time.monotonic() < end, f"{text!r} never came: {self.shown!r}"
            if select.select([self._main], [], [], 0.1)[0]:
                try:
                    self.shown += os.read(self._main, 4096).decode(errors="replace")
                except OSError:
                    assert text in self.shown, self.shown
        before, _, self.shown = self.shown.partition(text)
        return before

    def type(self, text: str) -> None:
        os.write(self._main, text.encode())

    def interrupt(self, until: str) -> str:
        """Ctrl-C, as often as it takes: one just before the program waits for a key is not heard."""
        for _ in range(30):
            self.type("\x03")
            with contextlib.suppress(AssertionError):
                return self.until(until, 3.0)
        raise AssertionError(f"{until!r} never came: {self.shown!r}")

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._main)


@pytest.fixture
def terminal(url: str, tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal(url, tmp_path)
    yield opened
    opened.close()


def test_a_person_asks_over_several_lines_completes_errs_and_goes_on(
    terminal: Terminal, tmp_path: Path, url: str
) -> None:
    terminal.until("kgdistill> ")
    terminal.type("MATCH (b:Bra\t")
    terminal.until("(b:Brand")
    terminal.type(")\nRETURN b.name AS brand;\n")
    terminal.until("...> ")
    assert "Hillside" in terminal.until("2 rows")
    terminal.until("kgdistill> ")
    terminal.type(":run also_b\t -p 'product=Grean tea'\n")
    assert "also_bought" in terminal.until("kgdistill> ")
    terminal.type(":run also_bought 'product=Grean tea'\n")
    assert "'Green tea' (tea-1)" in terminal.until("kgdistill> ")
    terminal.type("MATCH (b:Brand)\n")
    terminal.until("...> ")
    terminal.interrupt("kgdistill> ")
    terminal.type("RETURN 40 + 2 AS answer;\n")
    assert "42" in terminal.until("1 row")
    terminal.until("kgdistill> ")
    terminal.type("\x04")
    assert terminal.process.wait(timeout=60) == 0
    kept = tmp_path / "kgdistill" / "history"
    assert "RETURN 40 + 2 AS answer;" in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0
    again = Terminal(url, tmp_path)
    try:
        again.until("kgdistill> ")
        again.type("\x1b[A\n")
        assert "42" in again.until("1 row")
    finally:
        again.close()


def test_a_query_that_takes_too_long_can_be_stopped(terminal: Terminal) -> None:
    terminal.until("kgdistill> ")
    terminal.type("UNWIND range(1, 100000) AS x UNWIND range(1, 100000) AS y RETURN sum(x % 7 * y) AS s;\n")
    time.sleep(1.0)
    terminal.type("\x03")
    terminal.until("stopped")
    terminal.until("kgdistill> ")
    terminal.type(":run runs\n")
    assert "former" in terminal.until("2 rows")


def piped(url: str, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "--store", url, *options]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=120)


def test_a_pipe_gives_the_same_answers_and_the_first_mistake_ends_it(url: str) -> None:
    done = piped(url, "RETURN 1 AS x;\n:run runs\n\nRETURN ';'\n AS y", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = [json.loads(f"[{part}") for part in done.stdout.split("[")[1:]]
    assert [found[0], found[1][0]["run"], found[2]] == [[{"x": 1}], "demo", [{"y": ";"}]]
    done = piped(url, "RETURN 1 AS x;\nMATCH (n:Nothing) RETURN n;\nRETURN 2 AS y;\n")
    assert done.returncode == 2
    assert "Nothing does not exist" in done.stderr
    assert "y" not in done.stdout
    for wrong, says in (
        (":rnu x", "did you mean ':run'"),
        (":run 'x", "without an end"),
        (":run runs x", "NAME=VALUE"),
    ):
        done = piped(url, f"{wrong}\n")
        assert done.returncode == 2, wrong
        assert says in done.stderr, wrong
    done = piped(url, "UNWIND [1, 2, 3] AS x RETURN x;\n", "--limit", "2")
    assert "more than 2 rows" in done.stderr


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (":run", "':run' is not written as it should be\n  :run NAME"),
        (":list x", "':list x' is not written as it should be\n  :list"),
        (":rum x", "':rum x' is no command\n  did you mean ':run'?"),
        (":show " + "x" * 100_000, "there is no saved query 'xxx"),
        (":run also_bought product=" + "x" * 100_000, "there is no Product with the id or name 'xxx"),
    ],
)
def test_a_command_that_is_none_is_told_in_a_line_or_two(url: str, typed: str, says: str) -> None:
    done = subprocess.run(
        [*COMMAND, "--store", url], input=typed, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr) < 3000


def test_a_statement_ends_with_a_semicolon_an_empty_line_or_the_input() -> None:
    lines = iter(["a", "", ";", "b 'x;", "';", "c // ;", ";", ":run x", "/* d", "", "e;;", "; ;", "f"])

    def ask(prompt: str) -> str:
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    assert list(statements(ask)) == ["a", "b 'x;\n'", "c // ;", ":run x", "/* d", "e", "f"]


@pytest.mark.parametrize(
    ("before", "begun", "expected"),
    [
        ("MATCH (b:", "bra", ["Brand"]),
        ("MATCH (u:User)-[:", "bou", ["BOUGHT"]),
        ("MATCH (u:User)-[r:BOUGHT|", "vie", ["VIEWED", "VIEWED_TOGETHER"]),
        ("MATCH (b:Brand) RETURN b.", "brand_", ["brand_id", "brand_text"]),
        ("MATCH (b:Brand {", "nam", ["name"]),
        ("", "mat", ["MATCH"]),
        (":", "s", ["show"]),
        (":run ", "two", ["two_runs_for_user"]),
        (":run two_runs_for_user ", "two", []),
    ],
)
def test_what_may_follow_depends_on_what_stands_before(before: str, begun: str, expected: list[str]) -> None:
    assert completions(load_schema(), ["runs", "two_runs_for_user"], before, begun) == expected
