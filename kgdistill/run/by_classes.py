"""Classifying as a run: what each stage makes, and the arms that held-out subjects judge."""

from __future__ import annotations

from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from kgdistill.errors import InputError
from kgdistill.evaluate.classify import ClassArm, judge_classes, majority
from kgdistill.models.text.remembered import RememberedText
from kgdistill.models.text.transformer import PooledText
from kgdistill.progress import notice, said_of, step
from kgdistill.run import artefacts
from kgdistill.run.chain import Arm
from kgdistill.run.maker import Maker
from kgdistill.run.tower import tower_of
from kgdistill.serve.pack import parameters_of
from kgdistill.serve.pack_answers import class_answers
from kgdistill.serve.pack_classes import pack_classes
from kgdistill.tasks.classify import ClassifyTask, build_classify_task
from kgdistill.tasks.spec import ClassifySpec
from kgdistill.train import class_baseline
from kgdistill.train.class_baseline import ClassBaseline, fit_class_baseline, what_is_read
from kgdistill.train.class_text import layers_of
from kgdistill.train.classify import (
    ClassStudent,
    ClassTeacher,
    tower_texts,
    train_class_teacher,
)
from kgdistill.train.classify_files import (
    load_class_student,
    load_class_teacher,
    save_class_student,
    save_class_teacher,
)
from kgdistill.train.novelty import fit_class_student, fit_class_teacher
from kgdistill.train.subject_vectors import SubjectVectors, encode_task
from kgdistill.train.tower import TowerTexts
from kgdistill.train.tune_classes import TunedTexts

_MAIN, _TEXT = "macro_f1", "text"


