"""The main job, from files to recommendations and reasons: on Complete Journey, or on a shop in Chinese."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from kgdistill.config import RunConfig, resolve_config
from kgdistill.datasets.adapt_journey import journey_sources, sampled_journey_sources
from kgdistill.datasets.adapters import adapter
from kgdistill.datasets.chinese_shop import chinese_shop_protocol, write_chinese_shop
from kgdistill.datasets.complete_journey import complete_journey_protocol
from kgdistill.derive.also_bought import write_also_bought
from kgdistill.errors import InputError
from kgdistill.explore import NodeEmbeddings, draw, subgraph, write_back
from kgdistill.ingest.archive import default_archive
from kgdistill.ingest.job import JobOptions, run_job
from kgdistill.ingest.journal import Journal
from kgdistill.ingest.mapping.load import load_mapping
from kgdistill.private import make_private
from kgdistill.run.report import write_report
from kgdistill.run.report.cards import cards
from kgdistill.run.run import Run, train_all
from kgdistill.run.stages import finished, run_stage, write_private
from kgdistill.store import GraphStore, load_schema, open_store
from kgdistill.wording import Language

_QUICK_HOUSEHOLDS = 300
_SHOPS: dict[Language, str] = {"en": "complete-journey", "zh": "chinese-shop"}


@dataclass(frozen=True)
class DemoStore:
    """Where the demo puts the graph.

    Attributes:
        url: of the store; None: in the run folder.
        user, password: of a Neo4j store.
        archive: where accepted rows are kept; None: beside an embedded store, of a server in the working
            folder.
    """

    url: str | None = None
    user: str = "neo4j"
    password: str | None = None
    archive: Path | None = None


@dataclass(frozen=True)
class DemoResult:
    """What the demo leaves.

    Attributes:
        metrics: as `evaluate/metrics.json`.
        examples: three households with recommendations and reasons.
        report: the HTML report.
        bundle: the deployable student.
        seconds: how long this start took.
        store_url: where the graph is.
    """

    metrics: dict[str, Any]
    examples: list[dict[str, Any]]
    report: Path
    bundle: Path
    seconds: float
    store_url: str


def demo_config(
    *, quick: bool, device: str = "auto", threads: int = 0, seed: int = 0, language: Language = "en"
) -> RunConfig:
    """The configuration of the demo; `quick` trains a smaller model for fewer epochs."""
    protocol = complete_journey_protocol() if language == "en" else chinese_shop_protocol()
    values: dict[str, Any] = {
        "protocol": protocol.model_dump(),
        "device": device,
        "threads": threads,
        "seed": seed,
    }
    if quick:
        values["teacher"] = {"dim": 24, "epochs": 3, "evaluate_every": 3, "graph_steps": 40}
        values["student"] = {"epochs": 2}
    return resolve_config(values)


def run_demo(
    out: Path,
    *,
    quick: bool = False,
    store: DemoStore | None = None,
    device: str = "auto",
    threads: int = 0,
    seed: int = 0,
    language: Language = "en",
) -> DemoResult:
    """Runs the main job; started again, it goes on after the last finished stage.

    Args:
        out: the run folder.
        quick: a sample of 300 households and a smaller model.
        store: where to put the graph.
        device: auto, cpu, cuda or mps.
        threads: CPU threads for torch; 0 leaves torch's choice.
        seed: of the sample, the models and the batches.
        language: zh for the invented shop with data in Chinese in the place of Complete Journey.

    Raises:
        KgdistillError: what is wrong, where, and what to do.
    """
    begin = time.monotonic()
    config = demo_config(quick=quick, device=device, threads=threads, seed=seed, language=language)
    run = Run(out, config)
    _ = run.device  # an unavailable device is told before any work
    place = store or DemoStore()
    url = place.url or f"ladybug:{out / 'graph.db'}"
    with run.lock(), open_store(url, user=place.user, password=place.password) as opened:
        _ingest(run, opened, place.archive, language, households=_QUICK_HOUSEHOLDS if quick else None)
        run.take_snapshot(opened)
        metrics = train_all(run)
        recommendations = run.recommendations(k=20, store=opened)
        write_back(
            opened,
            out.name,
            recommendations,
            [NodeEmbeddings("Product", space, keys, vectors) for space, keys, vectors in run.embeddings()],
        )
        examples = explain_examples(run)
    report, _markdown = write_report(out)
    return DemoResult(metrics, examples, report, out / "bundle", time.monotonic() - begin, opened.url)


def _ingest(
    run: Run, store: GraphStore, archive: Path | None, language: Language, *, households: int | None
) -> None:
    """Files → graph; what was ingested whole is not read again."""
    inputs: dict[str, Any] = {"store": store.url, "households": households, "seed": run.config.seed}
    if language != "en":
        inputs = {"store": store.url, "shop": language}

    mapping = load_mapping(adapter(_SHOPS[language]).mapping_path)
    others = {str(job["mapping"]) for job in Journal(store).entries()} - {mapping.name}
    if others:
        raise InputError(
            f"holds other data already, by the mapping {sorted(others)[0]!r}", where=store.url,
            hint="the demo wants a graph of its own: name another --out or --store",
        )  # fmt: skip

    def make(folder: Path) -> None:
        sources: dict[str, pa.Table | Path] = {}
        if language == "zh":
            write_chinese_shop(folder)
        elif households:
            sources = sampled_journey_sources(households, run.config.seed)
        else:
            sources = journey_sources(None)
        run_job(
            store,
            mapping,
            folder,
            JobOptions(rejects_path=folder / "rejects.csv"),
            archive=archive or default_archive(store.url),
            schema=load_schema(),
            tables=sources,
        )
        write_also_bought(store, cut=run.config.discovery.cut)

    if finished(run.folder / "ingest") is not None and not store.read_nodes("User", []).num_rows:
        (run.folder / "ingest" / "stage.json").unlink()  # the store was emptied since
    run_stage(run.folder, "ingest", inputs, make)


def explain_examples(run: Run) -> list[dict[str, Any]]:
    """The cards of the run's report; writes explanations.json, and a picture of the first one's paths."""
    found = cards(run)
    users = [card.model_dump(mode="json") for card, _ in found]
    whole = {"student": run.need("student").made, "users": users}
    write_private(run.folder / "explanations.json", json.dumps(whole, indent=2, ensure_ascii=False).encode())
    shown = found[0][1] if found else []
    if shown:
        draw(subgraph(shown), run.folder / "explanation.png")
        make_private(run.folder / "explanation.png")  # it names what a user bought
    return users
