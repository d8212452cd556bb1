"""Search on Chorus: judged queries, no click logs, nothing trained on what is judged."""

from __future__ import annotations

import gzip
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from bench.suites.chorus_judge import SearchJudge
from bench.suites.chorus_ours import judge_students, judge_teachers
from bench.suites.chorus_peers import judge_peers, second_encoder
from bench.suites.data import data_folder, graph_of
from bench.suites.result import SuiteResult
from kgdistill.config import SearchConfig, SearchTransformerConfig
from kgdistill.datasets.adapters import adapter
from kgdistill.errors import InputError
from kgdistill.ingest.job import graph_tables
from kgdistill.ingest.mapping.load import parse_mapping
from kgdistill.models.text.transformer import TransformerText
from kgdistill.run.text_match import teach
from kgdistill.snapshot import take_snapshot
from kgdistill.store import load_schema
from kgdistill.tasks.judgements import JudgedTask, stored_judgements
from kgdistill.tasks.spec import MatchSpec, load_task

_PLAIN = ("id", "title", "short_description", "supplier", "price", "attr_t_product_type")


@dataclass(frozen=True)
class ChorusOptions:
    """What the suite runs on.

    Attributes:
        data: the folder that holds the data sets; None as in `data_folder`.
        seeds: of the students' training.
        encoder: the text teacher; empty for the packaged one.
        peers: fit the peers too.
        second_encoder: a folder of another encoder for the peers; empty for all-mpnet-base-v2, which is
            fetched once.
        queries: products that synthetic queries are drawn from.
        student: how the students are trained.
        transformer: how the transformer students are trained.
        transformers: of how many seeds, the first ones.
    """

    data: Path | None = None
    seeds: Sequence[int] = (0, 1, 2)
    encoder: str = ""
    peers: bool = True
    second_encoder: str = ""
    queries: int = 40_000
    student: SearchConfig = field(default_factory=SearchConfig)
    transformer: SearchTransformerConfig = field(default_factory=SearchTransformerConfig)
    transformers: int = 1


def chorus_task(folder: Path, target: Path) -> JudgedTask:
    """The task of search on its graph: every text attribute counts as one; the judgements stay closed.

    Args:
        folder: with products.jsonl.gz and judgements.csv.
        target: where the snapshot is to lie.

    Raises:
        InputError: the file is missing or is not what it should be.
    """
    file = folder / "products.jsonl.gz"
    rows: list[dict[str, str | None]] = []
    try:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                kept = {name: None if row.get(name) is None else str(row[name]) for name in _PLAIN}
                texts = [str(v) for k, v in row.items() if k.startswith("attr_t_") and v]
                rows.append({**kept, "text_attributes": ", ".join(texts) or None})
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"cannot be read: {error}", where=str(file)) from error
    schema = pa.schema([(name, pa.string()) for name in (*_PLAIN, "text_attributes")])
    table = pa.Table.from_pylist(rows, schema=schema)
    text: dict[str, Any] = yaml.safe_load(adapter("chorus").mapping_path.read_text(encoding="utf-8"))
    text["sources"]["products"]["nodes"][0]["properties"]["attributes"] = "text_attributes"
    tables = graph_tables(parse_mapping(text), folder, schema=load_schema(), tables={"products": table})
    spec = load_task("search")
    assert isinstance(spec, MatchSpec)
    with graph_of(tables) as store:
        snapshot = take_snapshot(store, target, cut=None, needed=("Product",))
        return JudgedTask(snapshot, spec, stored_judgements(store, spec))


def chorus_suite(options: ChorusOptions) -> SuiteResult:
    """Every arm on the judged queries.

    Raises:
        InputError: the data are missing, bm25s is not installed, or the second encoder that is named
            cannot be loaded.
    """
    folder = data_folder("chorus_icecat", options.data)
    notes: list[str] = []
    second = second_encoder(options.second_encoder, notes) if options.peers else None
    with tempfile.TemporaryDirectory() as place:
        task = chorus_task(folder, Path(place) / "snapshot")
        task.open_test()
        judgements, catalogue = task.judgements, task.catalogue
    judge = SearchJudge(judgements, notes)
    encoder = TransformerText(options.encoder, precision="float32")
    started = time.monotonic()
    teaching = teach(catalogue, encoder, count=options.queries)
    taught = time.monotonic() - started
    if options.peers:
        judge_peers(judge, teaching, second)
    judge_teachers(judge, teaching, taught)
    judge_students(
        judge, teaching, seeds=options.seeds, config=options.student, transformer=options.transformer,
        transformers=options.transformers,
    )  # fmt: skip
    return judge.result()
