"""Runs a suite by its name or its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.suites.data import data_folder
from bench.suites.result import SuiteResult
from bench.suites.spec import DiscoverySuite, data_root, load_suite, suite_file
from kgdistill.errors import InputError


@dataclass(frozen=True)
class SuiteOptions:
    """What a suite runs on.

    Attributes:
        data: the folder in which the suite's is looked for; None: beside its file, and of the project's own
            suites as in `data_folder`.
        work: where run folders and finished peers are kept, so that a suite that was stopped goes on.
        seeds: of ours, and of peers with chance in them where that is cheap.
        peers: whether to fit the peers.
        ablate: whether to train ours again with one piece removed at a time.
        ablate_seeds: with how many of the seeds; None: with all.
        device, threads: as in the configuration of a run.
        recbole_seconds: how long each of RecBole's models may train; 0 leaves them out.
        rectools_seconds: the same of each training of RecTools' models.
        config: sections of a run's configuration over its defaults, such as {"teacher": {"epochs": 1}}.
        decoys: of discovery, as in the suite's file and over it; the suite is then called NAME-decoys.
        second_encoder: of search, the folder of the second peer's encoder; empty: all-mpnet-base-v2.
    """

    data: Path | None = None
    work: Path = Path("runs") / "bench"
    seeds: tuple[int, ...] = (0, 1, 2)
    peers: bool = True
    ablate: bool = False
    ablate_seeds: int | None = None
    device: str = "auto"
    threads: int = 0
    recbole_seconds: float = 240.0
    rectools_seconds: float = 300.0
    config: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    decoys: int = 0
    second_encoder: str = ""


def run_suite(name_or_path: str | Path, options: SuiteOptions) -> SuiteResult:
    """Trains and judges every arm of a suite under its protocol.

    Args:
        name_or_path: one of the project's own, a folder with a `suite.yaml`, or such a file.
        options: how it is run.

    Raises:
        InputError: there is no such suite, it is not valid, no seeds, or data that are not there.
    """
    if not options.seeds or len(set(options.seeds)) < len(options.seeds):
        raise InputError("a suite needs one seed or more, each once")
    what = load_suite(name_or_path)
    if options.second_encoder and what.kind != "search":
        raise InputError("only suites of search have a second encoder", hint="leave --second-encoder out")
    if options.decoys:
        if not isinstance(what, DiscoverySuite):
            raise InputError("only suites of discovery have decoys", hint="leave --decoys out")
        what = what.model_copy(update={"decoys": options.decoys, "name": f"{what.name}-decoys"})
    folder = data_folder(what.data, options.data or data_root(suite_file(name_or_path)))
    if isinstance(what, DiscoverySuite):
        from bench.suites.discovery import discovery_suite

        return discovery_suite(what, folder, options)[0]
    from bench.suites.search import search_suite

    return search_suite(what, folder, options)
