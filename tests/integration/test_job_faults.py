"""Jobs when things go wrong: kills, servers that go away, full disks, other jobs, damaged files."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from _jobs import both_states, graph, run_both_states, write_states

from kgdistill.ingest.archive import Archive
from kgdistill.ingest.job import resume
from kgdistill.ingest.journal import Journal
from kgdistill.store import MemoryStore, open_store
from tests.integration.conftest import wipe

KILLS = 20
# Thousands of rows, such that a job takes a second or two.
SCALE = {"ladybug": 2, "neo4j": 1}


def processes() -> Any:
    """Processes that begin in milliseconds: forked from one that has imported everything and no more."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["_jobs", "kgdistill.store._neo4j"])
    return context


def target(kind: str, request: pytest.FixtureRequest, work: Path) -> tuple[str, str]:
    """The address of an empty store, and its password."""
    if kind == "ladybug":
        return f"ladybug:{work / 'db'}", ""
    server = request.getfixturevalue("neo4j_server")
    wipe(server)
    return server.url, server.password


def killed_where(archive: Path, done: int) -> str:
    """At what the kill came."""
    if not (archive / "archive.json").exists():
        return "before the archive"
    place = Archive(archive)
    if place.unfinished():
        return f"reading job {len(place.numbers()) + 1}"
    return f"writing job {len(place.numbers())}" if done < len(place.numbers()) else f"after job {done}"


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["ladybug", "neo4j"])
def test_kills_at_twenty_moments_and_going_on_lead_to_the_graph_of_jobs_never_stopped(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    draw = random.Random(f"kills of {kind}")
    write_states(tmp_path, SCALE[kind])
    with MemoryStore() as store:
        both_states(store, tmp_path)
        wanted = graph(store)
    assert wanted["User-BOUGHT-Product"].num_rows > 5_000 * SCALE[kind]
    places: Counter[str] = Counter()
    seconds, kills, attempt = 0.0, 0, 0
    while kills < KILLS:
        work = tmp_path / f"kill{attempt}"
        work.mkdir()
        write_links(tmp_path, work)
        url, password = target(kind, request, work)
        started = processes().Event()
        child = processes().Process(target=run_both_states, args=(url, password, str(work), started))
        child.start()
        assert started.wait(60)
        begun = time.monotonic()
        # The first tells how long it takes; the kills are spread over all of that, one in each part of it.
        moment = None if not seconds else seconds * (kills + draw.random()) / KILLS
        child.join(moment)
        if child.exitcode is None:
            child.kill()
        child.join()
        killed = child.exitcode == -9
        assert killed or child.exitcode == 0
        if not killed:
            # Done sooner than thought: the moments move with it.
            seconds = min(seconds or 1e9, time.monotonic() - begun)
        with open_store(url, password=password, wait_s=5.0) as store:
            place = Archive(work / "archive")
            if killed:
                kills += 1
                done = sum(entry["state"] == "done" for entry in Journal(store).entries())
                places[killed_where(work / "archive", done)] += 1
                if kills % 2:
                    resume(store, place, threads=1)
                    assert not place.unfinished()
            both_states(store, work)
            assert graph(store) == wanted
            entries = Journal(store).entries()
            assert [(e["job_number"], e["state"]) for e in entries] == [(n, "done") for n in place.numbers()]
            assert len(entries) == 2
            assert both_states(store, work) is None
        attempt += 1
    print(f"{kind}: {kills} kills survived over {seconds:.1f} s: {dict(places)}")
    # They came at everything that there is to be stopped at.
    assert {"writing job 1", "writing job 2"} <= places.keys()


def write_links(states: Path, work: Path) -> None:
    """A shop of its own over the same files."""
    for name in ("state1", "state2"):
        (work / name).symlink_to(states / name)
    (work / "files").symlink_to("state1")
