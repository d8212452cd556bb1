"""What a task that classifies tells of a subject, as it is declared."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from kgdistill.declared import Part, fault, listed

Written: TypeAlias = Annotated[tuple[Literal["text", "facts"], ...], BeforeValidator(listed)]


class Target(Part):
    """What is told of a subject: the value of a property, or what a relationship leads to."""

    property: str | None = Field(default=None, description="Of the subject; each value is a class.")
    relationship: str | None = Field(
        default=None, description="From the subject; each node it leads to is a class."
    )
    several: bool = Field(default=False, description="Whether a subject may have several classes at once.")
    none_of_them: str | None = Field(
        default=None, description="The class of subjects that belong to none of the others (out of scope)."
    )
    by: Written = Field(
        default=("text",),
        description="What teaches a class beside its subjects, where these are known by text alone: text, "
        "its own words (a property's value; a node's name and text); facts, its name with the names of what "
        "its node's facts lead to; [] neither.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Target:
        if (self.property is None) == (self.relationship is None):
            raise fault("should name exactly one of property, relationship")
        if self.several and self.property is not None:
            raise fault("goes with `relationship`: a property has one value", "several")
        if self.property is not None and "facts" in self.by:
            raise fault("a property's values have no facts", "by", "name a relationship, or leave facts out")
        if self.several and self.none_of_them is not None:
            raise fault("goes with one class a subject; without a class is none of several", "none_of_them")
        return self
