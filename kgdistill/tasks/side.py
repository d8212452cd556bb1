"""One side of a task: nodes of a label, and what a model may know them by."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from kgdistill.declared import Part, fault, listed
from kgdistill.store.schema import Schema, load_schema

By: TypeAlias = Literal["history", "text", "facts"]
"""What a model may know a node by: what it did, the words on it, what it is tied to."""


def _one_alone(value: Any) -> Any:
    return value[0] if isinstance(value, list | tuple) and len(value) == 1 else value


Sides: TypeAlias = Annotated[tuple[By, ...], BeforeValidator(listed), Field(min_length=1)]
Texts: TypeAlias = Annotated[
    tuple[str, ...],
    BeforeValidator(listed),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
Events: TypeAlias = Annotated[
    str | tuple[str, ...],
    BeforeValidator(_one_alone),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
"""One event, or several: one of a list is that alone."""


class Side(Part):
    """Nodes of one label, and what a model may know them by."""

    label: str = Field(min_length=1, description="Of the nodes.")
    by: Sides = Field(description="What a model knows them by: history, text, facts; one or several.")
    history: Events | None = Field(
        default=None,
        description="The event that is their history, of subjects also several; the task's own positives "
        "where it is left out.",
    )

    @field_validator("by", "history")
    @classmethod
    def _once(cls, value: Any) -> Any:
        if isinstance(value, tuple) and not len(set(value)) == len(value) > 0:
            raise fault("names one of them twice" if value else "names no event")
        return value

    @model_validator(mode="after")
    def _history_is_read(self) -> Side:
        if self.history is not None and "history" not in self.by:
            raise fault(f"{self.history!r} is read only where `by` names history", "history")
        return self

    @property
    def events(self) -> tuple[str, ...]:
        """What `history` names."""
        return listed(self.history) if self.history is not None else ()


def events_there(side: Side, schema: Schema) -> tuple[str, ...]:
    """What `history` names, without what the project's own schema has and `schema` lacks; else all of it.

    A store of an earlier version lacks what was added since: nobody did it.
    """
    later = load_schema().relationships.keys() - schema.relationships.keys()
    return tuple(event for event in side.events if event not in later) or side.events