class JudgedClassArm(NamedTuple):
    """An arm, how long its training took in seconds, and how many numbers it has; None: none to speak of."""

    arm: ClassArm
    seconds: float | None = None
    size: int | None = None


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
            self._text(folder)
        elif (arm := self.run.pipeline.arms.get(name)) is not None and arm.learner == "teacher":
            self._check_layers()  # its texts may stand already
            with said_of(arm.title) if arm.role == "control" else nullcontext():
                teacher = self._fitted_teacher(arm, folder)
            save_class_teacher(folder, teacher)
            artefacts.save_history(folder, teacher.history)
        elif arm is not None:
            student = fit_class_student(
                self.task, self._reads, self.vectors, config.classify, self.context,
                teacher=self.teacher() if arm.distilled else None,
                tower=tower_of(self.run) if arm.distilled else None, reader=self.tuned,
            )  # fmt: skip
            save_class_student(folder, student)
            artefacts.save_history(folder, student.history)
        elif name == "bundle":
            self._bundle(folder)
        else:
            self._judge(folder)

    @cached_property
    def tuned(self) -> TunedTexts | None:
        """What reads the texts where the text teacher learns from their labels; None where it stays.

        Raises:
            InputError: it gives vectors alone.
        """
        config = self.run.config.classify
        if config.tune == "frozen" or self.task.texts is None:
            return None
        if not isinstance(self.encoder, PooledText):
            raise InputError(
                f"is {config.tune!r}, but {self.encoder.name} gives vectors alone and cannot learn",
                where="classify.tune",
                hint="set it to frozen, or name a Hugging Face folder as text.encoder",
            )
        return TunedTexts(self.encoder, config, self.context)

    def _check_layers(self) -> None:
        """Refuses layers of a text encoder that has none to give, before anything is trained.

        `Run.create` refuses them too; but a run may be of a former version, or its encoder another by now.
        """
        config = self.run.config.classify
        if config.tower == "layers" and self.task.texts is not None:
            layers_of(self.encoder, config.tower_layers)

    def _text(self, folder: Path) -> None:
        config = self.run.config.classify
        self._check_layers()
        if config.tower == "layers" and self.task.texts is None:
            notice("classify.tower: no subject is known by text, and the student reads by no layers")
        if self.tuned is None:
            if config.tune != "frozen":
                notice("classify.tune: no subject is known by text, and the text encoder stays as it is")
            artefacts.save_subjects(folder, encode_task(self.task, self.encoder))
            return
        encoder, vectors = self.tuned(self.task)
        artefacts.save_subjects(folder, vectors)
        encoder.save(folder / "encoder")

    @cached_property
    def _reads(self) -> RememberedText | None:
        """The text teacher by which the texts were read, once for all students; None without any."""
        if self.task.texts is None or self.tuned is None:
            return None if self.task.texts is None else RememberedText(self.encoder)
        settings = self.run.config.text
        own = settings.model_copy(update={"encoder": str(self.run.read("text") / "encoder")})
        encoder = artefacts.text_encoder(own, self.device, self.run.texts())
        assert isinstance(encoder, PooledText)
        # A folder's name is no sign of it here.
        encoder.manner = self.tuned.encoder.manner
        return RememberedText(encoder)

    def tower_texts(self) -> TowerTexts:
        """The subjects' own, of those that may be learned from, and what the teacher says of them.

        By a teacher that knows nothing of validation, which the students' epochs are chosen on.
        """
        teacher = self.teacher()
        told = (teacher.chosen or teacher).told(self.task, self.vectors)
        return tower_texts(self.task, self.vectors, told)

    def _read_by(self, arm: Arm) -> ClassifyTask:
        """The task as a teacher sees it."""
        seen = self.task if "facts" in arm.reads else self.task.without_facts()
        return seen.exchanged(self.run.config.seed) if arm.exchanged else seen

    @cached_property
    def void(self) -> dict[str, str]:
        """The control without facts, where the graph holds none of them."""
        arms = [arm.name for arm in self.run.pipeline.arms.values() if arm.learner and not arm.reads]
        why = f"the graph has no facts that {self.task.spec.heading} reads"
        return {} if self.task.facts_of else dict.fromkeys(arms, why)

    def _fitted_teacher(self, arm: Arm, folder: Path) -> ClassTeacher:
        config, task = self.run.config.classify, self._read_by(arm)
        if not arm.exchanged:
            return fit_class_teacher(task, self.vectors, config, self.context, reader=self.tuned)
        # What nothing can be learned from takes no more than one member, once.
        alone = config.model_copy(update={"folds": 1})
        vectors = self.vectors
        if self.tuned is not None:
            vectors = self.tuned(task)[1]
            (folder / _TEXT).mkdir()
            artefacts.save_subjects(folder / _TEXT, vectors)
        return train_class_teacher(task, vectors, alone, self.context)

    def teacher(self, name: str = "teacher") -> ClassTeacher:
        """A trained teacher."""
        return load_class_teacher(self.run.read(name))

    def student(self, name: str = "student") -> ClassStudent:
        """A trained student."""
        return load_class_student(self.run.read(name))

    def _bundle(self, folder: Path) -> None:
        student, labels = self.student(), {beside.label for beside in self.task.neighbours}
        keys = {label: [str(key) for key in self.run.snapshot.keys(label)] for label in labels}
        bundle = pack_classes(student, keys, self.run.snapshot, self.task.spec)
        single = [name for name in self.task.class_names if not self.task.several(name)]
        if "text" in self.task.spec.subjects.by and single:
            sure = {name: student.calibration[name].sure for name in single}
            precision = self.run.config.classify.precision
            bundle.answers = class_answers(self.run.snapshot, self.task, sure, precision)
        bundle.save(folder)

    # Judging --------------------------------------------------------------------------------------

    def _judge(self, folder: Path) -> None:
        said, absent = self.said(), self.absent()
        if self.baseline is None:
            absent["left_out"]["linear"] = (
                "logistic regression takes too much memory for so many subjects and classes"
            )
        pairs = self.run.pipeline.compared(said)
        self.task.open_test()
        arms = {name: one.arm for name, one in said.items()}
        figures = judge_classes(self.task, arms, part="test", compared=pairs)
        document = self._document(figures, said)
        artefacts.save_metrics(folder, document | absent)

    def said(self) -> dict[str, JudgedClassArm]:
        """What every arm that is there says of every subject."""
        out = {"majority": JudgedClassArm(majority(self.task))}
        if (base := self.baseline) is not None:
            title = f"logistic regression of {what_is_read(self.task)}"
            linear = ClassArm(title, base.logits, base.calibration, base.near)
            out["linear"] = JudgedClassArm(linear, base.seconds, base.parameters)
        for arm in map(self.run.pipeline.arms.__getitem__, self.run.judged()[0]):
            if arm.learner == "student":
                student = self.student(arm.name)
                logits, near = student.said(self.task)
                told = ClassArm(arm.title, logits, student.calibration, near)
                out[arm.name] = JudgedClassArm(told, student.seconds, parameters_of(student.model))
            else:
                teacher = self.teacher(arm.name)
                seen = self._read_by(arm)
                own = arm.exchanged and self.tuned is not None
                vectors = artefacts.load_subjects(self.run.read(arm.name) / _TEXT) if own else self.vectors
                logits, near = teacher.logits(seen, vectors), teacher.near(seen, vectors)
                told = ClassArm(self._title(arm), logits, teacher.calibration, near)
                out[arm.name] = JudgedClassArm(told, teacher.seconds, self._size(teacher))
        return out

    @cached_property
    def baseline(self) -> ClassBaseline | None:
        """What people would use instead, fitted as it is asked for; None where that takes too much."""
        if len(self.task) * max(map(len, self.task.class_names.values())) > class_baseline.MOST:
            return None
        with step("Fitting the logistic regression"):
            return fit_class_baseline(self.task, self.run.config.classify, seed=self.run.config.seed)

    def _title(self, arm: Arm) -> str:
        of = "" if "facts" in arm.reads else f" of {' and '.join(self.task.facts_of)}"
        return f"{arm.title}{of}{'' if self.tuned is None else ', its text encoder tuned'}"

    def _size(self, teacher: ClassTeacher) -> int:
        """Of the teacher, with its text encoder where it reads texts."""
        reads = self.task.texts is not None or any(any(beside.texts) for beside in self.task.neighbours)
        return teacher.parameters_count + (self.encoder.parameters_count if reads else 0)

    def _document(self, figures: dict[str, Any], said: dict[str, JudgedClassArm]) -> dict[str, Any]:
        """The figures in the shape of every run; each target is a setting."""
        targets = figures["targets"]

        def measured(name: str) -> dict[str, dict[str, float]]:
            held = {t: f["arms"][name] for t, f in targets.items()}
            return {t: {m: v for m, v in row.items() if m != "title"} for t, row in held.items()}

        sized = {t: {"users": f["subjects"], "candidates": f["classes"]} for t, f in targets.items()}
        return {
            "protocol": {
                "name": self.task.spec.heading, "description": figures["protocol"], "k": 1, "metric": _MAIN,
                "units": "subjects", "ranked": "classes", "settings": sized,
                "bootstrap": {"samples": 1000, "level": 0.95},
            },
            "arms": [
                {
                    "arm": name, "title": one.arm.title, "fit_seconds": one.seconds,
                    "parameters": one.size, "settings": measured(name),
                }
                for name, one in said.items()
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
