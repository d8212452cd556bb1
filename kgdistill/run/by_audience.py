"""Finding an audience as a run: what each stage makes, and the arms that later anchors judge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kgdistill.arrays import FloatArray
from kgdistill.evaluate.audience import AudienceArm, audience_document
from kgdistill.models.text.vocabulary import first_table, principal_axes
from kgdistill.ranking.classes import probabilities
from kgdistill.run import artefacts
from kgdistill.run.chain import Arm
from kgdistill.run.maker import Maker
from kgdistill.serve.pack import parameters_of
from kgdistill.serve.pack_audience import pack_audience
from kgdistill.serve.tower import TextTower, unit
from kgdistill.tasks.audience import AudienceData
from kgdistill.tasks.audience_edges import audience_edges
from kgdistill.tasks.audience_task import AudienceTask, shared_groups
from kgdistill.tasks.spec import MatchSpec
from kgdistill.tasks.splits import TRAIN, VALIDATION
from kgdistill.tasks.undated import no_positive
from kgdistill.train.audience import (
    AudienceStudent,
    AudienceTeacher,
    PairTable,
    counts_baseline,
    pair_table,
    relational_vectors,
    train_audience_student,
    train_audience_teacher,
)
from kgdistill.train.audience_files import (
    load_audience_student,
    load_audience_teacher,
    save_audience_student,
    save_audience_teacher,
)

TEXT, TOWER, RELATIONAL = "text", "words", "z"
"""The spaces of the items' vectors: of the text teacher, of the student's tower, of the graph."""


class _Views(NamedTuple):
    """What an arm reads before the cut, and of the test."""

    known: AudienceData
    later: AudienceData


class AudienceMatch(Maker):
    """The stages and models of a run whose candidates are known by history."""

    @property
    def spec(self) -> MatchSpec:
        """The declared task."""
        spec = self.run.config.task
        assert isinstance(spec, MatchSpec)
        return spec

    @cached_property
    def task(self) -> AudienceTask:
        """What is asked; what came after the cut stays closed until it judges."""
        embeddings, rows, tower = artefacts.load_item_texts(self.run.read("text"))
        texts = self.run.later.texts(self.item)
        vectors = {TEXT: embeddings[rows], TOWER: unit(tower.encode(texts))}
        return AudienceTask(self.spec, self.run.snapshot, self.run.later, vectors)

    @cached_property
    def tower(self) -> TextTower:
        """The student's text tower."""
        return artefacts.load_item_texts(self.run.read("text"))[2]

    @property
    def item(self) -> str:
        """The label of what candidates have in their histories."""
        return audience_edges(self.spec, self.run.snapshot.schema).item

    # The stages -----------------------------------------------------------------------------------

    def make(self, name: str, folder: Path) -> None:
        """Makes what a stage leaves, in an empty folder."""
        arm = self.run.pipeline.arms.get(name)
        if arm is not None and arm.learner == "teacher":
            table = self._table(arm)
            teacher = train_audience_teacher(table, self.run.config.audience, self.context, title=arm.title)
            save_audience_teacher(folder, teacher)
            artefacts.save_history(folder, teacher.history)
        elif arm is not None:
            self._student(arm, folder)
        elif name == "text":
            self._texts(folder)
        elif name == "bundle":
            self.task.open_test()
            pack_audience(self.student(), self.tower, self.task, TOWER).save(folder)
        else:
            self._judge(folder)

    def _texts(self, folder: Path) -> None:
        texts = np.array(self.run.later.texts(self.item), object)
        distinct, rows = np.unique(texts, return_inverse=True)
        told = [str(text) for text in distinct]
        vectors = self.encoder.encode(told)
        # What the tower's axes are is learned from what was there before the cut.
        known = self.run.later.index(self.item, self.run.snapshot.keys(self.item))
        seen = np.unique(rows[known])
        axes = principal_axes(vectors[seen], self.run.config.audience.dim)
        old = [told[i] for i in seen]
        tokenizer, table = first_table(self.encoder, old, [], axes, counted=old)
        tower = TextTower.of(tokenizer, table, None, self.run.config.text.max_tokens)
        artefacts.save_item_texts(folder, vectors, rows.astype(np.int64), tower)

    def _student(self, arm: Arm, folder: Path) -> None:
        table = self._table(arm)
        soft = None
        if arm.distilled:
            table, soft = self._with_others(table)
        student = train_audience_student(
            table, soft, self.task.anchors(VALIDATION), self.run.config.audience, self.context,
            title=arm.title,
        )  # fmt: skip
        save_audience_student(folder, student)
        artefacts.save_history(folder, student.history)

    def _with_others(self, table: PairTable) -> tuple[PairTable, FloatArray]:
        """The pairs, as many that nobody was reached by beside them, and what the teacher says of all."""
        pairs = self.task.pairs(TRAIN, VALIDATION)
        arms = self.run.pipeline.arms
        wide = pair_table(self._views(arms["student"]).known, pairs, everybody=True)
        theirs = pair_table(self._views(arms["teacher"]).known, pairs, everybody=True)
        others = np.flatnonzero(~wide.reached)
        draw = np.random.default_rng(self.run.config.seed)
        some = np.sort(draw.permutation(others)[: len(table.labels)])
        rows = np.concatenate([np.flatnonzero(wide.reached), some])
        return wide.take(rows), self.teacher().logits(theirs.features[rows])

    def _table(self, arm: Arm) -> PairTable:
        table = pair_table(self._views(arm).known, self.task.pairs(TRAIN, VALIDATION))
        if not table.labels.any() and (why := no_positive(self.spec, self.run.later)):
            raise why
        return table

    def _z(self, data: AudienceData) -> tuple[FloatArray, FloatArray]:
        """Relational embeddings before the validation, of the items before the cut and of all."""
        known = relational_vectors(data, self.task.select_us, self.run.config.audience.z_dim)
        whole = np.zeros((self.run.later.num_nodes(self.item), known.shape[1]), np.float32)
        whole[self.run.later.index(self.item, self.run.snapshot.keys(self.item))] = known
        return known, whole

    def _views(self, arm: Arm) -> _Views:
        """What an arm reads; its evaluation alone opens the later."""
        known, later = self.task.known, self.task.later_closed
        if arm.shuffle:
            draw = np.random.default_rng(self.run.config.seed)
            shuffled = shared_groups(self.run.later, self.item, draw)
            places = self.run.later.index(self.item, self.run.snapshot.keys(self.item))
            later = replace(later, groups=shuffled)
            known = replace(known, groups=tuple(g.over(places) for g in shuffled))
        z = self._z(known) if arm.graph else None
        left_out = [TEXT] if arm.learner == "student" else [TOWER]
        known, later = (
            data.without(groups=arm.name == "teacher_text", vectors=left_out) for data in (known, later)
        )
        if z is not None:
            known = replace(known, vectors={**known.vectors, RELATIONAL: z[0]})
            later = replace(later, vectors={**later.vectors, RELATIONAL: z[1]})
        return _Views(known, later)

    def teacher(self, name: str = "teacher") -> AudienceTeacher:
        """A trained teacher."""
        return load_audience_teacher(self.run.read(name))

    def student(self, name: str = "student") -> AudienceStudent:
        """A trained student."""
        return load_audience_student(self.run.read(name))

    # Judging --------------------------------------------------------------------------------------

    def _judge(self, folder: Path) -> None:
        self.task.open_test()
        arms = list(self.judged_arms())
        pairs = self.run.pipeline.compared({arm.arm for arm in arms})
        document = audience_document(self.task, arms, pairs)
        artefacts.save_metrics(folder, document | self.absent())

    @cached_property
    def void(self) -> dict[str, str]:
        """The controls that can show nothing on this graph, and why."""
        why = f"the graph has no facts of a {self.item}"
        return {} if self.task.known.groups else dict.fromkeys(("teacher_shuffled", "teacher_text"), why)

    def judged_arms(self) -> Iterator[AudienceArm]:
        """Every arm that is there on the test, which must be opened."""
        there, _ = self.run.judged()
        arms, pairs = self.run.pipeline.arms, self.task.test_pairs()
        for name in ("counts", *there):
            arm = arms[name]
            # The counts are read the same of any view.
            views = self._views(arms["student"] if name == "counts" else arm)
            table = pair_table(views.later, pairs)
            told: dict[str, Any] = {}
            if name == "counts":
                scorer = counts_baseline(self._table(arms["student"]), views.known.names())
                logits, spread, temperature = scorer(table.features), None, 1.0
            elif arm.learner == "teacher":
                teacher = self.teacher(name)
                logits, spread, temperature = (
                    teacher.logits(table.features), None, teacher.calibration.temperature,
                )  # fmt: skip
                told = {"seconds": teacher.seconds, "size": sum(parameters_of(h) for h in teacher.heads)}
                told["size"] += self.encoder.parameters_count
            else:
                student = self.student(name)
                logits, spread, temperature = (
                    student.head.logits(table.features), student.spread, student.temperature,
                )  # fmt: skip
                told = {"seconds": student.seconds, "size": parameters_of(student.head)}
            p = probabilities(logits, temperature, several=True)
            yield AudienceArm(name, arm.title, table.judged, p, spread, **told)
