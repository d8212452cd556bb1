"""Search on Chorus: judged queries, no click logs, nothing trained on what is judged."""

from __future__ import annotations

import copy
import csv
import gzip
import importlib.util
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import yaml

from kgdistill.datasets.adapters import adapter
from kgdistill.errors import InputError, ToolMissingError
from kgdistill.evaluate.suites._data import data_folder, graph_of
from kgdistill.evaluate.suites._mpnet import mpnet_folder
from kgdistill.evaluate.suites._result import ArmScores, Kind, SuiteResult
from kgdistill.ingest.job import graph_tables
from kgdistill.ingest.mapping import parse_mapping
from kgdistill.models.text import TransformerText
from kgdistill.models.text_speed import texts_per_second
from kgdistill.search.catalogue import search_catalogue
from kgdistill.search.metrics import Judgements, read_judgements, search_metrics
from kgdistill.search.student import SearchStudentConfig, TrainedSearchStudent
from kgdistill.search.teach import (
    SERVING,
    WHOLE,
    SearchTeaching,
    learn_search,
    learn_transformer,
    start_student,
    teach_search,
    titles_as_queries,
    with_facts,
)
from kgdistill.search.teacher import FusedTeacher, Fusion, Parts, fuse, unit
from kgdistill.search.transformer import SearchTransformerConfig
from kgdistill.snapshot import Snapshot, take_snapshot
from kgdistill.store import load_schema

FloatArray = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]

_PLAIN = ("id", "title", "short_description", "supplier", "price", "attr_t_product_type")
_FOLDS = 5
# For peers and ours alike: how much meaning weighs, and how much of the lexical ranking is reordered.
_WEIGHTS = tuple(round(0.1 * i, 1) for i in range(11))
_DEPTHS: tuple[int | None, ...] = (None, 50, 100, 200)


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
    student: SearchStudentConfig = field(default_factory=SearchStudentConfig)
    transformer: SearchTransformerConfig = field(default_factory=SearchTransformerConfig)
    transformers: int = 1


