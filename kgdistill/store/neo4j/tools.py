"""What the local Neo4j needs of the machine: Java, Maven, the server's jars, locks, process times."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

from kgdistill.errors import DiskError, StoreError, StoreLockedError, ToolMissingError
from kgdistill.progress import step
from kgdistill.resources import cache_root, graph_dir

MARKER = ".kgdistill-neo4j.lock"
_JAVA_HINT = (
    "install it (Debian/Ubuntu: apt-get install openjdk-17-jre-headless; macOS: brew install openjdk@17), "
    "or use `docker compose up -d neo4j`"
)
_MAVEN_HINT = (
    "install it (Debian/Ubuntu: apt-get install maven; macOS: brew install maven), "
    "or use `docker compose up -d neo4j`"
)


def java_major(text: str) -> int | None:
    """The major version in what `java -version` prints; None when there is none in it."""
    found = re.search(r'version "(\d+)(?:\.(\d+))?', text)
    if found is None:
        return None
    major = int(found[1])
    return int(found[2]) if major == 1 and found[2] else major


def find_java() -> str:
    """The path of a Java 17 or later; ToolMissingError says what is missing."""
    java = shutil.which("java")
    if java is None:
        raise ToolMissingError("Java 17 or later is not on the path", hint=_JAVA_HINT)
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolMissingError(f"{java} does not run: {error}", hint=_JAVA_HINT) from error
    major = java_major(answer.stderr + answer.stdout)
    if answer.returncode != 0 or major is None:
        raise ToolMissingError(f"{java} is no working Java", hint=_JAVA_HINT)
    if major < 17:
        raise ToolMissingError(f"Java 17 or later is needed, and {java} is Java {major}", hint=_JAVA_HINT)
    return java


def neo4j_version() -> str:
    """The version of Neo4j that `graph/neo4j/pom.xml` names."""
    root = ElementTree.parse(graph_dir() / "neo4j" / "pom.xml").getroot()
    found = root.find("{*}properties/{*}neo4j.version")
    if found is None or not found.text:
        raise StoreError("names no neo4j.version", where=str(graph_dir() / "neo4j" / "pom.xml"))
    return found.text.strip()


def cache_dir() -> Path:
    """Where the jars are kept: in a folder of the cache, by version."""
    return cache_root() / f"neo4j-{neo4j_version()}"


def fetch_jars() -> Path:
    """The folder with the server's jars; fetched by Maven when it is not there yet.

    Raises:
        ToolMissingError: the jars must be fetched and Maven is not on the path.
        StoreError: Maven failed; the message carries the end of what it printed.
    """
    home = cache_dir()
    jars = home / "lib"
    if jars.is_dir():
        return jars
    maven = shutil.which("mvn")
    if maven is None:
        raise ToolMissingError(
            "Maven is not on the path, and Neo4j has not been fetched yet", hint=_MAVEN_HINT
        )
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiskError(f"cannot be made: {error.strerror}", where=str(home)) from error
    with file_lock(home / MARKER, 1800.0):
        if jars.is_dir():
            return jars
        with tempfile.TemporaryDirectory(prefix="fetch-", dir=home) as scratch:
            fresh = Path(scratch) / "lib"
            command = [maven, "-q", "-B", "-f", str(graph_dir() / "neo4j" / "pom.xml")]
            command += [
                "dependency:copy-dependencies",
                "-DincludeScope=runtime",
                f"-DoutputDirectory={fresh}",
            ]
            with step(f"fetching Neo4j {neo4j_version()} with Maven (about 120 MB)"):
                answer = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
            if answer.returncode != 0 or not any(fresh.glob("neo4j-server-*.jar")):
                printed = "\n".join((answer.stdout + answer.stderr).strip().splitlines()[-15:])
                raise StoreError(
                    f"Maven could not fetch Neo4j:\n{printed}",
                    hint="check the network and Maven's settings, then start again",
                )
            fresh.rename(jars)
    return jars


def set_initial_password(java: str, jars: Path, folder: Path, password_file: Path) -> None:
    """Gives a server that never ran its first password, by Neo4j's own admin tool.

    The tool expands `@file` into arguments, so the password is on no command line.
    """
    environment = {**os.environ, "NEO4J_HOME": str(folder), "NEO4J_CONF": str(folder / "conf")}
    command = [java, "-cp", f"{jars}/*", "org.neo4j.cli.AdminTool", "dbms", "set-initial-password"]
    command.append(f"@{password_file}")
    answer = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if answer.returncode != 0:
        printed = "\n".join((answer.stdout + answer.stderr).strip().splitlines()[-5:])
        raise StoreError(f"the first password could not be set:\n{printed}", where=str(folder))


def process_start(pid: int) -> str | None:
    """When the process began, as the system tells it; None when there is none, or a zombie."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # The name of the program stands in brackets and may hold spaces.
            fields = stat.read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()
        except OSError:
            return None
        # The main thread of a killed Java is a zombie before the other threads have let go of their ports.
        return None if fields[0] in {"Z", "X"} and int(fields[17]) <= 1 else fields[19]
    answer = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True)
    state, _, began = answer.stdout.strip().partition(" ")
    return None if not began or state.startswith("Z") else began.strip()


def tail(file: Path, lines: int = 15) -> str:
    """The last lines of a log; says so when there are none."""
    try:
        return (
            "\n".join(file.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]) or "(empty)"
        )
    except OSError:
        return "(no log)"


@contextmanager
def file_lock(file: Path, timeout_s: float) -> Iterator[None]:
    """Holds a lock that other processes and threads wait for; the system frees it when we die.

    Raises:
        StoreLockedError: somebody else held it for `timeout_s` seconds.
        DiskError: the lock file cannot be opened.
    """
    deadline = time.monotonic() + timeout_s
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise DiskError(f"cannot be opened: {error.strerror}", where=str(file)) from error
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StoreLockedError(
                        "another process is starting or stopping this server", where=str(file)
                    ) from None
                time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)
