"""A run folder to read: its configuration, what its stages left, and the models ready to score."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow.parquet as pq
import torch

from kgdistill.config import RunConfig
from kgdistill.distill import artefacts
from kgdistill.distill.catalogue import Catalogue, make_catalogue
from kgdistill.distill.repeat import repeat_scorer
from kgdistill.distill.scoring import Scorer
from kgdistill.distill.stages import made
from kgdistill.distill.student import Tokens, student_scorer
from kgdistill.distill.teacher import TrainedTeacher, teacher_scorer
from kgdistill.distill.view import Family, beside_facts, fact_families, own_fields, text_families
from kgdistill.errors import ArtefactError
from kgdistill.evaluate.repeat import RepeatTask
from kgdistill.evaluate.task import EvaluationTask, Split, build_task
from kgdistill.evaluate.task import Scorer as AnyScorer
from kgdistill.models.device import choose_device
from kgdistill.models.text import TransformerText
from kgdistill.models.text_towers import StaticText
from kgdistill.packing import parameters_of, serving_parameters, static_text
from kgdistill.snapshot import Snapshot, open_snapshot

if TYPE_CHECKING:
    from typing_extensions import Self

TeacherKind = Literal["teacher", "teacher_text", "teacher_words", "teacher_shuffled"]
StudentKind = Literal["student", "student_nodistill"]
TEACHERS: tuple[TeacherKind, ...] = ("teacher", "teacher_text", "teacher_shuffled")
CONTROLS: tuple[TeacherKind, ...] = ("teacher_words",)
"""Further teachers that only a benchmark asks for."""
STUDENTS: tuple[StudentKind, ...] = ("student", "student_nodistill")
_HOW = {
    "graph": "kgdistill snapshot",
    "text": "kgdistill train teacher",
    "teacher": "kgdistill train teacher",
    "teacher_text": "kgdistill train teacher",
    "teacher_words": "kgdistill train teacher",
    "teacher_shuffled": "kgdistill train teacher",
    "targets": "kgdistill train teacher",
    "student": "kgdistill train student",
    "student_nodistill": "kgdistill train student",
}


@dataclass
class RunFolder:
    """A run folder with its configuration; nothing here makes a stage.

    Args:
        folder: where everything of the run goes.
        config: the resolved configuration.
    """

    folder: Path
    config: RunConfig

    def __post_init__(self) -> None:
        self.folder = Path(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        text, path = self.config.model_dump_json(indent=2), self.folder / "config.json"
        # Opening a run to read it must not touch it.
        try:
            same = RunConfig.model_validate_json(path.read_text(encoding="utf-8")) == self.config
        except (OSError, ValueError):
            same = False
        if not same:
            path.write_text(text, encoding="utf-8")
        if self.config.threads:
            torch.set_num_threads(self.config.threads)

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """A run that exists.

        Raises:
            ArtefactError: there is none in `folder`.
        """
        path = Path(folder) / "config.json"
        if not path.is_file():
            raise ArtefactError("is no run folder", where=str(folder), hint="kgdistill demo makes one")
        return cls(Path(folder), RunConfig.model_validate_json(path.read_text(encoding="utf-8")))

    @cached_property
    def device(self) -> torch.device:
        """Where training runs."""
        return choose_device(self.config.device)

    def _need(self, name: str) -> str:
        key = made(self.folder / name)
        if key is None:
            raise ArtefactError(
                f"the stage {name!r} is not finished",
                where=str(self.folder),
                hint=f"run it first: {_HOW[name]}",
            )
        return key

    @cached_property
    def snapshot(self) -> Snapshot:
        """The snapshot of the run."""
        self._need("graph")
        return open_snapshot(self.folder / "graph" / "snapshot")

    @cached_property
    def task(self) -> EvaluationTask:
        """The evaluation task; its test split stays closed until `evaluate`."""
        events = pq.read_table(self.folder / "graph" / "holdout.parquet")
        return build_task(self.snapshot, events, self.config.protocol)

    @cached_property
    def catalogue(self) -> Catalogue:
        """What training reads."""
        self._need("text")
        embeddings, rows, tokens = artefacts.load_text(self.folder / "text")
        return make_catalogue(self.snapshot, self.task, embeddings, rows, words=tokens.weighted(rows))

    @cached_property
    def tokens(self) -> Tokens:
        """Token ids of the distinct texts."""
        self._need("text")
        return artefacts.load_text(self.folder / "text")[2]

    @cached_property
    def facts(self) -> list[Family]:
        """Typed paths along the facts."""
        return fact_families(self.snapshot)

    @cached_property
    def fields(self) -> list[Family]:
        """Shared text fields."""
        return text_families(self.snapshot)

    @cached_property
    def own(self) -> list[Family]:
        """The text fields that no fact holds."""
        return own_fields(self.facts, self.fields)

    def families(self, kind: TeacherKind) -> tuple[list[Family], list[Family]]:
        """A teacher's typed affinities, and the facts along which its messages go."""
        if kind == "teacher_text":
            return self.own, []
        if kind == "teacher_words":
            return self.fields, []
        if kind == "teacher_shuffled":
            facts = fact_families(self.snapshot, shuffle=np.random.default_rng(self.config.seed))
        else:
            facts = self.facts
        return beside_facts(facts, self.own), facts

    def history(self, user: str) -> list[str] | None:
        """Keys of what a user bought before the cut, the latest last; None for a user the snapshot lacks."""
        at = int(self.snapshot.index("User", [user])[0])
        if at < 0:
            return None
        # Not the task's pairs: it leaves out users with few purchases, who have a history all the same.
        edges = self.snapshot.edge_table(self.config.protocol.interaction)
        mine = np.flatnonzero(edges["source"].to_numpy() == at)
        bought = edges["target"].to_numpy()[mine]
        times = self.snapshot.times(self.config.protocol.interaction)
        assert times is not None  # training refuses a snapshot without
        bought = bought[np.lexsort((bought, times[mine]))]
        bought = bought[np.isin(bought, self.task.items)]
        return [str(k) for k in self.snapshot.keys("Product")[bought]]

    # Models, ready to score --------------------------------------------------------------------

    def _teacher(self, kind: TeacherKind) -> TrainedTeacher:
        self._need(kind)
        return artefacts.load_teacher(self.folder / kind, *self.families(kind))

    def teacher_scorer(self, kind: TeacherKind = "teacher") -> Scorer:
        """A trained teacher over everything before the cut."""
        return teacher_scorer(self._teacher(kind), self.catalogue, self.catalogue.view(), self.device)

    def student_scorer(self, kind: StudentKind = "student", *, use_ids: bool = True) -> Scorer:
        """A trained student over everything before the cut."""
        self._need(kind)
        trained = artefacts.load_student(self.folder / kind, self.fields)
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
        model = artefacts.load_student(self.folder / "student", self.fields).model
        return static_text(
            model,
            self.folder / "text" / "tokenizer" / "tokenizer.json",
            max_tokens=self.config.text.max_tokens,
        )

    def parameters(self, kind: TeacherKind | StudentKind, scorer: Scorer) -> int:
        """How many numbers a model of that kind must hold to answer, a teacher's text encoder among them."""
        if kind in STUDENTS:
            return parameters_of(scorer.model) + sum(m.parameters for m in scorer.witnesses.linear)
        return self._encoder_parameters + serving_parameters(scorer)

    @cached_property
    def _encoder_parameters(self) -> int:
        own = self.folder / "text" / "encoder"
        encoder = TransformerText(
            str(own) if own.is_dir() else self.config.text.encoder, device=torch.device("cpu")
        )
        return encoder.parameters_count
