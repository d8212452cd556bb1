"""A suite of discovery: ours and the baselines on one graph under one protocol."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from bench.suites.choose import Chooser, Peer, judged_peer
from bench.suites.data import graph_of, purchase_lines, suite_tables
from bench.suites.decoys import WIDE, levels, named, with_decoys
from bench.suites.front import fronts
from bench.suites.judge import Judge, kept
from bench.suites.ours import ABLATIONS, COMPARISONS, SHARES, ablated_arms, our_arms, train_runs
from bench.suites.peers import (
    Content,
    blends,
    brand_of,
    collaborative,
    content,
    groups,
    lightgcn,
    popular,
    recboles,
    sequences,
)
from bench.suites.repeat import add_repeat
from bench.suites.result import ArmScores, SuiteResult
from bench.suites.run import SuiteOptions
from bench.suites.spec import DiscoverySuite
from bench.text_speed import texts_per_second, titles_of
from kgdistill.models.text.transformer import TransformerText
from kgdistill.run.run import Run
from kgdistill.store import GraphStore
from kgdistill.tasks.match import build_task


def discovery_suite(
    what: DiscoverySuite, folder: Path, options: SuiteOptions
) -> tuple[SuiteResult, list[Run]]:
    """Trains ours with every seed, chooses and fits the baselines, and judges each arm on the test.

    Args:
        what: the suite.
        folder: of its data.
        options: how it is run.

    Returns:
        The figures, and the runs of ours.

    Raises:
        InputError: from the data or the configuration.
    """
    work = options.work / what.name
    graph = partial(_graph, what, folder)
    runs = train_runs(work, what.protocol, graph, _own(what, options))
    first = runs[0]
    read = content_of(first)
    # The runs' own tasks stay closed: training and choosing have no other.
    events = pq.read_table(first.folder / "graph" / "holdout.parquet")
    brands = None if read.brand is None else brand_of(read.brand)
    judge = Judge(build_task(first.snapshot, events, what.protocol), brands, what.decoys)
    rates = _rates(first)
    arms = [_rated(judge.ours(arm), rates) for arm in our_arms(runs)]
    if options.ablate:
        arms += [_rated(judge.ours(arm), rates) for arm in ablated_arms(runs[: options.ablate_seeds])]
    notes = [f"Ours with the seeds {', '.join(map(str, options.seeds))}; settings by validation alone."]
    if options.peers:
        found = _judged_peers(what, work, first, read, judge, options)
        arms += [_rated(arm, rates) for arm in found]
        missing = {*what.baselines, *what.blends} - {arm.arm for arm in found}
        if missing:
            notes.append(f"The graph lacks what these read: {', '.join(sorted(missing))}.")
        if any(arm.title.endswith("†") for arm in arms):
            notes.append(f"† RecBole's defaults, 300 epochs or {options.recbole_seconds:g} s: lower bounds.")
        if any(arm.arm.startswith("rectools") for arm in arms):
            notes.append(
                f"RecTools' models train at most {options.rectools_seconds:g} s; epochs by validation."
            )
    names = {arm.arm for arm in arms}
    aside = {
        named(setting, level): what.headline.get(setting)
        for setting in what.protocol.settings
        for level in (levels(what.decoys) if setting in WIDE else ())
    }
    pairs = [*COMPARISONS, *(("student", peer) for peer in what.against)]
    result = SuiteResult(
        suite=what.name,
        protocol=[*what.protocol.describe(), *_told(what)],
        units=judge.units,
        arms=arms,
        comparisons=[pair for pair in pairs if names.issuperset(pair)],
        ablations=[(a.of, a.arm) for a in ABLATIONS if a.arm in names],
        shares=[pair for pair in SHARES if names.issuperset(pair)],
        headline={**what.headline, **{setting: metric for setting, metric in aside.items() if metric}},
        aside=list(aside),
        notes=notes,
        front=_fronts(runs, judge) if set(WIDE) <= set(what.protocol.settings) else [],
    )
    if what.repeat is not None:
        add_repeat(result, runs, purchase_lines(what.repeat, folder), options.peers)
    return result, runs


def _fronts(runs: list[Run], judge: Judge) -> list[dict[str, Any]]:
    """What lifting new items costs and brings: teacher and student of every seed."""
    made = {
        "teacher": [partial(run.by_history.teacher_scorer, "teacher") for run in runs],
        "student": [partial(run.by_history.student_scorer, "student") for run in runs],
    }
    return [
        row for arm, scorers in made.items() for front in fronts(arm, scorers, judge) for row in front.rows()
    ]


def _graph(what: DiscoverySuite, folder: Path) -> AbstractContextManager[GraphStore]:
    tables, schema = suite_tables(what.data, folder)
    if what.decoys:
        tables = with_decoys(tables, schema, what.protocol, what.decoys)
    return graph_of(tables, schema)


def _told(what: DiscoverySuite) -> list[str]:
    """What decoys are, where there are some."""
    if not what.decoys:
        return []
    wide = [setting for setting in what.protocol.settings if setting in WIDE]
    shown = ", ".join(named(setting, level) for setting in wide for level in levels(what.decoys))
    return [
        f"Decoys: for each new item that sells in the test {what.decoys} copies of any items, with one word "
        "of the name changed, which nobody buys, stand in the graph while models are trained and chosen.",
        f"{shown}: as without the number, but so many decoys for each new item are ranked beside the rest; "
        "all other settings are asked without them. No p of these is corrected.",
    ]


def _own(what: DiscoverySuite, options: SuiteOptions) -> SuiteOptions:
    """The options with the suite's own configuration below what is asked for."""
    text = {"text": {"encoder": what.encoder}} if what.encoder else {}
    config: dict[str, dict[str, Any]] = {}
    for sections in (text, what.config, options.config):
        for name, values in sections.items():
            config[name] = {**config.get(name, {}), **values}
    return replace(options, config=config)


