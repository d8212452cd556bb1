"""Options that several commands share, and what they open."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kgdistill.errors import StoreAuthError, StoreError

if TYPE_CHECKING:
    from kgdistill.run.base import RunBase
    from kgdistill.run.run import Run
    from kgdistill.store import GraphStore, Schema

DEFAULT_STORE = "ladybug:kgdistill.db"

StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="KGDISTILL_STORE",
        metavar="URL",
        help="The graph store: ladybug:PATH, neo4j://HOST:PORT or bolt://HOST:PORT.",
    ),
]
UserOption = Annotated[str, typer.Option("--neo4j-user", metavar="NAME", help="The Neo4j user.")]
PasswordFileOption = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        metavar="FILE",
        help="A file, readable by you alone, with the Neo4j password; "
        "otherwise KGDISTILL_NEO4J_PASSWORD, or a prompt.",
    ),
]
SchemaOption = Annotated[
    Path | None,
    typer.Option(
        "--schema",
        metavar="FILE",
        help="A graph schema in YAML; else the one that the store keeps, or the project's own.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]
AllowSensitiveOption = Annotated[
    bool,
    typer.Option(
        "--allow-sensitive", help="Use what the schema declares sensitive; it is said where that was so."
    ),
]
RunOption = Annotated[Path, typer.Option("--run", metavar="RUN", help="The folder of the run.")]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device", metavar="NAME", help="auto, cpu, cuda or mps; the run's own setting where left out."
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads", min=0, max=1024, help="CPU threads, 0 for all; the run's own setting where left out."
    ),
]


TaskOption = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="NAME|FILE",
        help="What is asked, of a new run: one of `kgdistill task list`, or a file; of one that is there: "
        "refuse another. Left out: recommend, or the run's own.",
    ),
]


TasksOption = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        metavar="NAME|FILE",
        help="As for a run of one task; given again, each becomes a run in a folder inside RUN, and their "
        "bundles answer as one.",
    ),
]


def check_run_task(run: RunBase, task: str | None) -> None:
    """InputError where a run is of another task than the one that was named."""
    if task is None:
        return
    from kgdistill.run.create import check_same_task
    from kgdistill.tasks.spec import load_task

    hint = "leave --task out, or name another run"
    check_same_task(run.config.task, load_task(task), str(run.folder), hint)


def run_at(folder: Path, *, device: str | None = None, threads: int | None = None, keep: bool = False) -> Run:
    """Opens the run in `folder`.

    Args:
        folder: the run's folder.
        device: where to compute, instead of what the run's configuration says.
        threads: CPU threads, likewise.
        keep: write both into the run's configuration; training does, as they are part of what it made.

    Raises:
        ArtefactError: there is no run.
        InputError: its configuration has an unknown key or a bad value, or there is no such device.
    """
    from kgdistill.config import read_held, resolve_config
    from kgdistill.run.run import Run

    if device is not None:
        check_device(device)
    file = folder / "config.json"
    if not file.is_file():
        return Run.open(folder)
    values = read_held(file)
    changes = {k: v for k, v in (("device", device), ("threads", threads)) if v is not None}
    if keep:
        values |= changes
    config = resolve_config(values, where=str(file))
    run = Run(folder, config)
    if not keep:
        if device is not None:
            from kgdistill.models.device import choose_device

            run.device = choose_device(device)
        if threads:
            import torch

            torch.set_num_threads(threads)
    return run


def check_device(name: str) -> None:
    """Refuses a device that is not there; InputError.

    Without torch, which takes seconds to load, where it is not asked for a device of its own.
    """
    if name not in ("auto", "cpu"):
        from kgdistill.models.device import choose_device

        choose_device(name)


def store_at(
    url: str, user: str, password_file: Path | None, *, existing: bool = True, wait_s: float = 0.0
) -> GraphStore:
    """Opens the store that the options name.

    Args:
        url: the store's address.
        user: the Neo4j user.
        password_file: a file with the password, or None.
        existing: refuse a local folder that is not there, instead of making an empty store.
        wait_s: how long to wait for another process that holds a local folder.

    Raises:
        StoreError: see `open_store`; also a local store that does not exist.
        StoreAuthError: the password file cannot be read, or others can read it too.
    """
    from kgdistill.store import open_store

    kind, _, path = url.partition(":")
    if existing and kind == "ladybug" and path and not Path(path).exists():
        raise StoreError(
            "there is no store here",
            where=url,
            hint="name another with --store, or make it: kgdistill ingest --help",
        )
    password = password_in(password_file) if password_file else None
    return open_store(url, user=user, password=password, wait_s=wait_s)


def password_in(file: Path) -> str:
    """The password that a file holds.

    Raises:
        StoreAuthError: it cannot be read, is empty, or others can read it too.
    """
    try:
        mode = file.stat().st_mode
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not text"
        raise StoreAuthError(f"the password cannot be read: {reason}", where=str(file)) from error
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise StoreAuthError("others can read the password", where=str(file), hint=f"chmod 600 {file}")
    if not text:
        raise StoreAuthError("holds no password", where=str(file))
    return text


def schema_at(path: Path | None, store: GraphStore | None = None) -> Schema:
    """The schema that `--schema` names; else the one that the store keeps, or the project's own."""
    from kgdistill.ingest.journal import without_journal
    from kgdistill.store import kept_schema, load_schema

    if path is not None or store is None:
        return load_schema(path)
    return without_journal(kept_schema(store))
