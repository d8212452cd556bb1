"""Runs a suite by its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from bench.suites.result import SuiteResult
from kgdistill.errors import InputError

SuiteName = Literal["completejourney", "office", "chorus"]


@dataclass(frozen=True)
class SuiteOptions:
    """What a suite runs on.

    Attributes:
        data: the folder that holds the data sets; None as in `data_folder`. Complete Journey comes from its
            package.
        work: where run folders and finished peers are kept, so that a suite that was stopped goes on.
        seeds: of ours, and of peers with chance in them where that is cheap.
        peers: whether to fit the peers.
        ablate: whether to train ours again with one piece removed at a time.
        ablate_seeds: with how many of the seeds; None: with all.
        device, threads: as in the configuration of a run.
        recbole_seconds: how long each of RecBole's models may train; 0 leaves them out.
        config: sections of a run's configuration over its defaults, such as {"teacher": {"epochs": 1}}.
        households: of Complete Journey, a sample; None: all.
        second_encoder: of Chorus, the folder of the second peer's encoder; empty: all-mpnet-base-v2.
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
    config: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    households: int | None = None
    second_encoder: str = ""


def run_suite(name: str, options: SuiteOptions) -> SuiteResult:
    """Trains and judges every arm of a suite under its protocol.

    Args:
        name: "completejourney", "office" or "chorus".
        options: what it runs on.

    Raises:
        InputError: an unknown name, no seeds, or data that are not there.
    """
    if name not in get_args(SuiteName):
        raise InputError(f"no suite is called {name!r}", hint=f"there are: {', '.join(get_args(SuiteName))}")
    if not options.seeds or len(set(options.seeds)) < len(options.seeds):
        raise InputError("a suite needs one seed or more, each once")
    if name == "completejourney":
        from bench.suites.journey import journey_suite

        return journey_suite(options)
    if name == "office":
        from bench.suites.office import office_suite

        return office_suite(options)
    from bench.suites.chorus import ChorusOptions, chorus_suite

    return chorus_suite(
        ChorusOptions(
            data=options.data,
            seeds=options.seeds,
            peers=options.peers,
            second_encoder=options.second_encoder,
        )
    )
