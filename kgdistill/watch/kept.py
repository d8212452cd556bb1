"""What a state file holds: types alone, so that a damaged one is told from one to go on with."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from kgdistill.watch.statements import Statement
from kgdistill.watch.watcher import Alert, Counts


class _Watcher(BaseModel):
    alerts: dict[str, Any]
    zone: str = "UTC"
    latest: int | None
    held: list[Statement]
    open: dict[str, tuple[dict[str, tuple[int, int]], list[str]]]
    window: int | None
    topics: list[str]
    detector: dict[str, list[float] | list[list[float]] | list[list[list[float]]]]
    counts: Counts
    sentiments: dict[str, int]
    curves: dict[str, list[tuple[float, float, float, float]]]
    told: list[Alert]


class _State(BaseModel):
    model_config = ConfigDict(strict=True)

    files: dict[str, tuple[int, str]]
    written: dict[str, int]
    watcher: _Watcher


def check_kept(text: str) -> None:
    """Checks the JSON of a state.

    Raises:
        ValueError: something in it is of another type; says where.
    """
    try:
        _State.model_validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"{'.'.join(str(key) for key in first['loc'])}: {first['msg']}") from None