def _judged_peers(
    what: DiscoverySuite, work: Path, first: Run, read: Content, judge: Judge, options: SuiteOptions
) -> list[ArmScores]:
    chooser = Chooser(first.task, what.choose)
    from_ = {
        "protocol": what.protocol.model_dump(mode="json"),
        "choose": dict(what.choose),
        "snapshot": first.snapshot.content_hash,
        "encoder": first.config.text.model_dump(mode="json"),
    }
    arms = []
    for peer in _peers(what, work, chooser, read, options):
        budgets = {"recbole": options.recbole_seconds, "rectools": options.rectools_seconds}
        budget = budgets.get(peer.arm.partition("_")[0])
        for seed in peer.seeds:
            key = {**from_, "arm": peer.arm, "seed": seed, "grid": list(peer.grid), "budget": budget}
            make = partial(judged_peer, peer, chooser, judge, seed)
            arms.append(kept(work / "peers", key, make, judge.units))
    return arms


def _peers(
    what: DiscoverySuite, work: Path, chooser: Chooser, read: Content, options: SuiteOptions
) -> list[Peer]:
    """The suite's baselines, as far as the graph has what they read."""
    alone, by = what.purchases_alone, what.choose[what.protocol.settings[0]]
    every = [popular(), *collaborative(alone), *content(read, powers=what.text_grid)]
    there = {peer.arm: peer for peer in (*every, lightgcn(chooser, options.seeds, by, alone))}
    found = [there[name] for name in what.baselines if name in there]
    made = {arm: (b.title, b.of) for arm, b in what.blends.items() if there.keys() >= set(b.of)}
    found += blends(chooser, there, made)
    if what.recbole and options.recbole_seconds > 0:
        found += recboles(what.recbole, read.facts, work / "recbole", options.recbole_seconds, alone)
    if what.rectools and options.rectools_seconds > 0:
        found += sequences(what.rectools, chooser, work / "rectools", options.rectools_seconds, alone)
    return found


def content_of(run: Run) -> Content:
    """What content baselines read: the text teacher's vectors, brands and categories of a run."""
    catalogue = run.by_history.catalogue
    vectors = np.asarray(catalogue.text[catalogue.text_rows], dtype=np.float32)
    brand, category = (
        groups(run.snapshot, relation, label)
        for relation, label in (("MADE_BY", "Brand"), ("IN_CATEGORY", "Category"))
    )
    return Content(vectors, brand, category)


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
