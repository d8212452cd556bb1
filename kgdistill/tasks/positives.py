"""What was right, as a task declares it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field, field_validator, model_validator

from kgdistill.declared import Part, fault
from kgdistill.nearest import nearest

LEARNED: Final = "learned"
"""In the place of a number, what one event of a kind weighs is chosen by the shop's own events."""


def _number(value: Any) -> Any:
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not known and value != "middle":
        raise fault(f"is {value!r:.40}, but should be a number or middle")
    return value


def _weight(value: Any) -> Any:
    known = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1
    if not known and value != LEARNED:
        hint = nearest(str(value), [LEARNED])
        raise fault(f"is {value!r:.40}, but should be a number above 0 and at most 1, or learned", hint=hint)
    return value


Weight: TypeAlias = Annotated[
    Annotated[float, Field(gt=0, le=1)] | Literal["learned"], BeforeValidator(_weight)
]
"""What one event of a further kind weighs beside the task's own, or that this is learned."""


class Positives(Part):
    """What was right: an event, a fact, or pairs made up from the catalogue."""

    event: str | None = Field(
        default=None, description="A relationship with a time, from anchors to candidates."
    )
    weights: dict[str, Weight] = Field(
        default_factory=dict,
        description="Other events between the same labels that are part of a history, and what one weighs "
        "beside the task's own, above 0 and at most 1, or learned: told by the events before the cut. Where "
        "they lead to is learned either way, and none is right.",
    )
    above: dict[str, Annotated[float | Literal["middle"], BeforeValidator(_number)]] = Field(
        default_factory=dict,
        description="By event and property, the number above which one counts: RATED.rating: 3, or middle, "
        "halfway between the lowest and the highest before the cut. Others are no positives, and no history.",
    )
    relationship: str | None = Field(
        default=None, description="A relationship without a time, in place of an event."
    )
    synthetic: Literal["catalogue"] | None = Field(
        default=None, description="Anchors made up from the candidates' own texts, where nothing was logged."
    )
    otherwise: Literal["synthetic"] | None = Field(
        default=None, alias="else", description="Made-up anchors where the graph holds none of the event."
    )
    reverse: bool = Field(default=False, description="The relationship leads from candidates to anchors.")
    through: str | None = Field(
        default=None,
        description="A fact that leads on to the anchor from what the event leads to: a coupon's campaign.",
    )

    @field_validator("weights", mode="before")
    @classmethod
    def _by_event(cls, raw: Any) -> Any:
        if raw == LEARNED:
            raise fault("should name the events, each with what it weighs", hint="{VIEWED: learned}")
        return raw

    @model_validator(mode="after")
    def _one_source(self) -> Positives:
        sources = [name for name in ("event", "relationship", "synthetic") if getattr(self, name) is not None]
        if len(sources) != 1:
            raise fault("should name exactly one of event, relationship, synthetic")
        if self.weights and self.event is None:
            raise fault("goes with `event`", "weights")
        if self.event in self.weights:
            raise fault(f"names the event itself, {self.event!r}, which weighs 1", "weights")
        for key in self.above:
            event, *rest = key.split(".")
            if len(rest) != 1 or not rest[0]:
                raise fault("should name an event and its property, such as RATED.rating", f"above.{key}")
            if self.event is None or event not in {self.event, *self.weights}:
                known = [] if self.event is None else [self.event, *self.weights]
                hint = nearest(event, known)
                raise fault(f"{event} is neither the event nor among the weights", f"above.{key}", hint)
        if self.through is not None and (self.event is None or not self.reverse):
            raise fault("goes with an `event` and `reverse: true`", "through")
        if self.synthetic is not None and (self.otherwise is not None or self.reverse):
            raise fault("goes with `event` or `relationship`", "else" if self.otherwise else "reverse")
        return self

    @property
    def type(self) -> str | None:
        """The relationship type, whether it has a time or not; None where all are made up."""
        return self.event or self.relationship


def with_numbers(task: dict[str, Any], **numbers: Mapping[str, float]) -> dict[str, Any]:
    """A declared task with numbers in place of words: above which events count, and what they weigh."""
    told = {name: dict(of) for name, of in numbers.items() if of}
    return {**task, "positives": {**task["positives"], **told}} if told else task
