"""Our arms of search: the fused teacher and its controls, the students and their ablations."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from bench.suites.search_judge import SearchJudge
from bench.suites.search_teaching import TextTeaching, titles_as_queries, with_facts
from bench.text_speed import texts_per_second
from kgdistill.arrays import DoubleArray, FloatArray
from kgdistill.config import SearchConfig, SearchTransformerConfig
from kgdistill.models.text.token_table import TokenTable
from kgdistill.models.text.transformer import TransformerText
from kgdistill.ranking.fusion import SERVING, WHOLE, fuse
from kgdistill.run.text_match import start_student
from kgdistill.train.loop import Context, Trained
from kgdistill.train.text_match import train_token_table, train_transformer

SMALL = 128
"""Width of the smallest student."""


def judge_teachers(judge: SearchJudge, teaching: TextTeaching, seconds: float, title: str) -> None:
    """Adds the fused teacher and what it is made of.

    Args:
        judge: gets the arms.
        teaching: the teacher.
        seconds: how long the teaching took.
        title: what the text teacher is called.
    """
    teacher = teaching.teacher
    assert isinstance(teacher.encoder, TransformerText)
    asked = teacher.encoder.encode(judge.queries)
    parts = teacher.parts(judge.queries, asked)
    size = teacher.encoder.parameters_count
    lexical = fuse({name: parts[name] for name in ("words", "coverage")}, SERVING)
    judge.add("lexical", "words alone: BM25 with stems, pairs and field weights", "control", lexical)
    judge.add("meaning", f"{title}, all running text", "control", parts["near"], parameters=size)
    fused = _ranked(judge, parts)
    rate = texts_per_second(teacher.encoder.encode, teaching.catalogue.titles[:512], repeats=3)
    told: dict[str, Any] = {"fit_seconds": seconds, "parameters": size, "texts_per_second": rate}
    judge.add("teacher", "fused teacher", "ours", fused, **told)
    alone = _ranked(judge, {name: part for name, part in parts.items() if name != "named"})
    judge.add("teacher_text", "text-only teacher", "control", alone, parameters=size)
    for seed in range(3):
        other = teacher.over(teaching.catalogue.shuffled(seed))
        scores = _ranked(judge, other.parts(judge.queries, asked))
        judge.add("teacher_shuffled", "teacher on shuffled facts", "control", scores, seed=seed)


def judge_students(
    judge: SearchJudge,
    teaching: TextTeaching,
    *,
    seeds: Sequence[int],
    config: SearchConfig,
    transformer: SearchTransformerConfig,
    transformers: int,
) -> None:
    """Trains and adds the students.

    Args:
        judge: gets the arms.
        teaching: what they learn from.
        seeds: of their training; ablations have the first one.
        config: how the static ones are trained.
        transformer: how the transformers are trained.
        transformers: of how many seeds, the first ones.
    """
    encoder, index = teaching.teacher.encoder, teaching.teacher.index
    assert isinstance(encoder, TransformerText)
    first = start_student(teaching.lessons, teaching.vectors, encoder, config.dim)
    narrow = start_student(teaching.lessons, teaching.vectors, encoder, min(SMALL, config.dim))

    def learn(
        held: TextTeaching, seed: int, distil: bool = True, start: tuple[TokenTable, FloatArray] = first
    ) -> Trained[TokenTable]:
        context = Context(torch.device("cpu"), seed)
        return train_token_table(*copy.deepcopy(start), held.lessons, config, context, distil=distil)

    def cosines(trained: Trained[TokenTable]) -> FloatArray:
        student = trained.model
        return np.asarray(student.encode(judge.queries) @ student.items(teaching.catalogue).T, np.float32)

    words = {"words": index.scores(judge.queries), "coverage": index.coverage(judge.queries)}

    def hybrid(meaning: FloatArray) -> dict[str, dict[str, DoubleArray]]:
        return _ranked(judge, {**words, "near": meaning})

    for seed in seeds:
        trained = learn(teaching, seed)
        mine, size = cosines(trained), trained.model.parameters_count
        titles = teaching.catalogue.titles[:4096]
        rate = texts_per_second(trained.model.encode, titles)
        told: dict[str, Any] = {"seed": seed, "fit_seconds": trained.seconds, "parameters": size}
        judge.add("student", "student alone (static)", "ours", mine, texts_per_second=rate, **told)
        both = hybrid(mine)
        judge.add("student_hybrid", "student + BM25", "ours", both, texts_per_second=rate, **told)
        values = judge.cross_validated({**words, "near": mine}, SERVING.coverage)
        judge.add("student_hybrid_cv", "student + BM25, cross-validated", "ours", values, **told)
        _add_small(judge, learn(teaching, seed, start=narrow), cosines, hybrid, seed, titles)
        plain = learn(teaching, seed, distil=False)
        told["fit_seconds"] = plain.seconds
        scores = cosines(plain)
        judge.add("student_nodistill", "student without distillation", "ablation", scores, **told)
        judge.add("student_nodistill_hybrid", "the same + BM25", "ablation", hybrid(scores), **told)
    if 0 < transformers < len(seeds):
        judge.notes.append(f"Seeds of the transformer student: {transformers}; it trains for minutes.")
    for seed in seeds[:transformers]:
        wide = train_transformer(encoder, teaching.lessons, transformer, Context(torch.device("cpu"), seed))
        encode, size = wide.model.encode, wide.model.parameters_count
        mine = np.asarray(encode(judge.queries) @ encode(teaching.catalogue.titles).T, np.float32)
        rate = texts_per_second(encode, teaching.catalogue.titles[:512], repeats=3)
        told = {"seed": seed, "fit_seconds": wide.seconds, "parameters": size, "texts_per_second": rate}
        layers = f"transformer, {transformer.layers} layers"
        judge.add("student_transformer", f"student alone ({layers})", "ours", mine, **told)
        judge.add("student_transformer_hybrid", f"student ({layers}) + BM25", "ours", hybrid(mine), **told)
    seed = seeds[0]
    for arm, title, held in (
        (
            "student_nograph",
            "student of the text-only teacher",
            with_facts(teaching, teaching.catalogue.without_facts()),
        ),
        ("student_titles", "student without synthetic queries", titles_as_queries(teaching)),
    ):
        judge.add(arm, title, "ablation", cosines(learn(held, seed)), seed=seed)


def _add_small(
    judge: SearchJudge,
    trained: Trained[TokenTable],
    cosines: Callable[[Trained[TokenTable]], FloatArray],
    hybrid: Callable[[FloatArray], dict[str, dict[str, DoubleArray]]],
    seed: int,
    titles: Sequence[str],
) -> None:
    """The lowest step of the ladder: a narrow student whose numbers are rounded to a byte."""
    table = trained.model.table.weight
    with torch.no_grad():
        table.copy_(torch.from_numpy(in_bytes(table.cpu().numpy())))
    mine, size = cosines(trained), trained.model.parameters_count
    title, megabytes = f"static, {table.shape[1]} wide, int8", (size + 4 * len(table)) / 1e6
    told: dict[str, Any] = {"seed": seed, "fit_seconds": trained.seconds, "parameters": size}
    told["extra"] = {"megabytes": megabytes}
    told["texts_per_second"] = texts_per_second(trained.model.encode, titles)
    judge.add("student_small", f"student alone ({title})", "ours", mine, **told)
    judge.add("student_small_hybrid", f"student ({title}) + BM25", "ours", hybrid(mine), **told)


def in_bytes(table: FloatArray) -> FloatArray:
    """What is left of a table float32 [V, D] whose rows are 8-bit numbers times a float32 of their own."""
    unit = np.abs(table).max(axis=1, keepdims=True) / 127
    rounded: FloatArray = np.rint(table / np.where(unit > 0, unit, 1)).astype(np.int8) * unit
    return rounded.astype(np.float32)


def _ranked(judge: SearchJudge, parts: Mapping[str, FloatArray]) -> dict[str, dict[str, DoubleArray]]:
    """What the parts are worth together: as they serve, and over the whole catalogue."""
    return judge.measure(fuse(parts, SERVING), fuse(parts, WHOLE))
