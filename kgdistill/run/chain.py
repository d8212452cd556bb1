"""Arms and stages of each kind of task as data: what stands on what, and why a stage no longer fits."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from kgdistill.config import RunConfig, TaskKind
from kgdistill.serve.file import FORMAT
from kgdistill.tasks.protocol import Setting
from kgdistill.tasks.spec import ClassifySpec, MatchSpec

Data = tuple[Literal["snapshot", "holdout"], ...]
Reads = Literal["fields", "own fields", "facts"]
"""Item groups: the text fields, those of them that no fact holds, the facts with the nodes above."""


@dataclass(frozen=True)
class Arm:
    """One model in a comparison.

    Attributes:
        name, title: its short name, which is that of its stage, and what a reader calls it.
        role: "needed" where an evaluation cannot do without it, "control" where it is compared if there,
            "benchmark" where only a benchmark asks for it, "baseline" where it is fitted as it is judged.
        learner: what is trained; None for a baseline.
        reads: the item groups among its terms.
        graph: whether relational embeddings take part.
        weights: whether item-to-item terms take part.
        shuffle: whether the facts' ends are permuted, which keeps every degree.
        exchanged: whether the subjects of train and validation have each other's labels.
        distilled: whether a student learns from the teacher's targets.
        off: settings of the student that are off.
        compared_with: other arms, each a paired difference in the results.
        settings: where it can be judged; None everywhere.
    """

    name: str
    title: str
    role: Literal["needed", "control", "benchmark", "baseline"]
    learner: Literal["teacher", "student"] | None = None
    reads: tuple[Reads, ...] = ()
    graph: bool = False
    weights: bool = False
    shuffle: bool = False
    exchanged: bool = False
    distilled: bool = False
    off: tuple[str, ...] = ()
    compared_with: tuple[str, ...] = ()
    settings: tuple[Setting, ...] | None = None


def _nothing(config: RunConfig) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Stage:
    """One stage of a run.

    Attributes:
        title: what a reader calls it.
        how: how it came to be, in a message.
        command: what makes it.
        stands_on: the stages whose making is among its inputs.
        data: what of the data names itself among its inputs.
        settings: the sections of the configuration among its inputs.
        further: other inputs, from the configuration.
        private: whether its owner alone may read it, as what tells of people is.
    """

    title: str
    how: str
    command: str
    stands_on: tuple[str, ...] = ()
    data: Data = ()
    settings: tuple[str, ...] = ()
    further: Callable[[RunConfig], dict[str, Any]] = _nothing
    private: bool = True


@dataclass(frozen=True)
class Pipeline:
    """What a run of one kind of task makes, in order.

    Attributes:
        arms: by name, in the order in which they are judged.
        stages: by name, in the order in which they are made.
    """

    arms: Mapping[str, Arm]
    stages: Mapping[str, Stage]

    @cached_property
    def trained(self) -> tuple[str, ...]:
        """The arms that are stages."""
        return tuple(name for name, arm in self.arms.items() if arm.learner is not None)

    @cached_property
    def fitted(self) -> tuple[str, ...]:
        """The stages that `Run.fit` makes, in order: all between the snapshot and the evaluation."""
        asked = {name for name, arm in self.arms.items() if arm.role == "benchmark"}
        return tuple(name for name in self.stages if name not in {"graph", "evaluate", *asked})

    @cached_property
    def by_learner(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """`fitted` in two: up to what the teacher hands down, and from the first student on."""
        first = next(
            i for i, n in enumerate(self.fitted) if n in self.arms and self.arms[n].learner == "student"
        )
        return self.fitted[:first], self.fitted[first:]

    def teachers(self, control: Literal["all", "text", "shuffled", "none"]) -> list[str]:
        """The stages up to the targets, with some of the teacher's controls or none.

        Args:
            control: "shuffled" are those on shuffled facts or labels, "text" the others.
        """

        def wanted(arm: Arm | None) -> bool:
            if arm is None or arm.role != "control" or control == "all":
                return True
            return control != "none" and (arm.shuffle or arm.exchanged) == (control == "shuffled")

        return [name for name in self.by_learner[0] if wanted(self.arms.get(name))]

    def without(self, *names: str) -> Pipeline:
        """The same where nothing can be made of some arms."""
        arms = {name: arm for name, arm in self.arms.items() if name not in names}
        stages = {
            key: replace(stage, stands_on=tuple(up for up in stage.stands_on if up not in names))
            for key, stage in self.stages.items()
            if key not in names
        }
        return Pipeline(arms, stages)

    def compared(self, judged: Collection[str]) -> list[tuple[str, str]]:
        """Pairs of arms whose difference is told, as far as both were judged."""
        pairs = ((name, other) for name, arm in self.arms.items() for other in arm.compared_with)
        return [(a, b) for a, b in pairs if a in judged and b in judged]


_TEACH, _STUDY = "kgdistill train teacher", "kgdistill train student"
_DATA: Data = ("snapshot", "holdout")


def _weighed(config: RunConfig) -> dict[str, Any]:
    """Further events of the histories: another weight, another model."""
    task = config.task
    weights = task.positives.weights if isinstance(task, MatchSpec) else {}
    told = {"half_life": True}  # former ones took a month's in every shop
    return {**told, "weights": dict(weights)} if weights else told


def _by_name(*arms: Arm) -> dict[str, Arm]:
    return {arm.name: arm for arm in arms}


def _teacher(arm: Arm) -> Stage:
    return Stage(
        f"the {arm.title}", "trained", _TEACH, ("text",), _DATA, ("protocol", "seed", "teacher", "device"),
        lambda config: {"kind": arm.name, **_weighed(config)},
    )  # fmt: skip


def _student(arm: Arm) -> Stage:
    below = ("targets", "text") if arm.distilled else ("text",)
    sections = ("protocol", "seed", "teacher", "student", "device")
    return Stage(f"the {arm.title}", "trained", _STUDY, below, _DATA, sections, _weighed)


_HISTORY_ARMS = _by_name(
    Arm("popularity", "popularity", "baseline"),
    Arm("ease", "EASE", "baseline", settings=("warm", "all", "tail")),
    Arm(
        "teacher", "fused teacher", "needed", "teacher", ("facts", "own fields"), graph=True, weights=True,
        compared_with=("teacher_noz", "teacher_text", "teacher_shuffled"),
    ),
    Arm(
        "teacher_noz", "fused teacher without z", "control", "teacher", ("facts", "own fields"), weights=True
    ),
    Arm("teacher_text", "text-only teacher", "control", "teacher", ("own fields",)),
    Arm(
        "teacher_shuffled", "fused teacher, shuffled facts", "control", "teacher", ("facts", "own fields"),
        graph=True, weights=True, shuffle=True,
    ),
    Arm("teacher_words", "text-only teacher with exact fields", "benchmark", "teacher", ("fields",)),
    Arm(
        "student", "student", "needed", "student", ("fields",), distilled=True,
        compared_with=(
            "student_nodistill", "student_nolists", "student_norelations", "teacher", "ease", "popularity",
            "student_exchanged",
        ),
    ),
    Arm("student_nodistill", "student without distillation", "control", "student", ("fields",)),
    Arm(
        "student_nolists", "student without the list loss", "control", "student", ("fields",),
        distilled=True, off=("list_weight",),
    ),
    Arm(
        "student_norelations", "student without the relational embeddings", "control", "student",
        ("fields",), distilled=True, off=("relational",),
    ),
    Arm("student_exchanged", "student, users exchanged", "baseline"),
)  # fmt: skip

_GRAPH = Stage("the snapshot", "taken", "kgdistill snapshot")
_TEXT = Stage(
    "the texts' vectors", "made", _TEACH, ("graph",), ("snapshot",), ("text",),
    lambda config: {"groups": True},  # former ones lack the texts of what facts lead to
)  # fmt: skip


def _history_stages() -> dict[str, Stage]:
    arms = [arm for arm in _HISTORY_ARMS.values() if arm.learner is not None]
    return {
        "graph": _GRAPH,
        "text": _TEXT,
        "choice": Stage(
            "the linear expert's settings", "chosen", _TEACH, ("text",), _DATA, ("protocol",), _weighed
        ),
        **{arm.name: _teacher(arm) for arm in arms if arm.learner == "teacher"},
        "targets": Stage(
            "the teacher's targets", "made", _TEACH, ("teacher",), (), ("seed",),
            lambda config: {"lists": [config.student.candidates, config.student.random], "head": True},
        ),
        **{arm.name: _student(arm) for arm in arms if arm.learner == "student"},
        "bundle": Stage(
            "the bundle", "packed", _STUDY, ("student",), (), ("goes_with",),
            lambda config: {"max_tokens": config.text.max_tokens, "format": FORMAT}, private=False,
        ),
        "evaluate": Stage(
            "the evaluation", "made", "kgdistill evaluate", tuple(arm.name for arm in arms), (),
            ("protocol",), lambda config: {"exchanged": True},  # former ones lack that control
        ),
    }  # fmt: skip


HISTORY = Pipeline(_HISTORY_ARMS, _history_stages())
"""match with anchors by their history."""


def _basket() -> Pipeline:
    """Its evaluation judges the next basket as a whole, and no control."""
    bare = HISTORY.without(*(arm.name for arm in HISTORY.arms.values() if arm.role == "control"))
    bundle = bare.stages["bundle"]
    stages = {
        **bare.stages,
        "repeats": Stage(
            "the repeat model", "fitted", _STUDY, ("student",), _DATA, ("protocol", "seed")
        ),
        "bundle": replace(
            bundle, stands_on=("student", "repeats"),
            further=lambda config: {**bundle.further(config), "repeats_kept": True},  # former ones lack them
        ),
    }  # fmt: skip
    arms = {
        **bare.arms,
        "frequency": Arm("frequency", "personal frequency with decay", "baseline"),
        "basket": Arm(
            "basket", "student with repeats", "baseline", compared_with=("frequency", "popularity")
        ),
    }
    order = [name for name in stages if name not in ("repeats", "bundle", "evaluate")]
    return Pipeline(arms, {name: stages[name] for name in (*order, "repeats", "bundle", "evaluate")})


BASKET = _basket()
"""The same where what was had before may be right again."""

_TEXT_ARMS = _by_name(
    Arm("words", "words alone (BM25)", "baseline"),
    Arm("teacher", "fused teacher", "baseline", compared_with=("teacher_text", "teacher_shuffled", "words")),
    Arm("teacher_text", "text-only teacher", "baseline"),
    Arm("teacher_shuffled", "fused teacher, shuffled facts", "baseline"),
    Arm(
        "student", "student", "needed", "student", distilled=True,
        compared_with=("student_nodistill", "teacher", "words"),
    ),
    Arm("student_vectors", "student's vectors, without words", "baseline"),
    Arm("student_nodistill", "student without distillation", "control", "student"),
)  # fmt: skip
_FIT = "kgdistill fit"
_TEXT_BUNDLE = Stage(
    "the bundle", "packed", _FIT, ("student",), (), (), lambda config: {"format": FORMAT}, private=False
)


_FUSION = {"meaning", "coverage", "facts", "candidates"}


def _text_student(arm: Arm) -> Stage:
    below, sections = ("text", "queries", "targets"), ("search", "seed", "device")
    title, inputs = f"the {arm.title}", {"kind": arm.name}
    return Stage(title, "trained", _FIT, below, ("snapshot",), sections, lambda config: inputs)


def _text_stages() -> dict[str, Stage]:
    arms = [arm for arm in _TEXT_ARMS.values() if arm.learner is not None]
    return {
        "graph": _GRAPH,
        "text": replace(_TEXT, command=_FIT, settings=("text", "task")),
        "queries": Stage(
            "the queries", "made", _FIT, ("text",), ("snapshot",), ("task", "seed"),
            lambda config: {"queries": config.search.queries, **_copies(config)},
        ),
        "targets": Stage(
            "the teacher's targets", "made", _FIT, ("text", "queries"), ("snapshot",), ("task",),
            lambda config: {"fusion": config.search.model_dump(include=_FUSION)},
        ),
        **{arm.name: _text_student(arm) for arm in arms},
        "bundle": _TEXT_BUNDLE,
        "evaluate": Stage(
            "the evaluation", "made", "kgdistill evaluate", tuple(arm.name for arm in arms), _DATA,
            ("search", "task", "seed", "protocol"),
        ),
    }  # fmt: skip


TEXT = Pipeline(_TEXT_ARMS, _text_stages())
"""match with anchors by their text; its teacher is terms alone and needs no training."""

_ANSWER_ARMS = _by_name(
    Arm("majority", "the answers given most often", "baseline"),
    Arm("words", "words alone (BM25)", "baseline"),
    Arm("encoder", "the nearest question by the text encoder", "baseline"),
    Arm("teacher", "fused teacher", "baseline", compared_with=("words", "encoder", "majority")),
    Arm(
        "student", "student", "needed", "student", distilled=True,
        compared_with=("student_nodistill", "teacher", "words", "encoder", "majority"),
    ),
    Arm("student_nodistill", "student without distillation", "control", "student"),
)  # fmt: skip

ANSWER = Pipeline(
    _ANSWER_ARMS,
    {
        **TEXT.stages,
        "bundle": replace(_TEXT_BUNDLE, data=("snapshot",), settings=("task", "search", "answer")),
        "evaluate": replace(
            TEXT.stages["evaluate"],
            data=("snapshot",),
            settings=("search", "task", "answer", "seed"),
            further=lambda config: {"majority": True},  # former ones lack it
        ),
    },
)
"""The same where what is ranked for a text are past answers."""

_CLASS_ARMS = _by_name(
    Arm("majority", "the commonest class", "baseline"),
    Arm("linear", "logistic regression", "baseline"),
    Arm(
        "teacher", "fused teacher", "needed", "teacher", ("facts",),
        compared_with=("teacher_nofacts", "teacher_exchanged", "linear", "majority"),
    ),
    Arm("teacher_nofacts", "fused teacher without facts", "control", "teacher"),
    Arm(
        "teacher_exchanged", "teacher with labels exchanged", "control", "teacher", ("facts",),
        exchanged=True,
    ),
    Arm(
        "student", "student", "needed", "student", ("facts",), distilled=True,
        compared_with=("student_nodistill", "teacher", "linear", "majority"),
    ),
    Arm("student_nodistill", "student without distillation", "control", "student", ("facts",)),
)  # fmt: skip


def _learned(arm: Arm, section: str, data: Data, **further: Any) -> Stage:
    """The stage of an arm that learns from texts, and where it is distilled from the teacher."""
    below = ("text", "teacher") if arm.distilled else ("text",)
    sections = (section, "task", "seed", "device")
    title, inputs = f"the {arm.title}", {"kind": arm.name, **further}
    return Stage(title, "trained", _FIT, below, data, sections, lambda config: inputs | _copies(config))


def _copies(config: RunConfig) -> dict[str, Any]:
    """Former models could learn from copies of the texts that judge them."""
    reads = isinstance(config.task, ClassifySpec) and "text" in config.task.subjects.by
    return {"copies": "together"} if reads or config.kind == "answer" else {}


def _tuning(config: RunConfig) -> dict[str, Any]:
    own = {"tuning": config.classify.tuning, "seed": config.seed, "device": config.device}
    return {**own, **_copies(config)} if own["tuning"] else {}


def _class_stages() -> dict[str, Stage]:
    arms = [arm for arm in _CLASS_ARMS.values() if arm.learner is not None]
    # Former ones lack where their classes lie, and students the exact words.
    further = {"teacher": {"centres": True}, "student": {"words": True, "centres": True}}
    return {
        "graph": _GRAPH,
        "text": replace(_TEXT, command=_FIT, settings=("text", "task"), further=_tuning),
        **{
            arm.name: _learned(arm, "classify", ("snapshot",), **further[str(arm.learner)]) for arm in arms
        },
        "bundle": replace(_TEXT_BUNDLE, data=("snapshot",), settings=("task",)),
        "evaluate": Stage(
            "the evaluation", "made", "kgdistill evaluate", tuple(arm.name for arm in arms), _DATA, ("task",),
            lambda config: {"linear": True},  # former ones lack it
        ),
    }  # fmt: skip


CLASSIFY = Pipeline(_CLASS_ARMS, _class_stages())
_NO_FACTS = CLASSIFY.without("teacher_nofacts")

_AUDIENCE_ARMS = _by_name(
    Arm("counts", "logistic regression of four counts", "baseline"),
    Arm(
        "teacher", "fused teacher", "needed", "teacher", graph=True,
        compared_with=("teacher_noz", "teacher_text", "teacher_shuffled", "counts"),
    ),
    Arm("teacher_noz", "fused teacher without z", "control", "teacher"),
    Arm("teacher_text", "teacher without the graph's facts and z", "control", "teacher"),
    Arm("teacher_shuffled", "fused teacher, shuffled facts", "control", "teacher", graph=True, shuffle=True),
    Arm(
        "student", "student", "needed", "student", distilled=True,
        compared_with=("student_nodistill", "teacher", "counts"),
    ),
    Arm("student_nodistill", "student without distillation", "control", "student"),
)  # fmt: skip


def _audience_stages() -> dict[str, Stage]:
    arms = [arm for arm in _AUDIENCE_ARMS.values() if arm.learner is not None]
    return {
        "graph": _GRAPH,
        "text": replace(
            _TEXT, command=_FIT, data=_DATA, settings=("text", "task"),
            further=lambda config: {"dim": config.audience.dim},
        ),
        **{arm.name: _learned(arm, "audience", _DATA) for arm in arms},
        # It holds who bought what.
        "bundle": replace(_TEXT_BUNDLE, data=_DATA, private=True),
        "evaluate": Stage(
            "the evaluation", "made", "kgdistill evaluate", tuple(arm.name for arm in arms), _DATA,
            ("task", "seed"),
        ),
    }  # fmt: skip


AUDIENCE = Pipeline(_AUDIENCE_ARMS, _audience_stages())
"""match with candidates by history, for anchors by what they are about."""

PIPELINES: dict[TaskKind, Pipeline] = {
    "history": HISTORY,
    "basket": BASKET,
    "text": TEXT,
    "answer": ANSWER,
    "classify": CLASSIFY,
    "audience": AUDIENCE,
}


def pipeline_of(config: RunConfig) -> Pipeline:
    """What a run makes; where no facts are declared, there is no control without them."""
    task = config.task
    if isinstance(task, ClassifySpec) and not task.can_lose_facts:
        return _NO_FACTS
    return PIPELINES[config.kind]


# Of the inputs, those that decide where, not what, a model learns.
_PLACE = ("device", "store", "jobs")


def mismatch(stages: Mapping[str, Stage], name: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Why a stage does not fit what is in force, as the end of "the teacher …"; empty where it fits.

    Args:
        stages: of the kind of run.
        name: of the stage.
        then: the inputs that it was made from.
        now: the inputs in force; one that is left out is not asked.
    """
    how = stages[name].how
    if any(then.get(key) != now[key] for key in _DATA if key in now):
        return f"was {how} on another snapshot"
    for key in stages[name].stands_on:
        if key in now and then.get(key) != now[key]:
            return f"was {how} from another making of {stages[key].title}"
    if now.get("tower") != then.get("tower") and "tower" in now:
        return f"was {how} with another making of the text tower that several tasks share"
    for key, value in now.items():
        if key not in (*_DATA, *_PLACE) and then.get(key) != value:
            return f"was {how} with other settings: {_difference(key, then.get(key), value)}"
    return ""


def _difference(key: str, then: Any, now: Any) -> str:
    if isinstance(then, dict) and isinstance(now, dict):
        inner = next(k for k in {**then, **now} if then.get(k) != now.get(k))
        return _difference(f"{key}.{inner}", then.get(inner), now.get(inner))
    return f"{key} was {json.dumps(then)}, now it is {json.dumps(now)}"
