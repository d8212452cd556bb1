"""When statements of a kind are to wake somebody: declared with the task that tells their classes."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema

from kgdistill.declared import Part, fault, validation_fault
from kgdistill.errors import InputError

_UNITS = {"m": 1, "min": 1, "h": 60, "d": 1440, "w": 10_080}
_DURATION = re.compile(r"(\d{1,6}) ?(m|min|h|d|w)\Z")
LONGEST = 28 * 1440


def minutes(value: Any) -> int:
    """A duration such as 30min, 1h, 1d or 2w in minutes; a whole number is minutes already.

    Raises:
        PydanticCustomError: it is none; within a declared file this becomes its one message.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        found = value
    else:
        match = _DURATION.match(str(value).strip())
        if match is None:
            raise fault(f"{str(value)[:40]!r} is no duration", hint="write 30min, 1h, 1d or 2w")
        found = int(match[1]) * _UNITS[match[2]]
    return found


def _window(value: Any) -> int:
    found = minutes(value)
    # Windows begin at midnight UTC, or at several of them.
    if found < 1 or found > LONGEST or (1440 % found and found % 1440):
        raise fault(f"{value} divides no day, and is no number of days", hint="write 15min, 1h, 6h, 1d or 7d")
    return found


def _duration(least: int) -> Any:
    def read(value: Any) -> int:
        found = minutes(value)
        if not least <= found <= 1000 * 1440:
            raise fault(f"{value} is too short or too long", hint="write 1h, 1d, 28d")
        return found

    return read


_TEXT = WithJsonSchema({"type": ["string", "integer"]})
Window = Annotated[int, BeforeValidator(_window), _TEXT]
Memory = Annotated[int, BeforeValidator(_duration(60)), _TEXT]
Wait = Annotated[int, BeforeValidator(_duration(0)), _TEXT]


class Alerts(Part):
    """Surges of statements of one class within a topic."""

    target: str = Field(description="The target whose class is counted.")
    bad: str = Field(description="That class.")
    also: tuple[str, ...] = Field(
        default=(), description="Further classes that count as it, such as its names in other languages."
    )
    topic: str | None = Field(
        default=None,
        description="The target that groups statements; left out, those that name no topic are one.",
    )
    window: Window = Field(default=60, description="How long statements are counted together: 15min, 1h, 1d.")
    memory: Memory = Field(
        default=28 * 1440, description="After so long a statement weighs half in what is usual."
    )
    wait: Wait = Field(default=0, description="A window closes so long after its end, for late statements.")
    false_alarms: float = Field(
        default=1.0, gt=0, le=1000, description="Allowed a month, over all topics together."
    )
    min_count: int = Field(default=3, ge=1, le=1_000_000, description="Fewest bad statements of a surge.")
    least: float = Field(
        default=1.5, ge=1, le=1000, description="How many times the usual odds of the bad class a surge has."
    )

    @property
    def every(self) -> tuple[str, ...]:
        """The classes that are counted, each once."""
        return tuple(dict.fromkeys((self.bad, *self.also)))

    @property
    def said(self) -> str:
        """What is counted, in words."""
        return " or ".join(self.every)

    def changed(self, values: dict[str, Any]) -> Alerts:
        """The same with some keys set anew, as a command line gives them.

        Raises:
            InputError: a value that its key cannot have; names the option.
        """
        try:
            return Alerts.model_validate({**self.model_dump(), **values})
        except ValidationError as error:
            found = validation_fault(error, "")
            name = found.where.removeprefix(": ").replace("_", "-")
            raise InputError(found.message, where=f"--{name}", hint=found.hint) from error