def chorus_snapshot(folder: Path, target: Path) -> Snapshot:
    """The catalogue as a snapshot: every text attribute counts as one, and no judgement is in it.

    Args:
        folder: with products.jsonl.gz.
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
    del text["sources"]["judgements"]
    tables = graph_tables(parse_mapping(text), folder, schema=load_schema(), tables={"products": table})
    with graph_of(tables) as store:
        return take_snapshot(store, target, cut=None, needed=("Product",))


def chorus_judgements(folder: Path, snapshot: Snapshot) -> Judgements:
    """The judged queries.

    Raises:
        InputError: the file is missing or is not what it should be.
    """
    file = folder / "judgements.csv"
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            rows = [(r["query"], r["docid"], float(r["rating"])) for r in csv.DictReader(lines)]
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", where=str(file)) from error
    return read_judgements(snapshot, rows)


def chorus_suite(options: ChorusOptions) -> SuiteResult:
    """Every arm on the judged queries.

    Raises:
        InputError: the data are missing, bm25s is not installed, or the second encoder that is named
            cannot be loaded.
    """
    folder = data_folder("chorus_icecat", options.data)
    notes: list[str] = []
    second = _second_encoder(options.second_encoder, notes) if options.peers else None
    with tempfile.TemporaryDirectory() as place:
        snapshot = chorus_snapshot(folder, Path(place) / "snapshot")
        judgements = chorus_judgements(folder, snapshot)
        catalogue = search_catalogue(snapshot)
    judge = _Judge(judgements, notes)
    encoder = TransformerText(options.encoder, precision="float32")
    started = time.monotonic()
    teaching = teach_search(catalogue, encoder, count=options.queries)
    taught = time.monotonic() - started
    if options.peers:
        _peers(judge, teaching, second)
    _teachers(judge, teaching, taught)
    _students(judge, teaching, options)
    return judge.result()


class _Judge:
    """Collects arms."""

    def __init__(self, judgements: Judgements, notes: list[str]) -> None:
        self.judgements = judgements
        self.queries = judgements.queries
        self.arms: list[ArmScores] = []
        self.notes = notes
        blank = search_metrics(np.zeros((len(self.queries), 1 + _last(judgements)), np.float32), judgements)
        self._kept = {
            "full": np.isfinite(blank["full/ndcg@10"]),
            "relevant": np.isfinite(blank["full/recall@50"]),
            "rerank": np.isfinite(blank["rerank/ndcg@10"]),
        }

    def measure(self, scores: FloatArray, whole: FloatArray | None = None) -> dict[str, dict[str, Values]]:
        """Setting → metric → values of the queries that have one.

        `whole` is the score without a depth, by which judged products alone are ranked: where the candidates
        are given, there is nothing to find first.
        """
        found = search_metrics(scores, self.judgements, given=whole)
        full, relevant, rerank = (self._kept[name] for name in ("full", "relevant", "rerank"))
        return {
            "full": {
                "ndcg@10": found["full/ndcg@10"][full],
                "judged@10": found["full/judged@10"][full],
            },
            "relevant": {"recall@50": found["full/recall@50"][relevant]},
            "rerank": {"ndcg@10": found["rerank/ndcg@10"][rerank]},
        }

    def add(
        self,
        arm: str,
        title: str,
        kind: Kind,
        scores: FloatArray | dict[str, dict[str, Values]],
        *,
        seed: int = 0,
        fit_seconds: float | None = None,
        parameters: int | None = None,
        texts_per_second: float | None = None,
        extra: dict[str, float] | None = None,
    ) -> None:
        """Judges an arm, or takes values that were measured before."""
        measured = scores if isinstance(scores, dict) else self.measure(scores)
        self.arms.append(
            ArmScores(
                arm, title, kind, seed, fit_seconds, parameters, texts_per_second, measured, extra or {}
            )
        )

    def cross_validated(self, parts: Parts, coverage: float) -> dict[str, dict[str, Values]]:
        """Words and meaning, weighed for each query as is best for nDCG@10 on the other folds' queries."""
        fold = np.random.default_rng(0).permutation(len(self.queries)) % _FOLDS
        measured = []
        for weight in _WEIGHTS:
            whole = fuse(parts, Fusion(meaning=weight, coverage=coverage, facts=0))
            for depth in _DEPTHS:
                fusion = Fusion(meaning=weight, coverage=coverage, facts=0, depth=depth)
                measured.append(self.measure(fuse(parts, fusion), whole))
        out = copy.deepcopy(measured[0])
        full = fold[self._kept["full"]]
        for held in range(_FOLDS):
            best = max(measured, key=lambda m: float(m["full"]["ndcg@10"][full != held].mean()))
            for setting, metrics in out.items():
                rows = fold[self._kept[setting]] == held
                for metric in metrics:
                    metrics[metric][rows] = best[setting][metric][rows]
        return out

    def result(self) -> SuiteResult:
        """Everything that was added."""
        names = {arm.arm for arm in self.arms}
        wanted = [
            ("student_hybrid", "bm25_minilm"),
            ("student_hybrid", "bm25_second"),
            ("student_hybrid", "bm25"),
            ("student_hybrid", "lexical"),
            ("student_hybrid_cv", "bm25_minilm"),
            ("student_hybrid", "student_nodistill_hybrid"),
            ("student", "minilm"),
            ("student_transformer", "minilm"),
            ("student_transformer", "student"),
            ("student_transformer_hybrid", "bm25_second"),
            ("student_transformer_hybrid", "student_hybrid"),
            ("student", "student_nodistill"),
            ("teacher", "teacher_text"),
            ("teacher", "teacher_shuffled"),
        ]
        ablations = [("student", "student_nograph"), ("student", "student_titles")]
        shares = [("student_hybrid", "teacher"), ("student", "minilm"), ("student_transformer", "minilm")]
        return SuiteResult(
            suite="chorus",
            protocol=[
                "93 queries with products judged 0 to 3; the whole catalogue is ranked, ties by product id, "
                "and an unjudged product counts as 0.",
                "full nDCG@10 has the gain 2^grade − 1, over queries with a grade above 0; recall@50 is of "
                "products graded 2 or more; judged@10 is the share of the first ten that is judged.",
                "rerank ranks only the judged products.",
                "Nothing is trained or chosen on the judged queries, save the weights of arms that are said "
                f"to be cross-validated: {_FOLDS} folds over queries, by full nDCG@10, ours and peers alike.",
            ],
            units={
                name: [q for q, kept in zip(self.queries, rows, strict=True) if kept]
                for name, rows in self._kept.items()
            },
            arms=self.arms,
            comparisons=[pair for pair in wanted if set(pair) <= names],
            ablations=[pair for pair in ablations if set(pair) <= names],
            shares=[pair for pair in shares if set(pair) <= names],
            headline={"full": "ndcg@10", "relevant": "recall@50", "rerank": "ndcg@10"},
            notes=self.notes,
        )


