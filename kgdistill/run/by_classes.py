"""Classifying as a run: what each stage makes, and the arms that held-out subjects judge."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from kgdistill.evaluate.classify import ClassArm, judge_classes, majority
from kgdistill.run import artefacts
from kgdistill.run.maker import Maker
from kgdistill.run.tower import tower_of
from kgdistill.serve.pack import parameters_of
from kgdistill.serve.pack_answers import class_answers
from kgdistill.serve.pack_classes import pack_classes
from kgdistill.tasks.classify import ClassifyTask, build_classify_task
from kgdistill.tasks.spec import ClassifySpec
from kgdistill.train.classify import (
    ClassStudent,
    ClassTeacher,
    SubjectVectors,
    encode_task,
    tower_texts,
)
from kgdistill.train.classify_files import (
    load_class_student,
    load_class_teacher,
    save_class_student,
    save_class_teacher,
)
from kgdistill.train.novelty import fit_class_student, fit_class_teacher
from kgdistill.train.tower import TowerTexts

_MAIN = "macro_f1"


class Classifying(Maker):
    """The stages and models of a run that tells classes."""

    @cached_property
    def task(self) -> ClassifyTask:
        """What is asked; the test's classes stay closed until they judge."""
        spec = self.run.config.task
        assert isinstance(spec, ClassifySpec)
        return build_classify_task(self.run.snapshot, spec)

    @cached_property
    def vectors(self) -> SubjectVectors:
        """What the text teacher says of the task's texts."""
        return artefacts.load_subjects(self.run.read("text"))

    def make(self, name: str, folder: Path) -> None:
        """Makes what a stage leaves, in an empty folder."""
        config = self.run.config
        if name == "text":
            artefacts.save_subjects(folder, encode_task(self.task, self.encoder))
        elif name == "teacher":
            teacher = fit_class_teacher(self.task, self.vectors, config.classify, self.context)
            save_class_teacher(folder, teacher)
            artefacts.save_history(folder, teacher.history)
        elif (arm := self.run.pipeline.arms.get(name)) is not None:
            encoder = self.encoder if self.task.texts is not None else None
            student = fit_class_student(
                self.task, encoder, self.vectors, config.classify, self.context,
                teacher=self.teacher() if arm.distilled else None,
                tower=tower_of(self.run) if arm.distilled else None,
            )  # fmt: skip
            save_class_student(folder, student)
            artefacts.save_history(folder, student.history)
        elif name == "bundle":
            self._bundle(folder)
        else:
            self._judge(folder)

    def tower_texts(self) -> TowerTexts:
        """The subjects' own, of those that may be learned from, and what the teacher says of them.

        By a teacher that knows nothing of validation, which the students' epochs are chosen on.
        """
        teacher = self.teacher()
        told = (teacher.chosen or teacher).told(self.task, self.vectors)
        return tower_texts(self.task, self.vectors, told)

    def teacher(self) -> ClassTeacher:
        """The trained teacher."""
        return load_class_teacher(self.run.read("teacher"))

    def student(self, name: str = "student") -> ClassStudent:
        """A trained student."""
        return load_class_student(self.run.read(name))

    def _bundle(self, folder: Path) -> None:
        student, labels = self.student(), {beside.label for beside in self.task.neighbours}
        keys = {label: [str(key) for key in self.run.snapshot.keys(label)] for label in labels}
        bundle = pack_classes(student, keys, self.run.snapshot, self.task.spec)
        single = [name for name in self.task.class_names if not self.task.several(name)]
        if self.task.texts is not None and single:
            sure = {name: student.calibration[name].sure for name in single}
            precision = self.run.config.classify.precision
            bundle.answers = class_answers(self.run.snapshot, self.task, sure, precision)
        bundle.save(folder)

    # Judging --------------------------------------------------------------------------------------

    def _judge(self, folder: Path) -> None:
        there, left_out = self.run.judged()
        arms = self.run.pipeline.arms
        self.task.open_test()
        teacher = self.teacher()
        logits = teacher.logits(self.task, self.vectors)
        judged = {
            "majority": majority(self.task),
            "teacher": ClassArm(arms["teacher"].title, logits, teacher.calibration),
        }
        seconds, sizes = {"teacher": teacher.seconds}, {"teacher": self._size(teacher)}
        for name in there:
            if arms[name].learner == "student":
                student = self.student(name)
                judged[name] = ClassArm(arms[name].title, student.logits(self.task), student.calibration)
                seconds[name], sizes[name] = student.seconds, parameters_of(student.model)
        pairs = self.run.pipeline.compared(judged)
        figures = judge_classes(self.task, judged, part="test", compared=pairs)
        document = self._document(figures, seconds, sizes)
        artefacts.save_metrics(folder, document | {"left_out": left_out, "void": {}})

    def _size(self, teacher: ClassTeacher) -> int:
        """Of the teacher, with its text encoder where it reads texts."""
        reads = self.task.texts is not None or any(any(beside.texts) for beside in self.task.neighbours)
        return teacher.parameters_count + (self.encoder.parameters_count if reads else 0)

    def _document(
        self, figures: dict[str, Any], seconds: dict[str, float], sizes: dict[str, int]
    ) -> dict[str, Any]:
        """The figures in the shape of every run; each target is a setting."""
        targets = figures["targets"]

        def measured(name: str) -> dict[str, dict[str, float]]:
            held = {t: f["arms"][name] for t, f in targets.items()}
            return {t: {m: v for m, v in row.items() if m != "title"} for t, row in held.items()}

        names = list(next(iter(targets.values()))["arms"])
        sized = {t: {"users": f["subjects"], "candidates": f["classes"]} for t, f in targets.items()}
        return {
            "protocol": {
                "name": self.task.spec.heading, "description": figures["protocol"], "k": 1, "metric": _MAIN,
                "units": "subjects", "ranked": "classes", "settings": sized,
                "bootstrap": {"samples": 1000, "level": 0.95},
            },
            "arms": [
                {
                    "arm": name, "title": self.run.pipeline.arms[name].title,
                    "fit_seconds": seconds.get(name), "parameters": sizes.get(name),
                    "settings": measured(name),
                }
                for name in names
            ],
            "comparisons": [
                {
                    "a": row["arm"], "b": row["other"], "setting": t, "metric": _MAIN,
                    "difference": row[_MAIN]["mean"], "low": row[_MAIN]["low"], "high": row[_MAIN]["high"],
                }
                for t, f in targets.items()
                for row in f["compared"]
            ],
        }  # fmt: skip
