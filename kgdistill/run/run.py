"""The way through, stage by stage: graph → snapshot → teacher → targets → student → answers.

Every stage reads artefacts of the run folder and leaves one; `run_stage` skips what stands there from
the same inputs, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from kgdistill.evaluate.baselines import ease, popularity
from kgdistill.evaluate.document import metrics_document
from kgdistill.evaluate.judge import ArmResult, evaluate_arm
from kgdistill.models.scorer import Scorer
from kgdistill.models.text.transformer import TransformerText
from kgdistill.progress import step
from kgdistill.run import artefacts
from kgdistill.run.chain import CONTROLS, NEEDED, STUDENTS, TEACHERS, StudentKind, TeacherKind
from kgdistill.run.folder import RunFolder
from kgdistill.run.stages import write_private
from kgdistill.serve.bundle import Bundle, load_bundle
from kgdistill.serve.pack import pack_student, save_text_tower
from kgdistill.store import GraphStore
from kgdistill.tasks.histories import gone, histories
from kgdistill.tasks.match import Scorer as AnyScorer
from kgdistill.tasks.match import Setting
from kgdistill.tasks.training_data import make_training_data
from kgdistill.train.choose import LinearChoice, choose_linear, sides_of
from kgdistill.train.student import Targets, Tokens, make_targets, student_scorer, train_student
from kgdistill.train.teacher import relational_embeddings, teacher_scorer, train_teacher
from kgdistill.train.tune import AdaptConfig, adapt_encoder, later_purchases, neighbour_pairs

__all__ = [
    "COMPARISONS",
    "CONTROLS",
    "STUDENTS",
    "TEACHERS",
    "TITLES",
    "Arm",
    "Run",
    "StudentKind",
    "TeacherKind",
    "train_all",
]

_USERS = 1000
"""How many are answered between two steps of the progress."""
TITLES = {
    "popularity": "popularity",
    "ease": "EASE",
    "teacher_text": "text-only teacher",
    "teacher": "fused teacher",
    "teacher_words": "text-only teacher with exact fields",
    "teacher_shuffled": "fused teacher, shuffled facts",
    "student": "student",
    "student_nodistill": "student without distillation",
}
COMPARISONS = [
    ("teacher", "teacher_text"),
    ("teacher", "teacher_shuffled"),
    ("student", "student_nodistill"),
    ("student", "teacher"),
    ("student", "ease"),
    ("student", "popularity"),
]


class Arm(NamedTuple):
    """One of our models, ready to be judged.

    Attributes:
        arm, title: its short name and what a reader calls it.
        kind: "ours", "control" where only a comparison needs it, or "ablation".
        seed: of its training.
        scorer: over everything that it may know.
        fit_seconds: how long training took; None where it was not measured.
        parameters: how many numbers must be held to answer, the text encoder's among them.
    """

    arm: str
    title: str
    kind: Literal["ours", "control", "ablation"]
    seed: int
    scorer: Scorer
    fit_seconds: float | None
    parameters: int


class Run(RunFolder):
    """A run folder with its configuration; the stages are its methods.

    Args:
        folder: where everything of the run goes.
        config: the resolved configuration.
    """

    @cached_property
    def linear(self) -> LinearChoice:
        """Settings of the linear expert, chosen on the validation events."""

        def make(folder: Path) -> None:
            chosen = choose_linear(
                self.catalogue,
                sides_of(self.catalogue, self.facts),
                self.task.validation,
                k=self.config.protocol.k,
            )
            artefacts.save_choice(folder, chosen)

        self._stage("choice", self._inputs("choice"), make)
        return artefacts.load_choice(self.read("choice"))

    @property
    def _experts(self) -> LinearChoice:
        return replace(self.linear, walk=self.config.teacher.walk)

    def _validate(self, scorer: Scorer) -> dict[str, float]:
        result = evaluate_arm(
            scorer, self.task, arm="validation", title="validation", split="validation",
            k=self.config.protocol.k, settings=list(self.catalogue.pools), progress=False,
        )  # fmt: skip
        return {f"{setting}_ndcg@{result.k}": result.mean(setting) for setting in result.settings}

    # The stages -----------------------------------------------------------------------------

    def encode_text(self) -> None:
        """Embeds the distinct texts of the products."""
        settings = self.config.text

        def make(folder: Path) -> None:
            texts, rows = np.unique(
                np.array(self.snapshot.texts("Product"), dtype=object), return_inverse=True
            )
            distinct = [str(t) for t in texts]
            encoder = TransformerText(
                settings.encoder, device=self.device, max_tokens=settings.max_tokens,
                batch=settings.batch, precision=settings.precision,
            )  # fmt: skip
            embeddings = encoder.encode(distinct)
            if settings.tune != "frozen":
                self._tune(encoder, distinct, rows.astype(np.int64))
                embeddings = encoder.encode(distinct)
            # Bare words, as the text tower of the bundle will read them.
            tokens = Tokens.of(encoder.token_ids(distinct, special=False), len(encoder.tokenizer))
            artefacts.save_text(folder, embeddings, rows.astype(np.int64), tokens, encoder.name)
            encoder.tokenizer.save_pretrained(folder / "tokenizer")
            if settings.tune != "frozen":
                encoder.save(folder / "encoder")

        self._stage("text", self._inputs("text"), make)
        for name in ("catalogue", "tokens", "linear"):
            self.__dict__.pop(name, None)

    def _tune(self, encoder: TransformerText, texts: list[str], rows: np.ndarray[Any, Any]) -> None:
        """Adapts the encoder to the catalogue: texts of neighbouring products come close.

        It sees nothing of the inner labels and nothing at or after the moment that models are chosen at.
        """
        settings = self.config.text
        assert settings.tune != "frozen"
        catalogue = make_training_data(self.snapshot, self.task, np.zeros((len(texts), 1), np.float32), rows)
        inner = catalogue.view(catalogue.inner_cut(self.config.teacher.inner_share, catalogue.select_us))
        later = sp.csr_matrix(catalogue.view(catalogue.select_us).purchases - inner.purchases)
        later.eliminate_zeros()
        pairs = neighbour_pairs(inner, self.facts, rows, texts=len(texts), seed=self.config.seed)
        adapt_encoder(
            encoder, texts, pairs,
            AdaptConfig(
                mode=settings.tune, top_layers=settings.top_layers, epochs=settings.epochs, lr=settings.lr,
                batch=settings.batch,
            ),
            seed=self.config.seed,
            validate=lambda e: later_purchases(e.encode(texts), rows, inner, later, catalogue.items),
        )  # fmt: skip

    def train_teacher(self, kind: TeacherKind = "teacher") -> None:
        """Trains the fused teacher, the text-only one or the one on shuffled facts."""
        self.need("text")

        def make(folder: Path) -> None:
            families, relations = self.families(kind)
            graph, settings = kind not in ("teacher_text", "teacher_words"), self.config.teacher
            linear = self._experts if graph and settings.item_to_item else None
            trained = train_teacher(
                self.catalogue, families, self.config.teacher, device=self.device, seed=self.config.seed,
                validate=self._validate, relations=relations, linear=linear,
                use_graph=graph, title=f"Training the {TITLES[kind]}",
            )  # fmt: skip
            artefacts.save_teacher(folder, trained)
            artefacts.write_curves(folder, trained.history)

        self._stage(kind, self._inputs(kind), make)

    def make_targets(self) -> None:
        """Writes down what the fused teacher hands to the student."""
        self.need("teacher")

        def make(folder: Path) -> None:
            artefacts.save_targets(folder, self._targets(self.catalogue.cut_us))

        self._stage("targets", self._inputs("targets"), make)

    def _targets(self, until_us: int) -> Targets:
        student = self.config.student
        folder = self.read("teacher")
        if until_us < self.catalogue.cut_us:
            folder /= artefacts.CHOSEN  # the final one has learned from the validation events
        trained = artefacts.load_teacher(folder, *self.families("teacher"))
        scorer = teacher_scorer(trained, self.catalogue, self.catalogue.view(until_us), self.device)
        return make_targets(
            scorer, self.catalogue, top=student.candidates, random=student.random, seed=self.config.seed
        )

    def train_student(self, kind: StudentKind = "student") -> None:
        """Trains the student, or the one without distillation."""
        distilled = kind == "student"
        self.need("targets" if distilled else "text")

        def targets(until_us: int) -> Targets:
            if until_us == self.catalogue.cut_us:
                return artefacts.load_targets(self.read("targets"))
            return self._targets(until_us)

        def make(folder: Path) -> None:
            trained = train_student(
                self.catalogue, self.fields, self.tokens, targets if distilled else None, self.config.student,
                dim=self.config.teacher.dim, inner_share=self.config.teacher.inner_share,
                device=self.device, seed=self.config.seed, validate=self._validate, linear=self._experts,
                sides=sides_of(self.catalogue, self.facts),
                title=f"Training the {TITLES[kind]}",
            )  # fmt: skip
            artefacts.save_student(folder, trained)
            artefacts.write_curves(folder, trained.history)

        self._stage(kind, self._inputs(kind), make)

    def make_bundle(self) -> None:
        """Packs the student for serving."""
        self.need("student")

        def make(folder: Path) -> None:
            save_text_tower(
                artefacts.load_student(self.read("student"), self.fields).model,
                self.read("text") / "tokenizer" / "tokenizer.json",
                folder / "text_tower",
                max_tokens=self.config.text.max_tokens,
            )
            self._bundle().save(folder, parts=["text_tower"])

        # Others may read it: it is what is deployed, and tells of products alone.
        self._stage("bundle", self._inputs("bundle"), make, private=False)

    def evaluate(self) -> dict[str, Any]:
        """Judges every arm that is there once on the test split; returns what metrics.json holds.

        The teacher and the student have to be there; a control that is not, or no longer fits, is left out
        and named under `left_out`; one that can show nothing on this graph is named under `void`.
        """
        kinds, left_out = self.judged()

        def make(folder: Path) -> None:
            self.task.open_test()
            results: list[ArmResult] = []
            fit: dict[str, float] = {}
            parameters: dict[str, int] = {}
            (folder / "topk").mkdir()
            for arm, scorer in self._judged(fit, parameters):
                settings: list[Setting] | None = ["warm"] if arm == "ease" else None
                result = evaluate_arm(
                    scorer, self.task, arm=arm, title=TITLES[arm], k=self.config.protocol.k, settings=settings
                )
                pq.write_table(result.topk, folder / "topk" / f"{arm}.parquet")
                results.append(result)
            there = {result.arm for result in results}
            document = metrics_document(
                self.config.protocol, self.task, results, [c for c in COMPARISONS if there >= set(c)],
                fit_seconds=fit, parameters=parameters,
            )  # fmt: skip
            document |= {"left_out": left_out, "void": self._void(kinds)}
            (folder / "metrics.json").write_text(json.dumps(document, indent=2), encoding="utf-8")

        self._stage("evaluate", {**self._inputs("evaluate", judged=kinds), "left_out": left_out}, make)
        text = (self.read("evaluate") / "metrics.json").read_text(encoding="utf-8")
        document: dict[str, Any] = json.loads(text)
        return document

    def _void(self, kinds: tuple[str, ...]) -> dict[str, str]:
        """Controls that can show nothing on this graph, and why."""
        if "teacher_shuffled" not in kinds:
            return {}
        real, shuffled = (self.families(kind)[1] for kind in ("teacher", "teacher_shuffled"))
        if not sum(family.incidence.nnz for family in real):
            why = "the graph has no facts before the cut, or hardly any product has one"
        elif all(
            (one.incidence != other.incidence).nnz == 0 for one, other in zip(real, shuffled, strict=True)
        ):
            why = "every fact stayed where it was, as all products have the same"
        else:
            return {}
        return {"teacher_shuffled": f"the shuffled facts are the real ones: {why}"}

    def arms(self) -> Iterator[Arm]:
        """Our arms that are there one after another, so that only one is in memory."""
        kinds, _ = self.judged()
        for kind in kinds:
            scorer: Scorer
            if kind == "student" or kind == "student_nodistill":
                pupil = artefacts.load_student(self.read(kind), self.fields)
                seconds = pupil.seconds
                scorer = student_scorer(
                    pupil, self.catalogue, self.tokens, self.catalogue.view(), self.device
                )
            else:
                trained = self._teacher(kind)
                seconds = trained.seconds
                scorer = teacher_scorer(trained, self.catalogue, self.catalogue.view(), self.device)
            yield Arm(
                kind, TITLES[kind], "ours" if kind in NEEDED else "control",
                self.config.seed, scorer, seconds, self.parameters(kind, scorer),
            )  # fmt: skip

    def _judged(self, fit: dict[str, float], parameters: dict[str, int]) -> Iterator[tuple[str, AnyScorer]]:
        yield "popularity", popularity(self.task)
        start = time.monotonic()
        scorer = ease(self.task)
        fit["ease"] = time.monotonic() - start
        yield "ease", scorer
        for arm in self.arms():
            parameters[arm.arm] = arm.parameters
            if arm.fit_seconds is not None:
                fit[arm.arm] = arm.fit_seconds
            yield arm.arm, arm.scorer

    def _bundle(self) -> Bundle:
        return pack_student(self.student_scorer(), self.catalogue, self.snapshot)

    def recommendations(self, k: int = 20, *, store: GraphStore | None = None) -> pa.Table:
        """The best `k` products for every user with enough purchases: user, product, rank, score.

        They rest on all purchases that are known by now, after the cut too, and leave out what was bought;
        none of it reaches a model or a figure.

        Args:
            k: for each user.
            store: says what was bought, and which products there still are, as it is now; without, the run's
                folder says it as of the snapshot.
        """
        self.need("bundle")
        bundle = load_bundle(self.folder / "bundle")
        least, (_, _, label) = self.config.protocol.min_user_events, self.config.protocol.interaction
        left = gone(store, label, bundle.keys) if store is not None else []
        known = histories(self.purchases(store), bundle.keys)
        asked = {user: history for user, history in known.items() if len(history.items) >= least}
        columns: dict[str, list[Any]] = {"user": [], "product": [], "rank": [], "score": []}
        with step("Recommending", total=len(asked)) as work:
            for start in range(0, len(asked), _USERS):
                part = list(asked.items())[start : start + _USERS]
                answers = bundle.recommend_many(
                    [history.items for _, history in part], k=k, cold=False,
                    exclude=[[*history.beside, *left] for _, history in part],
                )  # fmt: skip
                for (user, _), answer in zip(part, answers, strict=True):
                    for found in answer.recommendations:
                        columns["user"].append(user)
                        columns["product"].append(found.product)
                        columns["rank"].append(found.rank)
                        columns["score"].append(found.score)
                work.advance(len(part))
        types = {"user": pa.string(), "product": pa.string(), "rank": pa.int64(), "score": pa.float64()}
        table = pa.table(columns, schema=pa.schema(types.items()))
        out = pa.BufferOutputStream()
        pq.write_table(table, out)
        write_private(self.folder / "recommendations.parquet", out.getvalue().to_pybytes())
        return table

    def embeddings(self) -> list[tuple[str, list[str], np.ndarray[Any, Any]]]:
        """What is written back: (space, product keys, vectors float32 [N, D]) of the items with buyers."""
        view = self.catalogue.view()
        items = np.intersect1d(view.warm, self.catalogue.items)
        keys = [str(k) for k in self.snapshot.keys("Product")[items]]
        trained = self._teacher("teacher")
        relational = relational_embeddings(trained, self.catalogue, view, self.device)[items]
        student = self.student_scorer().vectors.cpu().numpy()[items]
        return [("relational", keys, relational), ("student", keys, student)]


def train_all(run: Run, notify: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Every stage after the snapshot, in order; returns the metrics."""
    with run.lock():
        run.encode_text()
        for kind in TEACHERS:
            run.train_teacher(kind)
        run.make_targets()
        for student in STUDENTS:
            run.train_student(student)
        run.make_bundle()
        notify("judging every arm on the test period")
        return run.evaluate()
