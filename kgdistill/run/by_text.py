"""Matching by text as a run: what each stage makes, and the arms that people's grades judge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from kgdistill.evaluate.graded import GradedArm, Parts, graded_document, judge_parts
from kgdistill.models.text.token_table import TokenTable, load_token_table
from kgdistill.models.text_teacher import TextTeacher
from kgdistill.ranking.fusion import Fusion
from kgdistill.ranking.graded import DEPTH
from kgdistill.run import artefacts
from kgdistill.run.maker import Maker
from kgdistill.run.text_match import (
    CatalogueVectors,
    encode_catalogue,
    query_parts,
    start_student,
    student_parts,
    training_queries,
)
from kgdistill.run.tower import tower_of
from kgdistill.run.unsaid import say_unsaid_facts
from kgdistill.serve.pack import pack_text_match
from kgdistill.serve.search import SearchIndex
from kgdistill.tasks.item_groups import text_groups
from kgdistill.tasks.judgements import JudgedTask
from kgdistill.tasks.lexical import LexicalIndex, lexical_index
from kgdistill.tasks.spec import MatchSpec
from kgdistill.train.loop import Trained
from kgdistill.train.text_match import TextLessons, train_token_table
from kgdistill.train.tower import TowerTexts


class TextMatch(Maker):
    """The stages and models of a run whose anchors are known by their text."""

    @cached_property
    def task(self) -> JudgedTask:
        """What is asked; the judgements stay closed until they judge."""
        spec = self.run.config.task
        assert isinstance(spec, MatchSpec)
        table = pq.read_table(self.run.holdout)
        return JudgedTask(self.run.snapshot, spec, table, self.run.config.protocol)

    @cached_property
    def vectors(self) -> CatalogueVectors:
        """What the text teacher says of the candidates."""
        return CatalogueVectors.load(self.run.read("text"))

    @cached_property
    def index(self) -> LexicalIndex:
        """The candidates' words."""
        return lexical_index(self.task.catalogue.fields)

    @cached_property
    def teacher(self) -> TextTeacher:
        """The fused teacher."""
        whole = replace(self._serving, depth=None)
        return TextTeacher(
            self.task.catalogue, self.index, self.encoder, self.vectors.items, whole, self.device
        )

    @property
    def _serving(self) -> Fusion:
        search = self.run.config.search
        return Fusion(search.meaning, search.coverage, search.facts, search.depth)

    def lessons(self) -> TextLessons:
        """What the students learn from."""
        queries = artefacts.load_queries(self.run.read("queries"))
        targets = artefacts.load_text_targets(self.run.read("targets"))
        return TextLessons(self.task.catalogue, queries, targets, self.vectors.items)

    def student(self, name: str = "student") -> TokenTable:
        """A trained student."""
        return load_token_table(self.run.read(name))

    def make(self, name: str, folder: Path) -> None:
        """Makes what a stage leaves, in an empty folder."""
        arm = self.run.pipeline.arms.get(name)
        search, seed = self.run.config.search, self.run.config.seed
        if arm is not None:
            self._student(arm.distilled, folder)
        elif name == "text":
            snapshot, label = self.run.snapshot, self.task.spec.candidates.label
            say_unsaid_facts(snapshot, label, text_groups(snapshot, label))
            encode_catalogue(self.task.catalogue, self.encoder.of_passages()).save(folder)
        elif name == "queries":
            clicked = self.task.clicked()
            made = training_queries(
                self.task.catalogue, self.vectors, count=search.queries, seed=seed, clicked=clicked
            )
            artefacts.save_queries(folder, made)
        elif name == "targets":
            queries = artefacts.load_queries(self.run.read("queries"))
            targets = self.teacher.targets(queries.texts, candidates=search.candidates)
            artefacts.save_text_targets(folder, targets)
        elif name == "bundle":
            self._bundle(folder)
        else:
            self._judge(folder)

    def tower_texts(self) -> TowerTexts:
        """The fields of what is ranked, what was or could be asked, and the phrases of both."""
        fields, lessons, said = self.task.catalogue.fields, self.lessons(), self.vectors
        texts = [text for name in self.task.catalogue.prose for text in fields[name]]
        vectors = np.concatenate([*said.fields, lessons.targets.queries])
        return TowerTexts([*texts, *lessons.queries.texts], vectors, said.phrases, said.phrase_vectors)

    def _student(self, distilled: bool, folder: Path) -> None:
        config, lessons = self.run.config, self.lessons()
        if distilled and (tower := tower_of(self.run)) is not None:
            # It follows the text teacher already, and is the other tasks' too.
            table = TokenTable(tower.tokenizer, torch.from_numpy(tower.table), lessons.catalogue.prose)
            table.save(folder)
            artefacts.save_training(folder, Trained(table))
            return
        student, axes = start_student(lessons, self.vectors, self.encoder, config.search.dim)
        trained = train_token_table(student, axes, lessons, config.search, self.context, distil=distilled)
        trained.model.cpu().save(folder)
        artefacts.save_training(folder, trained)

    def _bundle(self, folder: Path) -> None:
        student, task = self.student(), self.task.spec
        items = student.items(self.task.catalogue)
        search = SearchIndex(self.index, items, self._serving)
        packed = pack_text_match(student, search, self.run.snapshot, task, self.task.catalogue.fields)
        packed.save(folder)

    # Judging --------------------------------------------------------------------------------------

    def _judge(self, folder: Path) -> None:
        _, left_out = self.run.judged()
        spec, pipeline, task = self.task.spec, self.run.pipeline, self.task
        task.open_test()
        ks = list(dict.fromkeys([spec.protocol.k, *spec.protocol.ks]))
        arms = []
        for name, parts, seconds, size in self._arms(task.judgements.queries):
            measured = judge_parts(parts, task.judgements, self._serving, items=len(task.catalogue), ks=ks)
            arms.append(GradedArm(name, pipeline.arms[name].title, measured, seconds, size))
        protocol = {
            "name": spec.heading,
            "description": self._described(),
            "k": spec.protocol.k,
            "units": "queries",
        }
        comparisons = pipeline.compared({arm.arm for arm in arms})
        document = graded_document(protocol, arms, comparisons, items=len(task.catalogue))
        void = (
            {} if task.catalogue.facts else {"teacher_shuffled": "the graph has no facts of what is ranked"}
        )
        artefacts.save_metrics(folder, document | {"left_out": left_out, "void": void})

    def _described(self) -> list[str]:
        spec, protocol = self.task.spec, self.task.protocol
        judged = f"{spec.judged_by}: grades of {spec.candidates.label} for {spec.anchors.label}"
        if protocol is not None:
            judged = f"{spec.positives.event} from {protocol.test_start} (UTC) on, each as grade 1"
        return [
            f"Judged by {judged}.",
            "full: every candidate is ranked, what nobody judged has grade 0; gain 2^grade - 1.",
            f"relevant: how many of the candidates with grade {self.task.judgements.relevant:g} or more are "
            f"among the first {DEPTH}.",
            "rerank: the judged candidates alone are ranked.",
            "Ties go to the smaller item index. No judgement was trained or chosen on.",
        ]

    def _arms(self, queries: list[str]) -> Iterator[tuple[str, Parts, float | None, int | None]]:
        size = self.encoder.parameters_count
        yield "words", query_parts(self.teacher, queries, ("words", "coverage")), None, None
        text = ("words", "coverage", "near")
        yield "teacher", query_parts(self.teacher, queries, (*text, "named")), None, size
        yield "teacher_text", query_parts(self.teacher, queries, text), None, size
        shuffled = self.teacher.over(self.task.catalogue.shuffled(self.run.config.seed))
        yield "teacher_shuffled", query_parts(shuffled, queries, (*text, "named")), None, size
        for name in self.run.judged()[0]:
            student = self.student(name)
            items = student.items(self.task.catalogue)
            seconds, size = artefacts.training_seconds(self.run.read(name)), student.parameters_count
            yield name, student_parts(student, items, queries, self.index), seconds, size
            if name == "student":
                yield "student_vectors", student_parts(student, items, queries, None), seconds, size
