"""A run folder to read: its configuration, what its stages left, and the models ready to score."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch

from kgdistill.models.device import choose_device
from kgdistill.models.scorer import Scorer
from kgdistill.models.text.static import StaticText
from kgdistill.models.text.transformer import TransformerText
from kgdistill.run import artefacts
from kgdistill.run.base import RunBase
from kgdistill.run.chain import STUDENTS, StudentKind, TeacherKind
from kgdistill.serve.pack import parameters_of, serving_parameters, static_text
from kgdistill.tasks.basket import RepeatTask
from kgdistill.tasks.item_groups import ItemGroups, beside_facts, fact_groups, own_fields, text_groups
from kgdistill.tasks.match import Scorer as AnyScorer
from kgdistill.tasks.match import Split
from kgdistill.tasks.training_data import TrainingData, make_training_data
from kgdistill.train.basket import repeat_scorer
from kgdistill.train.student import Tokens, student_scorer
from kgdistill.train.teacher import TrainedTeacher, teacher_scorer


class RunFolder(RunBase):
    """A run folder with its models, ready to score; nothing here makes a stage.

    Args:
        folder: where everything of the run goes.
        config: the resolved configuration.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.config.threads:
            torch.set_num_threads(self.config.threads)

    @cached_property
    def device(self) -> torch.device:
        """Where training runs."""
        return choose_device(self.config.device)

    @cached_property
    def catalogue(self) -> TrainingData:
        """What training reads."""
        embeddings, rows, tokens = artefacts.load_text(self.read("text"))
        return make_training_data(self.snapshot, self.task, embeddings, rows, words=tokens.weighted(rows))

    @cached_property
    def tokens(self) -> Tokens:
        """Token ids of the distinct texts."""
        return artefacts.load_text(self.read("text"))[2]

    @cached_property
    def facts(self) -> list[ItemGroups]:
        """Typed paths along the facts."""
        return fact_groups(self.snapshot)

    @cached_property
    def fields(self) -> list[ItemGroups]:
        """Shared text fields."""
        return text_groups(self.snapshot)

    @cached_property
    def own(self) -> list[ItemGroups]:
        """The text fields that no fact holds."""
        return own_fields(self.facts, self.fields)

    def families(self, kind: TeacherKind) -> tuple[list[ItemGroups], list[ItemGroups]]:
        """A teacher's typed affinities, and the facts along which its messages go."""
        if kind == "teacher_text":
            return self.own, []
        if kind == "teacher_words":
            return self.fields, []
        if kind == "teacher_shuffled":
            facts = fact_groups(self.snapshot, shuffle=np.random.default_rng(self.config.seed))
        else:
            facts = self.facts
        return beside_facts(facts, self.own), facts

    # Models, ready to score --------------------------------------------------------------------

    def _teacher(self, kind: TeacherKind) -> TrainedTeacher:
        return artefacts.load_teacher(self.read(kind), *self.families(kind))

    def teacher_scorer(self, kind: TeacherKind = "teacher") -> Scorer:
        """A trained teacher over everything before the cut."""
        return teacher_scorer(self._teacher(kind), self.catalogue, self.catalogue.view(), self.device)

    def student_scorer(self, kind: StudentKind = "student", *, use_ids: bool = True) -> Scorer:
        """A trained student over everything before the cut."""
        trained = artefacts.load_student(self.read(kind), self.fields)
        return student_scorer(
            trained, self.catalogue, self.tokens, self.catalogue.view(), self.device, use_ids=use_ids
        )

    def repeat_scorer(self, task: RepeatTask, split: Split) -> AnyScorer:
        """The student with its repeat feature: what a user buys next, had before or not."""
        return repeat_scorer(
            self.student_scorer("student"), self.catalogue, task, split, seed=self.config.seed
        )

    def text_tower(self) -> StaticText:
        """The student's text tower as it serves, on one core."""
        model = artefacts.load_student(self.read("student"), self.fields).model
        return static_text(
            model,
            self.read("text") / "tokenizer" / "tokenizer.json",
            max_tokens=self.config.text.max_tokens,
        )

    def parameters(self, kind: TeacherKind | StudentKind, scorer: Scorer) -> int:
        """How many numbers a model of that kind must hold to answer, a teacher's text encoder among them."""
        if kind in STUDENTS:
            return parameters_of(scorer.model) + sum(m.parameters for m in scorer.witnesses.linear)
        return self._encoder_parameters + serving_parameters(scorer)

    @cached_property
    def _encoder_parameters(self) -> int:
        own = self.read("text") / "encoder"
        encoder = TransformerText(
            str(own) if own.is_dir() else self.config.text.encoder, device=torch.device("cpu")
        )
        return encoder.parameters_count
