"""A suite of discovery: ours and the peers on one graph under one protocol."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from bench.suites.choose import Choose, Chooser, Peer, judged_peer
from bench.suites.judge import Judge, kept
from bench.suites.ours import ABLATIONS, COMPARISONS, SHARES, ablated_arms, our_arms, train_runs
from bench.suites.peers import Content, brand_of, groups
from bench.suites.result import ArmScores, SuiteResult
from bench.suites.run import SuiteOptions
from bench.text_speed import texts_per_second, titles_of
from kgdistill.errors import InputError
from kgdistill.models.text.transformer import TransformerText
from kgdistill.run.run import Run
from kgdistill.store import GraphStore
from kgdistill.tasks.match import build_task
from kgdistill.tasks.protocol import DiscoveryProtocol


@dataclass(frozen=True)
class Discovery:
    """What makes a suite.

    Attributes:
        name: of the suite.
        protocol: what is asked.
        graph: opens the graph.
        choose: by what peers' hyper-parameters are chosen.
        peers: makes them, given the chooser, the content and the folder of the suite.
        headline: setting -> the metric shown first.
        against: peers that the student is compared with.
    """

    name: str
    protocol: DiscoveryProtocol
    graph: Callable[[], AbstractContextManager[GraphStore]]
    choose: Choose
    peers: Callable[[Chooser, Content, Path], Sequence[Peer]]
    headline: dict[str, str]
    against: tuple[str, ...]


def discovery_suite(what: Discovery, options: SuiteOptions) -> tuple[SuiteResult, list[Run]]:
    """Trains ours with every seed, chooses and fits the peers, and judges each arm once on the test split.

    Returns:
        The figures, and the runs of ours.

    Raises:
        InputError: from the data or the configuration.
    """
    folder = options.work / what.name
    runs = train_runs(folder, what.protocol, what.graph, options)
    first = runs[0]
    read = content_of(first)
    # The runs' own tasks stay closed: training and choosing have no other.
    events = pq.read_table(first.folder / "graph" / "holdout.parquet")
    judge = Judge(build_task(first.snapshot, events, what.protocol), brand_of(read.brand))
    rates = _rates(first)
    arms = [_rated(judge.ours(arm), rates) for arm in our_arms(runs)]
    if options.ablate:
        arms += [_rated(judge.ours(arm), rates) for arm in ablated_arms(runs[: options.ablate_seeds])]
    notes = [f"Ours with the seeds {', '.join(map(str, options.seeds))}; settings by validation alone."]
    if options.peers:
        chooser = Chooser(first.task, what.choose)
        from_ = {
            "protocol": what.protocol.model_dump(mode="json"),
            "choose": dict(what.choose),
            "snapshot": first.snapshot.content_hash,
            "encoder": first.config.text.model_dump(mode="json"),
        }
        for peer in what.peers(chooser, read, folder):
            budget = options.recbole_seconds if peer.arm.startswith("recbole") else None
            for seed in peer.seeds:
                key = {**from_, "arm": peer.arm, "seed": seed, "grid": list(peer.grid), "budget": budget}
                make = partial(judged_peer, peer, chooser, judge, seed)
                arms.append(_rated(kept(folder / "peers", key, make, judge.units), rates))
        if any(arm.title.endswith("†") for arm in arms):
            notes.append(f"† RecBole's defaults, 300 epochs or {options.recbole_seconds:g} s: lower bounds.")
    names = {arm.arm for arm in arms}
    pairs = [*COMPARISONS, *(("student", peer) for peer in what.against)]
    result = SuiteResult(
        suite=what.name,
        protocol=what.protocol.describe(),
        units=judge.units,
        arms=arms,
        comparisons=[pair for pair in pairs if names.issuperset(pair)],
        ablations=[(a.of, a.arm) for a in ABLATIONS if a.arm in names],
        shares=[pair for pair in SHARES if names.issuperset(pair)],
        headline=dict(what.headline),
        notes=notes,
    )
    return result, runs


def with_tail(protocol: DiscoveryProtocol) -> DiscoveryProtocol:
    """The protocol with the long tail as a further setting."""
    return protocol.model_copy(update={"settings": (*protocol.settings, "tail")})


def content_of(run: Run) -> Content:
    """What content peers read: the text teacher's vectors, brands and categories of a run.

    Raises:
        InputError: the graph has no brands.
    """
    brand = groups(run.snapshot, "MADE_BY", "Brand")
    if brand is None:
        raise InputError("no product has a brand", where=str(run.snapshot.folder))
    catalogue = run.by_history.catalogue
    vectors = np.asarray(catalogue.text[catalogue.text_rows], dtype=np.float32)
    return Content(vectors, brand, groups(run.snapshot, "IN_CATEGORY", "Category"))


def _rated(arm: ArmScores, rates: dict[str, float]) -> ArmScores:
    """The arm with the rate of the text tower that it serves from."""
    if arm.arm == "text_knn" or arm.arm.startswith("teacher"):
        return replace(arm, texts_per_second=rates["teacher"])
    if arm.arm.startswith("student"):
        return replace(arm, texts_per_second=rates["student"])
    return arm


def _rates(run: Run) -> dict[str, float]:
    """Titles of 16 tokens a second, by text tower, on at most two threads."""
    settings = run.config.text
    own = run.folder / "text" / "encoder"
    encoder = TransformerText(
        str(own) if own.is_dir() else settings.encoder, device=run.device, precision=settings.precision
    )
    titles = titles_of(
        run.snapshot.texts("Product")[:2000], lambda texts: encoder.token_ids(texts, special=False)
    )
    threads = min(2, os.cpu_count() or 1)
    static = run.by_history.text_tower()
    return {
        "teacher": texts_per_second(encoder.encode, titles, threads=threads, repeats=3),
        "student": texts_per_second(static.encode, titles * 8, threads=threads),
    }
