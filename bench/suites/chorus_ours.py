"""Our arms on Chorus: the fused teacher and its controls, the students and their ablations."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bench.suites.chorus_judge import SearchJudge
from bench.text_speed import texts_per_second
from kgdistill.arrays import DoubleArray, FloatArray
from kgdistill.run.search import (
    SERVING,
    WHOLE,
    SearchTeaching,
    learn_search,
    learn_transformer,
    start_student,
    titles_as_queries,
    with_facts,
)
from kgdistill.train.search_student import SearchStudentConfig, TrainedSearchStudent
from kgdistill.train.search_teacher import Parts, SearchTeacher, fuse, unit
from kgdistill.train.search_transformer import SearchTransformerConfig


def judge_teachers(judge: SearchJudge, teaching: SearchTeaching, seconds: float) -> None:
    """Adds the fused teacher and what it is made of; `seconds` is how long the teaching took."""
    asked = teaching.encoder.encode(judge.queries)
    parts = teaching.teacher.parts(judge.queries, asked)
    size = teaching.encoder.parameters_count
    lexical = unit(parts.lexical) + SERVING.coverage * parts.coverage
    judge.add("lexical", "words alone: BM25 with stems, pairs and field weights", "control", lexical)
    judge.add("meaning", "MiniLM-L6, all running text", "control", parts.meaning, parameters=size)
    fused = _ranked(judge, parts)
    judge.add("teacher", "fused teacher", "ours", fused, fit_seconds=seconds, parameters=size)
    alone = _ranked(judge, replace(parts, facts=None))
    judge.add("teacher_text", "text-only teacher", "control", alone, parameters=size)
    for seed in range(3):
        other = SearchTeacher(
            teaching.catalogue.shuffled(seed), teaching.teacher.lexical, teaching.encoder, teaching.vectors
        )
        scores = _ranked(judge, other.parts(judge.queries, asked))
        judge.add("teacher_shuffled", "teacher on shuffled facts", "control", scores, seed=seed)


def judge_students(
    judge: SearchJudge,
    teaching: SearchTeaching,
    *,
    seeds: Sequence[int],
    config: SearchStudentConfig,
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

    def hybrid(meaning: FloatArray) -> dict[str, dict[str, DoubleArray]]:
        return _ranked(judge, replace(words, meaning=meaning))

    for seed in seeds:
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
    if 0 < transformers < len(seeds):
        judge.notes.append(f"Seeds of the transformer student: {transformers}; it trains for minutes.")
    for seed in seeds[:transformers]:
        wide = learn_transformer(teaching, config=transformer, seed=seed)
        encode, size = wide.student.encode, wide.student.parameters_count
        mine = np.asarray(encode(judge.queries) @ wide.products(teaching.catalogue).T, np.float32)
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


def _ranked(judge: SearchJudge, parts: Parts) -> dict[str, dict[str, DoubleArray]]:
    """What the parts are worth together: as they serve, and over the whole catalogue."""
    return judge.measure(fuse(parts, SERVING), fuse(parts, WHOLE))
