"""`kgdistill explore`: where it listens, what it prints, how it ends."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from _explored import explored

from kgdistill import Graph
from kgdistill.cli import main

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"ladybug:{tmp_path_factory.mktemp('shop') / 'shop.db'}"
    with Graph(url) as graph:
        graph.ingest(ROOT / "data" / "sample_shop")
    return url


def status(port: int, path: str, **headers: str) -> tuple[int, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_another_address_prints_a_token_and_asks_for_it(shop: str) -> None:
    with explored(shop, "--host", "0.0.0.0") as address:
        found = re.fullmatch(r"http://0\.0\.0\.0:(\d+)/\?token=(\S{32})", address)
        assert found
        port, token = int(found[1]), found[2]
        assert status(port, "/")[0] == 401
        assert status(port, "/", Authorization=f"Bearer {token}")[0] == 200
        # What is no request at all is refused, and the next one answered.
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n")
            assert b" 400 " in raw.recv(200)
        assert status(port, "/", Authorization=f"Bearer {token}")[0] == 200


def test_this_machine_needs_none(shop: str) -> None:
    with explored(shop) as address:
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)", address)
        assert found
        code, text = status(int(found[1]), "/card?label=User&key=ann")
        assert code == 200
        assert "Green tea" in text
        assert status(int(found[1]), "/", Host="evil.example")[0] == 421


def test_a_script_gets_the_address_as_json(shop: str) -> None:
    command = [sys.executable, "-m", "kgdistill", "explore", "--store", shop, "--port", "0", "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as served:
        assert served.stdout is not None
        told = json.loads("".join(served.stdout.readline() for _ in range(3)))
        port = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/", told["address"])
        assert port
        assert status(int(port[1]), "/")[0] == 200
        served.send_signal(signal.SIGINT)
        assert served.wait(20) == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--token", "short"], "the token is shorter than 16 characters"),
        (["--host", "no.such.host.invalid"], "cannot listen there"),
        (["--bundle", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_is_one_message(
    shop: str, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explore", "--store", shop, "--port", "0", *arguments]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said


def test_a_port_that_is_taken_is_named(shop: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["explore", "--store", shop, "--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert f"127.0.0.1:{port}: cannot listen there" in said
    assert "--port 0" in said


def test_the_guides_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shown,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "page.md").read_text("utf-8"), flags=re.S)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(ROOT / "data")
    held: dict[str, object] = {}
    exec(compile(shown, "docs/page.md", "exec"), held)
    assert type(held["app"]).__name__ == "FastAPI"


def test_the_guide_shows_every_screen() -> None:
    shown = re.findall(r"\(screens/(\w+\.png)\)", (ROOT / "docs" / "page.md").read_text("utf-8"))
    assert sorted(shown) == sorted(file.name for file in (ROOT / "docs" / "screens").iterdir())
