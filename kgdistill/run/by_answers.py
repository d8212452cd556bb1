"""Answering questions as a run: what each stage makes, and the arms that held-out questions judge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from kgdistill.evaluate.answers import (
    Ranked,
    answers_document,
    commonest,
    fitted_confidence,
    measures,
    ranked,
)
from kgdistill.evaluate.graded import Parts
from kgdistill.ranking.fusion import Fusion
from kgdistill.run import artefacts
from kgdistill.run.by_text import TextMatch
from kgdistill.run.text_match import query_parts, student_parts
from kgdistill.serve.pack_answers import pack_answers
from kgdistill.serve.search import SearchIndex
from kgdistill.tasks.answers import AnswerTask, Part, build_answer_task
from kgdistill.tasks.spec import MatchSpec

_WORDS, _NEAR = ("words", "coverage"), ("near",)


class AnswerMatch(TextMatch):
    """The stages of matching by text, over past questions and the answers to them."""

    @cached_property
    def task(self) -> AnswerTask:  # type: ignore[override]
        """What is asked; the test stays closed until it judges."""
        spec = self.run.config.task
        assert isinstance(spec, MatchSpec)
        return build_answer_task(self.run.snapshot, spec)

    @property
    def _whole(self) -> Fusion:
        # All entries are ordered by the whole score: an answer is one entry, however far down in words.
        return replace(self._serving, depth=None)

    def _said(self, parts: Parts, count: int) -> Ranked:
        return ranked(self.task, parts(np.arange(count)), self._whole)

    def _bundle(self, folder: Path) -> None:
        student, task, precision = self.student(), self.task, self.run.config.answer.precision
        items = student.items(task.catalogue)
        asked = task.asked("validation").texts
        said = self._said(student_parts(student, items, asked, self.index), len(asked))
        confidence = fitted_confidence(task, said, precision)
        search = SearchIndex(self.index, items, self._whole)
        pack_answers(student, search, task, confidence, precision).save(folder)

    # Judging --------------------------------------------------------------------------------------

    def _judge(self, folder: Path) -> None:
        _, left_out = self.run.judged()
        task, pipeline = self.task, self.run.pipeline
        task.open_test()
        parts: tuple[Part, Part] = ("validation", "test")
        held = {part: dict(self._scored(task.asked(part).texts)) for part in parts}
        arms = []
        for name, said in held["test"].items():
            precision = self.run.config.answer.precision
            confidence = fitted_confidence(task, held["validation"][name], precision)
            trained = name in pipeline.trained
            student = self.student(name) if trained else None
            arms.append({
                "arm": name, "title": pipeline.arms[name].title,
                "fit_seconds": artefacts.training_seconds(self.run.read(name)) if trained else None,
                "parameters": self.encoder.parameters_count if name in ("teacher", "encoder")
                else None if student is None else student.parameters_count,
                "measures": measures(said, task.asked("test"), confidence),
            })  # fmt: skip
        protocol = {"name": task.spec.heading, "description": task.describe()}
        document = answers_document(protocol, arms, pipeline.compared(held["test"]), count=len(task.answers))
        artefacts.save_metrics(folder, document | {"left_out": left_out, "void": {}})

    def _scored(self, texts: list[str]) -> Iterator[tuple[str, Ranked]]:
        """What each arm says of some questions."""
        count = len(texts)
        yield "majority", commonest(self.task, count)
        yield "words", self._said(query_parts(self.teacher, texts, _WORDS), count)
        yield "encoder", self._said(query_parts(self.teacher, texts, _NEAR), count)
        yield "teacher", self._said(query_parts(self.teacher, texts, (*_WORDS, *_NEAR)), count)
        for name in self.run.judged()[0]:
            student = self.student(name)
            items = student.items(self.task.catalogue)
            yield name, self._said(student_parts(student, items, texts, self.index), count)
