"""Tasks as they are declared: files of YAML that say what is asked of a graph, and how it is judged."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import (
    AfterValidator,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from kgdistill.declared import Part, fault, parse_yaml, read_text, validation_fault
from kgdistill.errors import InputError
from kgdistill.nearest import nearest
from kgdistill.resources import graph_dir
from kgdistill.tasks.alerts import Alerts
from kgdistill.tasks.positives import Positives
from kgdistill.tasks.protocol import SETTINGS, Setting, UtcMoment
from kgdistill.tasks.side import Side, Texts
from kgdistill.tasks.target import Target

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}\Z")

Share: TypeAlias = Annotated[float, Field(gt=0, lt=1)]


def _name(value: str) -> str:
    if value and not _NAME.match(value):
        raise fault(f"{value[:80]!r} should be letters, digits, '_' and '-'")
    return value


Name: TypeAlias = Annotated[str, AfterValidator(_name)]


class _Judging(Part):
    k: int = Field(default=20, ge=1, le=10_000, description="The depth of the ranking that decides.")
    ks: tuple[Annotated[int, Field(ge=1, le=10_000)], ...] = Field(default=(), description="Further depths.")


class TimeSplit(_Judging):
    """Train before `cut`, validation from then, test from `test_start`; moments or shares of the events."""

    split: Literal["time"]
    cut: UtcMoment | None = Field(
        default=None, description="UTC; after `cut_share` of the events where left out."
    )
    test_start: UtcMoment | None = Field(default=None, description="UTC; after `test_share` where left out.")
    test_end: UtcMoment | None = Field(default=None, description="UTC; with the data where left out.")
    cut_share: Share = Field(default=0.8, description="About this share of the events comes before the cut.")
    test_share: Share = Field(default=0.9, description="About this share comes before the test's start.")
    min_user_events: int = Field(
        default=1,
        ge=0,
        le=1_000_000,
        description="Anchors with fewer train interactions are left out; 0: nobody is.",
    )
    min_item_users: int = Field(
        default=1,
        ge=1,
        le=1_000_000,
        description="A candidate with at least so many anchors is warm, others cold.",
    )
    refit: bool = Field(
        default=False, description="Whether models that the test judges learned from train and validation."
    )
    settings: tuple[Setting, ...] = Field(
        default=("all", "cold", "cold_in_all"),
        min_length=1,
        description=f"What is ranked: {', '.join(SETTINGS)}.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> TimeSplit:
        moments = [(n, getattr(self, n)) for n in ("cut", "test_start", "test_end")]
        known = [(name, moment) for name, moment in moments if moment is not None]
        for (before, first), (after, second) in itertools.pairwise(known):
            if not first < second:
                raise fault(f"{second} does not come after {before} {first}", after)
        if not self.cut_share < self.test_share:
            raise fault(f"{self.test_share} is not above cut_share {self.cut_share}", "test_share")
        if len(set(self.settings)) < len(self.settings):
            raise fault("names one of them twice", "settings")
        return self


class GivenSplit(_Judging):
    """A property says which part each belongs to."""

    split: Literal["given"]
    property: str = Field(description="Holds the part's name.")
    of: Literal["node", "relationship"] = Field(
        default="node", description="Whose property: the anchor's or subject's, or that of the positives."
    )
    train: Texts = Field(default=("train",), description="Values that mean training.")
    validation: Texts = Field(
        default=("validation", "valid", "dev"),
        description="Values that mean validation; where none is there, `validation_share` is taken of train.",
    )
    test: Texts = Field(
        default=("test",), description="Values that mean test; any other value takes no part."
    )
    validation_share: Share = Field(default=0.1, description="Of train, where no value means validation.")
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="Of that share.")
    otherwise: Literal["held_out"] | None = Field(
        default=None,
        alias="else",
        description="Held out by a hash of the key, where nothing has the property.",
    )

    @model_validator(mode="after")
    def _disjoint(self) -> GivenSplit:
        if self.otherwise is not None:
            self.held_out()
        values = [*self.train, *self.validation, *self.test]
        if len(set(values)) < len(values):
            raise fault("one value cannot mean two parts")
        return self

    def held_out(self) -> HeldOut:
        """The split that takes its place."""
        return HeldOut(split="held_out", validation_share=self.validation_share, seed=self.seed)


class HeldOut(_Judging):
    """Anchors or subjects are held out whole, by a hash of the key: new ones move none of the others."""

    split: Literal["held_out"]
    share: Share = Field(default=0.2, description="Held out for the test.")
    validation_share: Share = Field(default=0.1, description="Held out for validation.")
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="Another seed, other ones.")

    @model_validator(mode="after")
    def _leave_some(self) -> HeldOut:
        if self.share + self.validation_share >= 1:
            raise fault("share and validation_share leave nothing to train on")
        return self


class JudgedSplit(_Judging):
    """The judgements are the test; nothing of them is trained or chosen on."""

    split: Literal["judged"]


class AnchorsByTime(_Judging):
    """Anchors in the order of their starts: the last are the test, those before them the validation."""

    split: Literal["anchors"]
    test: float = Field(default=0.2, gt=0, description="How many, or a share below 1.")
    validation: float = Field(default=0.2, gt=0, description="How many, or a share below 1.")
    end: str | None = Field(
        default=None, description="A time of the anchors after which no positive is theirs."
    )

    @model_validator(mode="after")
    def _whole_or_share(self) -> AnchorsByTime:
        for name in ("test", "validation"):
            value = getattr(self, name)
            if value >= 1 and value != int(value):
                raise fault(f"{value} should be a whole number, or a share below 1", name)
        return self


MatchProtocol: TypeAlias = Annotated[
    TimeSplit | GivenSplit | HeldOut | JudgedSplit | AnchorsByTime, Field(discriminator="split")
]
ClassifyProtocol: TypeAlias = Annotated[GivenSplit | HeldOut, Field(discriminator="split")]


class _Task(Part):
    name: Name = Field(default="", description="The file's own name where it is left out.")
    title: str = Field(
        default="", max_length=200, description="Heads reports; the name where it is left out."
    )
    description: str = ""
    output: str | None = Field(default=None, description="The relationship that answers are written back as.")

    @property
    def heading(self) -> str:
        """What stands above results."""
        return self.title or self.name

    def declared(self) -> dict[str, Any]:
        """The task as JSON can hold it, without what is left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class MatchSpec(_Task):
    """Rank candidates for an anchor."""

    kind: Literal["match"]
    anchors: Side = Field(description="Who or what asks.")
    candidates: Side = Field(description="What is ranked.")
    positives: Positives = Field(description="What was right.")
    judged_by: str | None = Field(
        default=None, description="A relationship with grades that judges, in place of later positives."
    )
    repeats: bool = Field(default=False, description="Whether what an anchor had may be right again.")
    reached_by: str | None = Field(
        default=None,
        description="An event between candidates and anchors: an anchor has those candidates alone that it "
        "reached; left out, or for one that reached nobody, all.",
    )
    protocol: MatchProtocol = Field(
        default_factory=lambda: TimeSplit(split="time"), description="How it is split and judged."
    )

    @model_validator(mode="before")
    @classmethod
    def _judgements_judge(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and raw.get("judged_by") is not None and raw.get("protocol") is None:
            return {**raw, "protocol": {"split": "judged"}}
        return raw

    @model_validator(mode="after")
    def _whole(self) -> MatchSpec:
        split = self.protocol.split
        if (self.judged_by is not None) != (split == "judged"):
            raise fault(
                "judged_by and a protocol with split: judged go together", "protocol", "write both or neither"
            )
        if split == "time" and self.positives.event is None:
            raise fault("a split by time needs positives with an event", "protocol")
        if self.repeats and split != "time":
            raise fault("goes with a split by time", "repeats")
        if self.finds_audience != (split == "anchors"):
            raise fault(
                "anchors without and candidates by history go with split: anchors, and no others do",
                "protocol",
            )
        if self.finds_audience and (self.positives.event is None or not self.positives.reverse):
            raise fault("should name an event, and reverse: true", "positives")
        if self.finds_audience and self.candidates.history is None:
            raise fault("should name the event that is their history", "candidates")
        for name, value in (("through", self.positives.through), ("reached_by", self.reached_by)):
            if value is not None and not self.finds_audience:
                raise fault("goes with candidates by history", name)
        for name, side in (("anchors", self.anchors), ("candidates", self.candidates)):
            if len(side.events) > 1:
                raise fault(
                    "names several events",
                    f"{name}.history",
                    "of what is ranked beside others see positives.weights",
                )
        if self.positives.type is None and "text" not in self.anchors.by:
            raise fault("made-up anchors are text; `by` should name text", "anchors")
        if self.positives.weights and ("history" not in self.anchors.by or self.repeats):
            raise fault("goes with anchors by history, and without repeats", "positives.weights")
        if self.positives.above and ("history" not in self.anchors.by or self.repeats):
            raise fault("goes with anchors by history, and without repeats", "positives.above")
        return self

    @property
    def finds_audience(self) -> bool:
        """Whether candidates that are known by history alone are ranked for anchors that have none."""
        return self.candidates.by == ("history",) and "history" not in self.anchors.by

    @property
    def interaction(self) -> tuple[str, str, str] | None:
        """The positives' relationship as it lies in the graph: source, type, target.

        None where all are made up, or where a fact leads on from what it leads to.
        """
        if self.positives.type is None or self.positives.through is not None:
            return None
        ends = (self.anchors.label, self.candidates.label)
        source, target = reversed(ends) if self.positives.reverse else ends
        return source, self.positives.type, target

    @property
    def weighed(self) -> list[tuple[str, str, str]]:
        """The further events that a history holds, as they lie in the graph."""
        own = self.interaction
        return [] if own is None else [(own[0], name, own[2]) for name in self.positives.weights]


class ClassifySpec(_Task):
    """Tell a subject's classes."""

    kind: Literal["classify"]
    subjects: Side = Field(description="What is classified.")
    targets: dict[str, Target] = Field(min_length=1, description="What is told of them, by name.")
    protocol: ClassifyProtocol = Field(
        default_factory=lambda: HeldOut(split="held_out"), description="How it is split and judged."
    )
    alerts: Alerts | None = Field(default=None, description="Which surges `kgdistill watch` tells.")

    @field_validator("targets")
    @classmethod
    def _plain_names(cls, value: dict[str, Target]) -> dict[str, Target]:
        for name in value:
            if not _NAME.match(name):
                raise fault("a target's name should be letters, digits, '_' and '-'", name)
        return value

    @property
    def can_lose_facts(self) -> bool:
        """Whether facts are read, of subjects or of classes, and something else that is left without them."""
        by = set(self.subjects.by)
        if "facts" in by:
            return len(by) > 1
        return "text" in by and any("facts" in target.by for target in self.targets.values())

    @model_validator(mode="after")
    def _alerts_name_targets(self) -> ClassifySpec:
        for key in ("target", "topic"):
            name = getattr(self.alerts, key, None)
            if name is not None and name not in self.targets:
                near = nearest(name, self.targets)
                hint = f"{near}there is: {', '.join(self.targets)}"
                raise fault(f"there is no target {name!r}", f"alerts.{key}", hint)
        return self


TaskSpec: TypeAlias = MatchSpec | ClassifySpec
_KINDS: dict[str, type[MatchSpec] | type[ClassifySpec]] = {
    get_args(model.model_fields["kind"].annotation)[0]: model for model in (MatchSpec, ClassifySpec)
}


def task_folder() -> Path:
    """Where the project's own tasks lie."""
    return graph_dir() / "tasks"


def task_names() -> list[str]:
    """The project's own tasks, by name."""
    return sorted(file.stem for file in task_folder().glob("*.yaml"))


def task_file(name_or_path: str | Path) -> Path:
    """The file of a task: the project's own for a name, else the file that is named.

    Raises:
        InputError: a name that no task has; the message names the nearest.
    """
    file = Path(name_or_path)
    if not isinstance(name_or_path, str) or not _NAME.match(name_or_path) or file.is_file():
        return file
    own = task_folder() / f"{name_or_path}.yaml"
    if not own.is_file():
        known = task_names()
        raise InputError(
            f"there is no task {name_or_path!r}",
            hint=f"{nearest(name_or_path, known)}known: {', '.join(known)}; or name a file",
        )
    return own


def load_task(name_or_path: str | Path) -> TaskSpec:
    """Reads a task: one of the project's own by its name, any other by its file.

    Raises:
        InputError: there is no such task (the message names the nearest), or as `parse_task`.
    """
    file = task_file(name_or_path)
    return parse_task(read_text(file), name=file.stem, where=str(file))


def parse_task(text: str | dict[str, Any], *, name: str = "", where: str = "task") -> TaskSpec:
    """A task from YAML text, or from what such text holds.

    Args:
        text: the declaration.
        name: what the task is called where the declaration does not say.
        where: stands for the file in messages.

    Raises:
        InputError: it is not YAML, or has an unknown key or a bad value; the message names the line, the
            key path and the nearest valid key.
    """
    written = text if isinstance(text, str) else None
    raw: Any = parse_yaml(text, where=where) if isinstance(text, str) else text
    if not isinstance(raw, dict):
        says = "is empty" if raw is None else "should be a mapping of keys"
        raise InputError(says, where=where, hint="kgdistill task show recommend prints an example")
    kind = raw.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        shown = "is missing" if kind is None else f"is {str(kind)[:80]!r}, but should be match or classify"
        meant = [f"did you mean 'kind' by {key!r}? " for key in map(str, raw) if nearest(key, ["kind"])]
        near = "".join(meant[:1]) if kind is None else nearest(str(kind), _KINDS)
        hint = f"{near}match: rank candidates for an anchor; classify: tell a subject's classes"
        raise InputError(shown, where=f"{where}: kind", hint=hint)
    try:
        spec = _KINDS[kind].model_validate(raw)
    except ValidationError as error:
        raise validation_fault(error, where, written) from error
    return spec if spec.name else spec.model_copy(update={"name": name})


def task_json_schema() -> str:
    """The JSON Schema of task files, for editors; it is shipped as `task.schema.json`."""
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[MatchSpec | ClassifySpec, Field(discriminator="kind")])
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **adapter.json_schema(by_alias=True),
        "title": "kgdistill task",
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