def _last(judgements: Judgements) -> int:
    return max((int(ids[-1]) for ids in judgements.products if len(ids)), default=0)


def _peers(judge: _Judge, teaching: SearchTeaching, second: TransformerText | None) -> None:
    catalogue, encoder = teaching.catalogue, teaching.encoder
    judge.add("bm25_title", "BM25, title", "peer", _plain_bm25(catalogue.titles, judge.queries))
    joined = [" ".join(filter(None, texts)) for texts in zip(*catalogue.fields.values(), strict=True)]
    bm25 = _plain_bm25(joined, judge.queries)
    judge.add("bm25", "BM25, all fields", "peer", bm25)
    asked = encoder.encode(judge.queries)
    meaning = asked @ teaching.fields[0].T
    size = sum(p.numel() for p in encoder.model.parameters())
    rate = texts_per_second(encoder.encode, catalogue.titles[:512], repeats=3)
    judge.add("minilm", "MiniLM-L6, title", "peer", meaning, parameters=size, texts_per_second=rate)
    values = judge.cross_validated(Parts(bm25, np.zeros_like(bm25), meaning), 0)
    judge.add("bm25_minilm", "BM25 + MiniLM-L6, cross-validated", "peer", values, parameters=size)
    if (table := _static_peer(catalogue.titles, judge.queries)) is not None:
        judge.add("wordllama", "static table (WordLlama-256), title", "peer", table, parameters=32_000 * 256)
    else:
        judge.notes.append("The static table of wordllama is left out: the package is not installed.")
    if second is None:
        return
    name = Path(second.name).resolve().name
    far = second.encode(judge.queries) @ second.encode(catalogue.titles).T
    size = second.parameters_count
    rate = texts_per_second(second.encode, catalogue.titles[:128], repeats=3)
    judge.add("second", f"{name}, title", "peer", far, parameters=size, texts_per_second=rate)
    values = judge.cross_validated(Parts(bm25, np.zeros_like(bm25), far), 0)
    judge.add("bm25_second", f"BM25 + {name}, cross-validated", "peer", values, parameters=size)


def _second_encoder(folder: str, notes: list[str]) -> TransformerText | None:
    """The peers' other encoder, or None and a note where mpnet cannot be had."""
    if folder and not Path(folder).is_dir():
        raise InputError("is no folder of a text encoder", where=folder)
    try:
        return TransformerText(folder or str(mpnet_folder()), precision="float32")
    except ToolMissingError as error:
        notes.append(f"BM25 + mpnet is left out: {error.message}")
        return None


def _plain_bm25(texts: list[str], queries: list[str]) -> FloatArray:
    """Float32 [Q, products], by bm25s as it comes: English stop words, no stemming, k1 1.5, b 0.75."""
    import bm25s  # type: ignore[import-untyped]

    index = bm25s.BM25()
    index.index(bm25s.tokenize(texts, stopwords="en", show_progress=False), show_progress=False)
    asked = bm25s.tokenize(queries, stopwords="en", show_progress=False, return_ids=False)
    nothing = np.zeros(len(texts), np.float32)
    return np.stack([index.get_scores(words) if words else nothing for words in asked])


