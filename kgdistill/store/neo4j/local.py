"""A real Neo4j on this machine without Docker, for tests and for people who have Java and Maven."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import string
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from neo4j import GraphDatabase
from neo4j.exceptions import AuthError, DriverError, Neo4jError

from kgdistill.errors import InputError, StoreAuthError, StoreError
from kgdistill.progress import step
from kgdistill.resources import graph_dir
from kgdistill.store.neo4j import tools

_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 60.0
_OPENS = ("java.nio", "java.io", "sun.nio.ch", "java.util.concurrent")
_USER = "neo4j"


@dataclass(frozen=True)
class LocalServer:
    """A running local Neo4j.

    Attributes:
        url: the Bolt address, for `open_store`.
        http_url: the address of the HTTP interface.
        user: the user's name.
        password_file: the file, mode 0600, that holds the password; the password is nowhere else.
        pid: the server's process id.
        data_dir: the folder that holds the graph, the settings and the logs.
        log_file: what the server prints.
        already_running: true when `start` found it running and started nothing.
    """

    url: str
    http_url: str
    user: str
    password_file: Path
    pid: int
    data_dir: Path
    log_file: Path
    already_running: bool = False

    def password(self) -> str:
        """Reads the password file; StoreAuthError when it is gone."""
        return _read_password(self.password_file)


@dataclass(frozen=True)
class LocalStatus:
    """What `status` found.

    Attributes:
        state: "running"; "stopped"; "stale" when a server was recorded that died without being stopped.
        server: the running server, None in the other two cases.
    """

    state: Literal["running", "stopped", "stale"]
    server: LocalServer | None


@dataclass(frozen=True)
class StopReport:
    """What `stop` did: whether a server was running, its process id, and seconds until it had ended."""

    was_running: bool
    pid: int | None
    seconds: float


@dataclass(frozen=True)
class _State:
    pid: int
    started: str
    bolt_port: int
    http_port: int
    version: str


def start(
    data_dir: str | Path,
    *,
    bolt_port: int | None = None,
    http_port: int | None = None,
    heap: str = "1g",
) -> LocalServer:
    """Starts a Neo4j that keeps its graph in `data_dir` and listens on 127.0.0.1 only.

    The first start ever fetches the server's jars (about 120 MB) with Maven into the user's cache.
    Returns when Bolt answers and has been seen to refuse a caller without the password. A server
    that already runs on `data_dir` is returned as it is, with `already_running` set.

    Args:
        data_dir: a new or empty folder, or one that an earlier `start` made.
        bolt_port: the Bolt port; by default that of the last start, else a free one.
        http_port: likewise for HTTP.
        heap: the Java heap, such as "512m" or "2g".

    Raises:
        ToolMissingError: no Java 17 or later, or no Maven, on the path.
        InputError: the folder holds something else, or `heap` is no size.
        StoreError: a port is taken, the jars cannot be fetched, or the server does not come up; the
            message carries the end of its log.
    """
    folder = Path(data_dir).expanduser().resolve()
    if not heap[:-1].isdigit() or heap[-1:].lower() not in {"m", "g"}:
        raise InputError(f"heap {heap!r} is no size", hint='write it like "512m" or "2g"')
    with _locked(folder, create=True):
        old = _read_state(folder)
        if old is not None and _alive(old):
            server = _describe(folder, old)
            for name, asked, has in (("Bolt", bolt_port, old.bolt_port), ("HTTP", http_port, old.http_port)):
                if asked not in (None, has):
                    raise StoreError(
                        f"already runs with {name} port {has}, not {asked}",
                        where=str(folder),
                        hint="stop it first, or leave the port out",
                    )
            _wait_until_ready(server, old)
            return replace(server, already_running=True)
        java = tools.find_java()
        jars = tools.fetch_jars()
        ports = (
            _pick_port(bolt_port, old.bolt_port if old else None),
            _pick_port(http_port, old.http_port if old else None),
        )
        return _launch(folder, java, jars, ports, heap)


def stop(data_dir: str | Path) -> StopReport:
    """Stops the server of `data_dir` with SIGTERM and waits until it has ended; harmless when none runs.

    Raises:
        InputError: `data_dir` is no folder of a local Neo4j.
        StoreError: it has not ended within a minute.
    """
    folder = _known_folder(data_dir)
    with _locked(folder):
        state = _read_state(folder)
        if state is None or not _alive(state):
            _write_state(folder, replace(state, pid=0) if state else None)
            return StopReport(False, None, 0.0)
        begun = time.monotonic()
        _end(state)
        _write_state(folder, replace(state, pid=0))
        return StopReport(True, state.pid, time.monotonic() - begun)


def status(data_dir: str | Path) -> LocalStatus:
    """Says whether a server runs on `data_dir`; starts and changes nothing.

    Raises:
        InputError: `data_dir` is no folder of a local Neo4j.
    """
    folder = _known_folder(data_dir)
    state = _read_state(folder)
    if state is None or state.pid == 0:
        return LocalStatus("stopped", None)
    if not _alive(state):
        return LocalStatus("stale", None)
    return LocalStatus("running", _describe(folder, state))


def _launch(folder: Path, java: str, jars: Path, ports: tuple[int, int], heap: str) -> LocalServer:
    conf, logs = folder / "conf", folder / "logs"
    for part in (conf, logs):
        part.mkdir(exist_ok=True)
    template = string.Template((graph_dir() / "neo4j" / "neo4j.conf").read_text(encoding="utf-8"))
    text = template.substitute(bolt_port=ports[0], http_port=ports[1], pagecache="256m")
    (conf / "neo4j.conf").write_text(text, encoding="utf-8")
    _ensure_password(folder, java, jars)
    command = [java, f"-Xms{heap}", f"-Xmx{heap}", "-XX:+UseG1GC", "-Dfile.encoding=UTF-8"]
    command += [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in _OPENS]
    command += ["-cp", f"{jars}/*", "org.neo4j.server.CommunityEntryPoint"]
    command += [f"--home-dir={folder}", f"--config-dir={conf}"]
    with step("starting Neo4j"):
        pid = _spawn(command, logs / "console.log")
        state = _State(pid, tools.process_start(pid) or "", *ports, tools.neo4j_version())
        server = _describe(folder, state)
        try:
            _write_state(folder, state)
            _wait_until_ready(server, state)
        except BaseException:
            # Nobody would know of a server that was left half started.
            with suppress(StoreError):
                _end(state)
            _write_state(folder, replace(state, pid=0))
            raise
    return server


def _spawn(command: list[str], log: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    # A session of its own: Ctrl-C in the terminal must not end the server.
    return os.posix_spawn(command[0], command, os.environ, file_actions=actions, setsid=True)


def _ensure_password(folder: Path, java: str, jars: Path) -> None:
    file = folder / "password"
    has_data = (folder / "data" / "databases" / "system").exists()
    if has_data:
        _read_password(file)
        return
    if not file.exists():
        alphabet = string.ascii_letters + string.digits
        word = "".join(secrets.choice(alphabet) for _ in range(32))
        fresh = folder / f".password.{os.getpid()}"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(word + "\n")
        fresh.replace(file)
    tools.set_initial_password(java, jars, folder, file)


def _read_password(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise StoreAuthError(
            f"the password file cannot be read: {error.strerror}",
            where=str(file),
            hint="put it back, or start with a new data folder and ingest again",
        ) from error


def _wait_until_ready(server: LocalServer, state: _State) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not _answers(server):
        if not _alive(state):
            raise StoreError(
                f"Neo4j ended while it was starting; the end of its log:\n{tools.tail(server.log_file)}",
                where=str(server.log_file),
            )
        if time.monotonic() > deadline:
            raise StoreError(
                f"Neo4j did not answer on {server.url} within {_START_TIMEOUT_S:.0f} s; the end of its log:\n"
                f"{tools.tail(server.log_file)}",
                where=str(server.log_file),
            )
        time.sleep(0.25)
    if _accepts(server, None):
        raise StoreError(
            "the server answers callers without a password",
            where=str(server.data_dir),
            hint="something else may listen on that port; stop it and start again",
        )


def _answers(server: LocalServer) -> bool:
    port = int(server.url.rsplit(":", 1)[1])
    with socket.socket() as probe:
        probe.settimeout(1.0)
        if probe.connect_ex(("127.0.0.1", port)) != 0:
            return False
    try:
        return _accepts(server, (server.user, server.password()))
    except AuthError as error:
        raise StoreAuthError(
            "the running server does not take the password of its password file",
            where=str(server.password_file),
            hint="write the current password into that file",
        ) from error


def _accepts(server: LocalServer, auth: tuple[str, str] | None) -> bool:
    try:
        with GraphDatabase.driver(
            server.url, auth=auth, connection_timeout=5, telemetry_disabled=True
        ) as driver:
            driver.execute_query("RETURN 1")
    except AuthError:
        if auth is None:
            return False
        raise
    except (DriverError, Neo4jError):
        return False
    return True


def _end(state: _State) -> None:
    with suppress(ProcessLookupError):
        os.kill(state.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    while _alive(state):
        if time.monotonic() > deadline:
            raise StoreError(
                f"process {state.pid} has not ended {_STOP_TIMEOUT_S:.0f} s after SIGTERM",
                hint=f"wait, or end it by hand: kill -9 {state.pid}",
            )
        time.sleep(0.1)


def _alive(state: _State) -> bool:
    if state.pid == 0:
        return False
    # A server that this very process started stays a zombie until it is waited for.
    with suppress(ChildProcessError):
        os.waitpid(state.pid, os.WNOHANG)
    return tools.process_start(state.pid) == state.started


def _describe(folder: Path, state: _State) -> LocalServer:
    return LocalServer(
        url=f"bolt://127.0.0.1:{state.bolt_port}",
        http_url=f"http://127.0.0.1:{state.http_port}",
        user=_USER,
        password_file=folder / "password",
        pid=state.pid,
        data_dir=folder,
        log_file=folder / "logs" / "console.log",
    )


def _pick_port(asked: int | None, last: int | None) -> int:
    for port in (asked, last, 0):
        if port is None:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except (OSError, OverflowError) as error:
                if port == asked:
                    raise StoreError(
                        f"port {port} cannot be used: {error}", hint="choose another, or leave it out"
                    ) from error
                continue
            return int(probe.getsockname()[1])
    raise StoreError("no free port on 127.0.0.1")


@contextmanager
def _locked(folder: Path, *, create: bool = False) -> Iterator[None]:
    lock = folder / tools.MARKER
    if create:
        # The lock is made before any other file; looked for last, it cannot be missed beside them.
        if folder.is_dir() and any(folder.iterdir()) and not lock.exists():
            raise InputError(
                "holds other files and is no folder of a local Neo4j",
                where=str(folder),
                hint="name a new or empty folder",
            )
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise InputError(f"cannot be made: {error.strerror}", where=str(folder)) from error
    with tools.file_lock(lock, _START_TIMEOUT_S):
        yield


def _known_folder(data_dir: str | Path) -> Path:
    folder = Path(data_dir).expanduser().resolve()
    if not (folder / tools.MARKER).exists():
        raise InputError(
            "is no folder of a local Neo4j", where=str(folder), hint="`kgdistill neo4j start` makes one"
        )
    return folder


def _read_state(folder: Path) -> _State | None:
    file = folder / "server.json"
    try:
        return _State(**json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(
            f"cannot be read: {error}", where=str(file), hint="end the server by hand, then delete the file"
        ) from error


def _write_state(folder: Path, state: _State | None) -> None:
    if state is None:
        return
    fresh = folder / f".server.{os.getpid()}.json"
    fresh.write_text(json.dumps(asdict(state), indent=1) + "\n", encoding="utf-8")
    fresh.replace(folder / "server.json")
