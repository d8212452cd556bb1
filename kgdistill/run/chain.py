"""What each stage of a run stands on, and how a stage that no longer fits is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

TeacherKind = Literal["teacher", "teacher_text", "teacher_words", "teacher_shuffled"]
StudentKind = Literal["student", "student_nodistill"]
TEACHERS: tuple[TeacherKind, ...] = ("teacher", "teacher_text", "teacher_shuffled")
CONTROLS: tuple[TeacherKind, ...] = ("teacher_words",)
"""Further teachers that only a benchmark asks for."""
STUDENTS: tuple[StudentKind, ...] = ("student", "student_nodistill")
JUDGED: tuple[TeacherKind | StudentKind, ...] = (*TEACHERS, *CONTROLS, *STUDENTS)
NEEDED: tuple[TeacherKind | StudentKind, ...] = ("teacher", "student")
"""What an evaluation cannot do without; the others are compared where they are there."""

_TEACH, _STUDY = "kgdistill train teacher", "kgdistill train student"


@dataclass(frozen=True)
class StageKind:
    """One stage of a run.

    Attributes:
        title: what a reader calls it.
        how: how it came to be, in a message.
        command: what makes it.
        stands_on: the stages whose making is among its inputs.
    """

    title: str
    how: str
    command: str
    stands_on: tuple[str, ...] = ()


STAGES: dict[str, StageKind] = {
    "graph": StageKind("the snapshot", "taken", "kgdistill snapshot"),
    "text": StageKind("the texts' vectors", "made", _TEACH, ("graph",)),
    "choice": StageKind("the linear expert's settings", "chosen", _TEACH, ("text",)),
    "teacher": StageKind("the teacher", "trained", _TEACH, ("text",)),
    "teacher_text": StageKind("the text-only teacher", "trained", _TEACH, ("text",)),
    "teacher_shuffled": StageKind("the teacher on shuffled facts", "trained", _TEACH, ("text",)),
    "teacher_words": StageKind("the teacher with exact fields", "trained", _TEACH, ("text",)),
    "targets": StageKind("the teacher's targets", "made", _TEACH, ("teacher",)),
    "student": StageKind("the student", "trained", _STUDY, ("targets", "text")),
    "student_nodistill": StageKind("the student without distillation", "trained", _STUDY, ("text",)),
    "bundle": StageKind("the bundle", "packed", _STUDY, ("student",)),
    "evaluate": StageKind("the evaluation", "made", "kgdistill evaluate", JUDGED),
}
# Of the inputs, those that name the data; and those that decide where, not what, a model learns.
_DATA = ("snapshot", "holdout")
_PLACE = ("device", "store", "jobs")


def mismatch(name: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Why a stage does not fit what is in force, as the end of "the teacher …"; empty where it fits.

    Args:
        name: of the stage.
        then: the inputs that it was made from.
        now: the inputs in force; one that is left out is not asked.
    """
    how = STAGES[name].how
    if any(then.get(key) != now[key] for key in _DATA if key in now):
        return f"was {how} on another snapshot"
    for key in STAGES[name].stands_on:
        if key in now and then.get(key) != now[key]:
            return f"was {how} from another making of {STAGES[key].title}"
    for key, value in now.items():
        if key not in (*_DATA, *_PLACE) and then.get(key) != value:
            return f"was {how} with other settings: {_difference(key, then.get(key), value)}"
    return ""


def _difference(key: str, then: Any, now: Any) -> str:
    if isinstance(then, dict) and isinstance(now, dict):
        inner = next(k for k in {**then, **now} if then.get(k) != now.get(k))
        return _difference(f"{key}.{inner}", then.get(inner), now.get(inner))
    return f"{key} was {json.dumps(then)}, now it is {json.dumps(now)}"