def _static_peer(titles: list[str], queries: list[str]) -> FloatArray | None:
    """Cosines by the token table that the package wordllama carries; None where it is not installed."""
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    found = importlib.util.find_spec("wordllama")
    if found is None or not found.submodule_search_locations:
        return None
    place = Path(found.submodule_search_locations[0])
    tokenizer = Tokenizer.from_file(str(place / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    table = load_file(place / "weights" / "l2_supercat_256.safetensors")["embedding.weight"]
    vectors = []
    for texts in (queries, titles):
        pooled = np.zeros((len(texts), table.shape[1]), np.float32)
        for row, encoded in enumerate(tokenizer.encode_batch(list(texts), add_special_tokens=False)):
            pooled[row] = table[encoded.ids].astype(np.float32).mean(axis=0) if encoded.ids else 0
        vectors.append(pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-9))
    return np.asarray(vectors[0] @ vectors[1].T, np.float32)


def _teachers(judge: _Judge, teaching: SearchTeaching, seconds: float) -> None:
    asked = teaching.encoder.encode(judge.queries)
    parts = teaching.teacher.parts(judge.queries, asked)
    size = sum(p.numel() for p in teaching.encoder.model.parameters())
    lexical = unit(parts.lexical) + SERVING.coverage * parts.coverage
    judge.add("lexical", "words alone: BM25 with stems, pairs and field weights", "control", lexical)
    judge.add("meaning", "MiniLM-L6, all running text", "control", parts.meaning, parameters=size)
    fused = judge.measure(fuse(parts, SERVING), fuse(parts, WHOLE))
    judge.add("teacher", "fused teacher", "ours", fused, fit_seconds=seconds, parameters=size)
    alone_parts = replace(parts, facts=None)
    alone = judge.measure(fuse(alone_parts, SERVING), fuse(alone_parts, WHOLE))
    judge.add("teacher_text", "text-only teacher", "control", alone, parameters=size)
    for seed in range(3):
        other = FusedTeacher(
            teaching.catalogue.shuffled(seed), teaching.teacher.lexical, teaching.encoder, teaching.vectors
        )
        other_parts = other.parts(judge.queries, asked)
        scores = judge.measure(fuse(other_parts, SERVING), fuse(other_parts, WHOLE))
        judge.add("teacher_shuffled", "teacher on shuffled facts", "control", scores, seed=seed)


def _students(judge: _Judge, teaching: SearchTeaching, options: ChorusOptions) -> None:
    config = options.student
    first = start_student(teaching, config.dim)

    def learn(held: SearchTeaching, seed: int, distil: bool = True) -> TrainedSearchStudent:
        return learn_search(held, config=config, seed=seed, distil=distil, first=copy.deepcopy(first))

    def cosines(trained: TrainedSearchStudent) -> FloatArray:
        student = trained.student
        return np.asarray(student.encode(judge.queries) @ student.products(teaching.catalogue).T, np.float32)

    lexical = teaching.teacher.lexical
    words = Parts(
        lexical.scores(judge.queries), lexical.coverage(judge.queries), np.zeros((0, 0), np.float32)
    )

    def hybrid(meaning: FloatArray) -> dict[str, dict[str, Values]]:
        asked = replace(words, meaning=meaning)
        return judge.measure(fuse(asked, SERVING), fuse(asked, WHOLE))

    for seed in options.seeds:
        trained = learn(teaching, seed)
        mine, size = cosines(trained), trained.student.parameters_count
        rate = texts_per_second(trained.student.encode, teaching.catalogue.titles[:4096])
        told: dict[str, Any] = {"seed": seed, "fit_seconds": trained.seconds, "parameters": size}
        judge.add("student", "student alone (static)", "ours", mine, texts_per_second=rate, **told)
        both = hybrid(mine)
        judge.add("student_hybrid", "student + BM25", "ours", both, texts_per_second=rate, **told)
        values = judge.cross_validated(replace(words, meaning=mine), SERVING.coverage)
        judge.add("student_hybrid_cv", "student + BM25, cross-validated", "ours", values, **told)
        plain = learn(teaching, seed, distil=False)
        told["fit_seconds"] = plain.seconds
        scores = cosines(plain)
        judge.add("student_nodistill", "student without distillation", "ablation", scores, **told)
        judge.add("student_nodistill_hybrid", "the same + BM25", "ablation", hybrid(scores), **told)
    if 0 < options.transformers < len(options.seeds):
        judge.notes.append(
            f"Seeds of the transformer student: {options.transformers}; it trains for minutes."
        )
    for seed in options.seeds[: options.transformers]:
        wide = learn_transformer(teaching, config=options.transformer, seed=seed)
        encode, size = wide.student.encode, wide.student.parameters_count
        mine = np.asarray(encode(judge.queries) @ wide.products(teaching.catalogue).T, np.float32)
        rate = texts_per_second(encode, teaching.catalogue.titles[:512], repeats=3)
        told = {"seed": seed, "fit_seconds": wide.seconds, "parameters": size, "texts_per_second": rate}
        layers = f"transformer, {options.transformer.layers} layers"
        judge.add("student_transformer", f"student alone ({layers})", "ours", mine, **told)
        judge.add("student_transformer_hybrid", f"student ({layers}) + BM25", "ours", hybrid(mine), **told)
    seed = options.seeds[0]
    nograph = with_facts(teaching, teaching.catalogue.without_facts())
    judge.add(
        "student_nograph",
        "student of the text-only teacher",
        "ablation",
        cosines(learn(nograph, seed)),
        seed=seed,
    )
    titles = titles_as_queries(teaching)
    judge.add(
        "student_titles",
        "student without synthetic queries",
        "ablation",
        cosines(learn(titles, seed)),
        seed=seed,
    )
