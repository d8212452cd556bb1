"""Matching by history: what the stages of such a run make, and its models ready to score."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import scipy.sparse as sp
import torch

from kgdistill.arrays import DoubleArray, FloatArray, IntArray
from kgdistill.errors import InputError
from kgdistill.evaluate.baselines import ease, exchanged, popularity
from kgdistill.evaluate.document import metrics_document
from kgdistill.evaluate.judge import ArmResult, evaluate_arm
from kgdistill.models.scorer import Scorer
from kgdistill.models.text.static import StaticText
from kgdistill.models.text.tokens import Tokens
from kgdistill.models.text.transformer import TextModel, TransformerText
from kgdistill.models.text.vocabulary import whole_tokenizer
from kgdistill.models.text.words import WordTokens
from kgdistill.progress import notice
from kgdistill.run import artefacts
from kgdistill.run.chain import Arm
from kgdistill.run.maker import Maker
from kgdistill.run.unsaid import say_unsaid_facts
from kgdistill.serve.bundle import Bundle
from kgdistill.serve.pack import pack_student, pack_tower, parameters_of, serving_parameters, static_text
from kgdistill.serve.pack_complements import bought_baskets, pack_complements
from kgdistill.tasks.basket import RepeatTask
from kgdistill.tasks.event_weights import in_numbers, load_weights, save_weights, weighed_sentences
from kgdistill.tasks.item_groups import ItemGroups, beside_facts, fact_groups, own_fields, text_groups
from kgdistill.tasks.match import MatchTask, Split
from kgdistill.tasks.match import Scorer as AnyScorer
from kgdistill.tasks.other_events import other_events
from kgdistill.tasks.positives import LEARNED, with_numbers
from kgdistill.tasks.spec import MatchSpec
from kgdistill.tasks.training_data import TrainingData, make_training_data
from kgdistill.train.basket import repeat_scorer
from kgdistill.train.choose import LinearChoice, choose_linear, sides_of
from kgdistill.train.learn_weights import learn_weights
from kgdistill.train.student import StudentInputs, TrainedStudent, student_scorer, train_student
from kgdistill.train.targets import Targets, make_targets
from kgdistill.train.teacher import (
    TeacherInputs,
    TrainedTeacher,
    relational_embeddings,
    teacher_scorer,
    train_teacher,
)
from kgdistill.train.tune import AdaptConfig, adapt_encoder, later_purchases, neighbour_pairs

_VALIDATED = 10_000
"""At most so many users say which epoch is best."""


class JudgedArm(NamedTuple):
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
    scorer: AnyScorer
    fit_seconds: float | None
    parameters: int


class Contender(NamedTuple):
    """Any arm, ready to be judged.

    Attributes:
        arm: its short name.
        scorer: over everything that it may know.
        fit_seconds, parameters: as in `JudgedArm`; None where they are not told.
    """

    arm: str
    scorer: AnyScorer
    fit_seconds: float | None = None
    parameters: int | None = None


class HistoryMatch(Maker):
    """The stages and models of a run whose anchors are known by their history."""

    # What training reads ------------------------------------------------------------------------

    @cached_property
    def catalogue(self) -> TrainingData:
        """What training reads."""
        if LEARNED in self.run.declared_weights.values():
            self.run.make("choice")
        return self._catalogue(self.run.weights)

    def _catalogue(self, weights: Mapping[str, float]) -> TrainingData:
        embeddings, rows, tokens = self._text_read
        by_label = artefacts.load_group_texts(self.run.read("text"))
        groups = {f.name: by_label[f.label] for f in self.facts if f.label in by_label}
        return make_training_data(
            self.run.snapshot, self.run.task, embeddings, rows, words=tokens.weighted(rows),
            group_texts=groups, others=other_events(self.run.snapshot, self.run.task, weights),
        )  # fmt: skip

    @property
    def tokens(self) -> Tokens:
        """Token ids of the distinct texts."""
        return self._text_read[2]

    @cached_property
    def _text_read(self) -> tuple[FloatArray, IntArray, Tokens]:
        return artefacts.load_text(self.run.read("text"))

    @property
    def label(self) -> str:
        """Of the items."""
        return self.run.config.discovery.candidates

    @cached_property
    def facts(self) -> list[ItemGroups]:
        """Item groups along the facts."""
        return self._fact_groups()

    @cached_property
    def fields(self) -> list[ItemGroups]:
        """Item groups by shared text fields."""
        return text_groups(self.run.snapshot, self.label)

    @cached_property
    def linear(self) -> LinearChoice:
        """Settings of the item-to-item terms, chosen on the validation events."""
        self.run.make("choice")
        return replace(artefacts.load_choice(self.run.read("choice")), walk=self.run.config.teacher.walk)

    @cached_property
    def own(self) -> list[ItemGroups]:
        """The text fields that no fact holds."""
        return own_fields(self.facts, self.fields)

    def groups(self, name: str) -> tuple[list[ItemGroups], list[ItemGroups]]:
        """The item groups among an arm's terms, and the facts along which its messages go."""
        arm = self.run.pipeline.arms[name]
        if "facts" not in arm.reads:
            return (self.fields if "fields" in arm.reads else self.own), []
        shuffle = np.random.default_rng(self.run.config.seed) if arm.shuffle else None
        facts = self.facts if shuffle is None else self._fact_groups(shuffle)
        return beside_facts(facts, self.own), facts

    def stale(self, name: str) -> bool:
        """See `Maker`: a former version read a listed property whole."""
        listed = name in self.run.pipeline.trained and any(field.split for field in self.fields)
        return listed and artefacts.split_otherwise(self.run.folder / name, self.groups(name)[0])

    def _fact_groups(self, shuffle: np.random.Generator | None = None) -> list[ItemGroups]:
        task = self.run.config.task
        if isinstance(task, MatchSpec) and "facts" not in task.candidates.by:
            return []
        return fact_groups(self.run.snapshot, self.label, shuffle=shuffle)

    # The stages -----------------------------------------------------------------------------------

    def make(self, name: str, folder: Path) -> None:
        """Makes what a stage leaves, in an empty folder."""
        arm = self.run.pipeline.arms.get(name)
        if arm is not None:
            (self._teacher if arm.learner == "teacher" else self._student)(arm, folder)
        elif name == "text":
            self._text(folder)
        elif name == "choice":
            self._choose(folder)
        elif name == "targets":
            artefacts.save_targets(folder, self.targets(self.catalogue.cut_us))
        elif name == "bundle":
            self._packed().save(folder)
        else:
            self._judge(folder)

    def _choose(self, folder: Path) -> None:
        declared, k = self.run.declared_weights, self.run.config.discovery.k
        if LEARNED in declared.values():
            whole = self._catalogue(dict.fromkeys(declared, 1.0))
            learned = learn_weights(whole, declared, k=k, device=self.device)
            save_weights(folder, learned)
            weights = in_numbers(declared, learned)
            for line in weighed_sentences(weights, learned, self.run.config.discovery.interaction[1]):
                notice(line)
            catalogue = self._catalogue(weights)
        else:
            catalogue = self.catalogue
        sides = sides_of(catalogue, self.facts)
        chosen = choose_linear(catalogue, sides, self.run.task.validation, k=k, device=self.device)
        artefacts.save_choice(folder, chosen)

    def _text(self, folder: Path) -> None:
        """Embeds the distinct texts of the candidates, and of the nodes that their facts lead to."""
        settings = self.run.config.text
        if self.facts:
            say_unsaid_facts(self.run.snapshot, self.label, self.fields)
        distinct, rows = self._distinct(self.label)
        # Anew, as tuning changes it.
        encoder = artefacts.text_encoder(settings, self.device, self.run.texts())
        if settings.tune != "frozen":
            self._tune(encoder, distinct, rows)
        embeddings = encoder.encode(distinct)
        # Bare words, as the text tower of the bundle will read them.
        tokenizer = whole_tokenizer(encoder, distinct, self.run.config.teacher.dim)
        ids = WordTokens(tokenizer).ids(distinct, encoder.max_tokens)
        tokens = Tokens.of(ids, tokenizer.get_vocab_size())
        artefacts.save_text(folder, embeddings, rows, tokens, encoder.name)
        labels = dict.fromkeys(f.label for f in self.facts if f.label is not None)
        read = {label: self._distinct(label) for label in labels}
        artefacts.save_group_texts(
            folder, {label: (encoder.encode(texts), of) for label, (texts, of) in read.items() if any(texts)}
        )
        (folder / "tokenizer").mkdir()
        tokenizer.save(str(folder / "tokenizer" / "tokenizer.json"))
        if settings.tune != "frozen":
            assert isinstance(encoder, TransformerText)
            encoder.save(folder / "encoder")

    def _distinct(self, label: str) -> tuple[list[str], IntArray]:
        """The distinct texts of a label's nodes, and each node's place among them."""
        texts, place = np.unique(np.array(self.run.snapshot.texts(label), dtype=object), return_inverse=True)
        return [str(t) for t in texts], place.astype(np.int64)

    def _tune(self, encoder: TextModel, texts: list[str], rows: IntArray) -> None:
        """Adapts the encoder to the catalogue: texts of neighbouring products come close.

        It sees nothing of the inner labels and nothing at or after the moment that models are chosen at.
        """
        settings, config = self.run.config.text, self.run.config
        assert settings.tune != "frozen"
        if not isinstance(encoder, TransformerText):
            raise InputError(
                f"is {settings.tune!r}, but {encoder.name} gives vectors alone and cannot learn",
                where="text.tune",
                hint="leave it out, or name a Hugging Face folder as text.encoder",
            )
        unread = np.zeros((len(texts), 1), np.float32)
        catalogue = make_training_data(self.run.snapshot, self.run.task, unread, rows)
        inner = catalogue.view(catalogue.inner_cut(config.teacher.inner_share, catalogue.select_us))
        later = sp.csr_matrix(catalogue.view(catalogue.select_us).purchases - inner.purchases)
        later.eliminate_zeros()
        pairs = neighbour_pairs(inner, self.facts, rows, texts=len(texts), seed=config.seed)
        adapt_encoder(
            encoder, texts, pairs,
            AdaptConfig(
                mode=settings.tune, top_layers=settings.top_layers, epochs=settings.epochs, lr=settings.lr,
                batch=settings.batch,
            ),
            self.context,
            validate=lambda e: later_purchases(e.encode(texts), rows, inner, later, catalogue.items),
        )  # fmt: skip

    def _teacher(self, arm: Arm, folder: Path) -> None:
        config = self.run.config
        groups, relations = self.groups(arm.name)
        linear = self.linear if arm.weights and config.teacher.item_to_item else None
        inputs = TeacherInputs(self.catalogue, groups, relations, linear, use_graph=arm.graph)
        trained = train_teacher(
            inputs, config.teacher, self.context, self._validate, title=f"Training the {arm.title}"
        )
        self._tell_sold(trained.lifted)
        artefacts.save_teacher(folder, trained)
        artefacts.write_curves(folder, trained.history)

    def targets(self, until_us: int) -> Targets:
        """What the teacher hands to the student, over the interactions before a moment."""
        student, folder = self.run.config.student, self.run.read("teacher")
        if until_us < self.catalogue.cut_us:
            folder /= artefacts.CHOSEN  # the final one has learned from the validation events
        trained = artefacts.load_teacher(folder, *self.groups("teacher"))
        scorer = teacher_scorer(trained, self.catalogue, self.catalogue.view(until_us), self.device)
        return make_targets(
            scorer, self.catalogue, top=student.candidates, random=student.random, seed=self.run.config.seed
        )

    def _targets(self, until_us: int) -> Targets:
        if until_us == self.catalogue.cut_us:
            return artefacts.load_targets(self.run.read("targets"))
        return self.targets(until_us)

    def student_inputs(self, catalogue: TrainingData) -> StudentInputs:
        """What a student of this run learns from beside its teacher's targets, of a catalogue."""
        teacher = self.run.config.teacher
        return StudentInputs(
            catalogue, self.fields, self.tokens, teacher.dim, teacher.inner_share, self.linear,
            sides_of(catalogue, self.facts),
        )  # fmt: skip

    def _student(self, arm: Arm, folder: Path) -> None:
        config = self.run.config.student.model_copy(update=dict.fromkeys(arm.off, 0))
        trained = train_student(
            self.student_inputs(self.catalogue), self._targets if arm.distilled else None,
            config, self.context, self._validate, title=f"Training the {arm.title}",
        )  # fmt: skip
        self._tell_sold(trained.lifted)
        artefacts.save_student(folder, trained)
        artefacts.write_curves(folder, trained.history)

    def _tell_sold(self, lifted: dict[str, float]) -> None:
        """Adds to what was chosen for new items how many of these there were then, and how many sold."""
        if lifted:
            new = self.catalogue.pool("cold", self.catalogue.view(self.catalogue.select_us))
            sold = self.run.task.candidates("cold", "validation")
            lifted |= {"new": float(len(new)), "sold": float(len(sold))}

    def _packed(self) -> Bundle:
        config, trained = self.run.config, self._trained_student("student")
        tower = pack_tower(trained.model, self._tokenizer, max_tokens=config.text.max_tokens)
        bundle = pack_student(
            self._served(trained),
            self.catalogue,
            self.run.snapshot,
            tower=tower,
            task=with_numbers(config.task.declared(), above=config.discovery.above, weights=self.run.weights),
        )
        protocol, items = self.run.config.discovery, self.catalogue.items
        baskets = bought_baskets(self.run.snapshot, protocol, items, config.goes_with.window_hours)
        bundle.complements = pack_complements(baskets, bundle.items, config.goes_with)
        return bundle

    def _served(self, trained: TrainedStudent) -> Scorer:
        """The student as the bundle holds it."""
        return self._student_scorer(trained)

    def _validate(self, scorer: Scorer) -> dict[str, DoubleArray]:
        task = self.run.task.thinned(_VALIDATED)
        result = evaluate_arm(
            scorer, task, arm="validation", title="validation", split="validation",
            k=self.run.config.discovery.k, settings=list(self.catalogue.pools), progress=False,
        )  # fmt: skip
        parts = {}
        for setting, found in result.settings.items():
            part = parts[f"{setting}_ndcg@{result.k}"] = np.zeros(len(task.users))
            # Who is asked nothing in a setting has no part in it: the mean over all is that of the others.
            part[np.searchsorted(task.users, found.users)] = found.ndcg * len(task.users) / len(found.users)
        return parts

    # Models, ready to score ------------------------------------------------------------------------

    def _trained_teacher(self, kind: str) -> TrainedTeacher:
        return artefacts.load_teacher(self.run.read(kind), *self.groups(kind))

    def _trained_student(self, kind: str) -> TrainedStudent:
        return artefacts.load_student(self.run.read(kind), self.fields)

    def teacher_scorer(self, kind: str = "teacher") -> Scorer:
        """A trained teacher over everything before the cut."""
        return self._teacher_scorer(self._trained_teacher(kind))

    def _teacher_scorer(self, trained: TrainedTeacher) -> Scorer:
        return teacher_scorer(trained, self.catalogue, self.catalogue.view(), self.device)

    def student_scorer(self, kind: str = "student", *, use_ids: bool = True) -> Scorer:
        """A trained student over everything before the cut."""
        return self._student_scorer(self._trained_student(kind), use_ids=use_ids)

    def _student_scorer(self, trained: TrainedStudent, *, use_ids: bool = True) -> Scorer:
        view = self.catalogue.view()
        return student_scorer(trained, self.catalogue, self.tokens, view, self.device, use_ids=use_ids)

    def repeat_scorer(self, task: RepeatTask, split: Split) -> AnyScorer:
        """The student with its repeat feature: what a user buys next, had before or not."""
        return repeat_scorer(
            self.student_scorer("student"), self.catalogue, task, split, seed=self.run.config.seed
        )

    def text_tower(self) -> StaticText:
        """The student's text tower as it serves, on one core."""
        model, longest = self._trained_student("student").model, self.run.config.text.max_tokens
        return static_text(model, self._tokenizer, max_tokens=longest)

    @property
    def _tokenizer(self) -> Path:
        return self.run.read("text") / "tokenizer" / "tokenizer.json"

    def embeddings(self) -> list[tuple[str, list[str], FloatArray]]:
        """What is written back: (space, item keys, vectors float32 [N, D]) of the items with buyers."""
        view, label = self.catalogue.view(), self.label
        items = np.intersect1d(view.warm, self.catalogue.items)
        keys = [str(k) for k in self.run.snapshot.keys(label)[items]]
        relational = relational_embeddings(
            self._trained_teacher("teacher"), self.catalogue, view, self.device
        )
        student = self.student_scorer().vectors.cpu().numpy()
        return [("relational", keys, relational[items]), ("student", keys, student[items])]

    def parameters(self, kind: str, scorer: Scorer) -> int:
        """How many numbers a model of that kind must hold to answer, a teacher's text encoder among them."""
        if self.run.pipeline.arms[kind].learner == "student":
            return parameters_of(scorer.model) + scorer.terms.parameters
        return self._encoder_parameters + serving_parameters(scorer)

    @cached_property
    def _encoder_parameters(self) -> int:
        own = self.run.read("text") / "encoder"
        if own.is_dir():
            return TransformerText(str(own), device=torch.device("cpu")).parameters_count
        return self.encoder.parameters_count

    # Judging --------------------------------------------------------------------------------------

    def arms(self) -> Iterator[JudgedArm]:
        """The trained arms that are there one after another, so that only one is in memory."""
        for name in self.run.judged()[0]:
            arm = self.run.pipeline.arms[name]
            scorer, seconds = self._scored(arm)
            yield JudgedArm(
                name, arm.title, "ours" if arm.role == "needed" else "control", self.run.config.seed,
                scorer, seconds, self.parameters(name, scorer),
            )  # fmt: skip

    def _scored(self, arm: Arm) -> tuple[Scorer, float]:
        """A trained arm ready to score, and how long its training took in seconds."""
        if arm.learner == "student":
            student = self._trained_student(arm.name)
            return self._student_scorer(student), student.seconds
        teacher = self._trained_teacher(arm.name)
        return self._teacher_scorer(teacher), teacher.seconds

    def _judge(self, folder: Path) -> None:
        """Judges every arm that is there once on the test split."""
        self.run.task.open_test()
        self._judge_each(self.run.task, self._contenders(), folder)

    def _contenders(self) -> Iterator[Contender]:
        yield Contender("popularity", popularity(self.run.task))
        start = time.monotonic()
        scorer = ease(self.run.task)
        yield Contender("ease", scorer, time.monotonic() - start)
        for arm in self.arms():
            yield Contender(arm.arm, arm.scorer, arm.fit_seconds, arm.parameters)
        student, somebody = self.student_scorer(), exchanged(self.run.task.users, self.run.config.seed)
        yield Contender("student_exchanged", lambda users, items: student(somebody[users], items))

    def _judge_each(self, task: MatchTask, contenders: Iterable[Contender], folder: Path) -> None:
        """Judges one after another on an opened task, and leaves ranks and figures."""
        pipeline = self.run.pipeline
        results: list[ArmResult] = []
        fit: dict[str, float] = {}
        parameters: dict[str, int] = {}
        (folder / "topk").mkdir()
        for name, scorer, seconds, size in contenders:
            arm = pipeline.arms[name]
            asked = [s for s in task.protocol.settings if arm.settings is None or s in arm.settings]
            if not asked:
                continue
            result = evaluate_arm(scorer, task, arm=name, title=arm.title, k=task.protocol.k, settings=asked)
            pq.write_table(result.topk, folder / "topk" / f"{name}.parquet")
            results.append(result)
            if seconds is not None:
                fit[name] = seconds
            if size is not None:
                parameters[name] = size
        comparisons = pipeline.compared({result.arm for result in results})
        document = metrics_document(task, results, comparisons, fit_seconds=fit, parameters=parameters)
        learned = load_weights(self.run.read("choice"))
        document["protocol"]["description"] += weighed_sentences(
            self.run.weights, learned, task.protocol.interaction[1]
        )
        artefacts.save_metrics(folder, document | self.absent())

    @cached_property
    def void(self) -> dict[str, str]:
        """The controls that can show nothing on this graph or with these settings, and why."""
        void = {}
        for name in self.run.pipeline.trained:
            arm = self.run.pipeline.arms[name]
            if arm.shuffle and (why := self._unshuffled(name)):
                void[name] = f"the shuffled facts are the real ones: {why}"
            elif arm.off:
                student = self.run.config.student
                if not any(getattr(student, setting) for setting in arm.off):
                    void[name] = f"the student learns without: {', '.join(arm.off)} is off"
        return void

    def _unshuffled(self, name: str) -> str:
        """Why the shuffled facts of an arm are the real ones; empty where they are not."""
        pairs = zip(self.facts, self.groups(name)[1], strict=True)
        if not sum(groups.incidence.nnz for groups in self.facts):
            return "the graph has no facts before the cut, or hardly any product has one"
        if all((one.incidence != other.incidence).nnz == 0 for one, other in pairs):
            return "every fact stayed where it was, as all products have the same"
        return ""
