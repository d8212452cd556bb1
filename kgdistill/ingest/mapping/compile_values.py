"""Checks the values of a mapping against what they are to become."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pyarrow as pa

from kgdistill.errors import InputError
from kgdistill.ingest.cast import ColumnTypeError, words
from kgdistill.ingest.mapping.cast import cast_times, cast_values
from kgdistill.ingest.mapping.model import Condition, Value, scalar_text
from kgdistill.ingest.mapping.plan import Cell, Plan, Shape
from kgdistill.moment import zone_named
from kgdistill.store.schema import PropertyType

_TEXT_OPTIONS = {"split", "replace", "case", "fold", "values", "hash", "format", "unit", "zone", "decimal"}
_EARLIEST = datetime(1900, 1, 1)


class ValueCompiler:
    """The values of one source.

    Attributes:
        columns: those used so far, in order.
        hashes: whether any value is hashed.
    """

    def __init__(self, time_zone: str, salt: bytes | None, now: datetime) -> None:
        self.zone, self.salt, self.now = time_zone, salt, now
        self.columns: dict[str, None] = {}
        self.hashes = False
        self._plans: dict[str, Plan] = {}

    def conditions(self, conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
        """The conditions, whose columns are read from now on."""
        self.columns |= dict.fromkeys(condition.column for condition in conditions)
        return conditions

    def cell(
        self,
        name: str,
        value: Value,
        kind: PropertyType,
        path: str,
        *,
        required: bool,
        shape: Shape = "one",
        is_key: bool = False,
        planned: bool = False,
    ) -> Cell:
        """How one property is made, or InputError at `path`; a planned time may lie ahead."""
        if value.required is False and required and shape == "one":
            raise InputError("cannot be false: this value must be there", where=f"{path}.required")
        if value.required is not None:
            # A key or end without a value may make nothing instead of a fault.
            required = value.required
        return Cell(name, self._plan(value, kind, path, shape, is_key, planned), required)

    def _plan(
        self,
        value: Value,
        kind: PropertyType,
        path: str,
        shape: Shape,
        is_key: bool = False,
        planned: bool = False,
    ) -> Plan:
        self.columns |= dict.fromkeys(value.own_columns())
        told = value.model_dump(mode="json", exclude_defaults=True)
        identity = json.dumps([told, kind, shape, is_key, planned])
        if identity in self._plans:
            return self._plans[identity]
        self._check_options(value, kind, path)
        zone = value.zone or self.zone
        if value.zone is not None:
            _check_zone(value.zone, f"{path}.zone")
        options = {name for name in _TEXT_OPTIONS if getattr(value, name) not in (None, False)}
        # Numbers with a unit and times of another zone are read as they are.
        as_text = bool(options - {"unit", "zone"})
        inner: PropertyType = "string" if options else kind
        parts = self._parts(value, inner, path, shape, is_key, planned)
        constant = default = outcomes = None
        if value.constant is not None:
            constant = self._literals([value.constant], value, inner, zone, f"{path}.constant")
        if value.default is not None:
            default = self._literals([value.default], value, kind, zone, f"{path}.default", plain=True)
        if value.values is not None:
            outcomes = self._literals(
                [*value.values.values()], value, kind, zone, f"{path}.values", plain=True
            )
        if value.hash:
            self.hashes = True
            if not self.salt:
                raise InputError(
                    "needs a salt", where=f"{path}.hash", hint="set KGDISTILL_SALT or give --salt-file"
                )
        low, high = self._bounds(value, kind, zone, path, planned)
        plan = Plan(
            slot=len(self._plans),
            value=value,
            kind=kind,
            shape=shape,
            zone=zone,
            columns=", ".join(dict.fromkeys(value.own_columns())),
            as_text=as_text or kind == "string",
            is_key=is_key,
            parts=parts,
            constant=constant,
            default=default,
            outcomes=outcomes,
            low=low,
            high=high,
        )
        self._plans[identity] = plan
        return plan

    def _parts(
        self, value: Value, kind: PropertyType, path: str, shape: Shape, is_key: bool, planned: bool
    ) -> tuple[Plan, ...]:
        """The values that a value is made of."""
        if value.multiply is not None:
            return tuple(
                self._plan(part, "double", f"{path}.multiply[{i}]", "one")
                for i, part in enumerate(value.multiply)
            )
        if value.coalesce is not None:
            return tuple(
                self._plan(part, kind, f"{path}.coalesce[{i}]", shape, is_key, planned)
                for i, part in enumerate(value.coalesce)
            )
        if value.value is not None:
            return (self._plan(value.value, kind, f"{path}.value", shape, is_key, planned),)
        return ()

    def _check_options(self, value: Value, kind: PropertyType, path: str) -> None:
        number = kind in ("int64", "double")
        fits = {
            "format": kind == "timestamp",
            "unit": kind == "timestamp",
            "zone": kind == "timestamp",
            "decimal": number,
            "hash": kind == "string",
            "min": number or kind == "timestamp",
            "max": number or kind == "timestamp",
            "multiply": number,
        }
        words_of = {"decimal": "a number", "multiply": "a number", "hash": "text", "min": "a number or time"}
        words_of["max"] = words_of["min"]
        for name, right in fits.items():
            told = getattr(value, name)
            if told is None or told is False or right:
                continue
            raise InputError(
                f"does not fit: this value is {words(kind)}",
                where=f"{path}.{name}",
                hint=f"{name} is for {words_of.get(name, 'a time')}",
            )
        if value.unit is not None and value.format is not None:
            raise InputError("stands beside format: a time is a number or a text", where=f"{path}.unit")
        if value.hash and value.values is not None:
            raise InputError("stands beside values", where=f"{path}.hash", hint="nest one of them in `value`")
        for name in value.format or ():
            if name != "iso" and not _reads_times(name):
                raise InputError(
                    f"{name!r} is not a format of times with a year",
                    where=f"{path}.format",
                    hint="such as %d.%m.%Y %H:%M:%S",
                )

    def _literals(
        self,
        scalars: list[Any],
        value: Value,
        kind: PropertyType,
        zone: str,
        path: str,
        *,
        plain: bool = False,
    ) -> pa.Array:
        """Scalars of the file as values of the type; a constant may be in the value's own format."""
        texts = pa.array([scalar_text(scalar) for scalar in scalars], pa.string())
        if kind == "float_list":
            raise InputError("cannot stand here: this value is a list of numbers", where=path)
        try:
            if kind == "timestamp":
                own = not plain and value.format is not None
                result, bad = cast_times(texts, (value.format or ()) if own else (), None, zone)
            else:
                result, bad = cast_values(texts, kind)
        except ColumnTypeError as error:
            raise InputError(str(error), where=path) from error
        if bad.any():
            wrong = scalars[int(bad.argmax())]
            raise InputError(f"{wrong!r} is not {words(kind)}", where=path)
        return result

    def _bounds(
        self, value: Value, kind: PropertyType, zone: str, path: str, planned: bool
    ) -> tuple[tuple[pa.Array, str] | None, tuple[pa.Array, str] | None]:
        if kind not in ("int64", "double", "timestamp"):
            return None, None
        low = high = None
        if kind == "timestamp":
            tomorrow = self.now + timedelta(days=1)
            low = (pa.array([_EARLIEST], pa.timestamp("us")), "lies before 1900-01-01")
            high = None if planned else (pa.array([tomorrow], pa.timestamp("us")), "lies in the future")
        before, after = ("lies before", "lies after") if kind == "timestamp" else ("is below", "is above")
        if value.min is not None:
            low = (
                self._literals([value.min], value, kind, zone, f"{path}.min", plain=True),
                f"{before} {scalar_text(value.min)}",
            )
        if value.max is not None:
            high = (
                self._literals([value.max], value, kind, zone, f"{path}.max", plain=True),
                f"{after} {scalar_text(value.max)}",
            )
        if low is not None and high is not None and low[0][0].as_py() > high[0][0].as_py():
            raise InputError("is above max", where=f"{path}.min")
        return low, high


def _check_zone(name: str, path: str) -> None:
    try:
        zone_named(name)
    except ValueError as error:
        raise InputError(
            f"{name!r} is not a time zone", where=path, hint="such as UTC or Europe/Berlin"
        ) from error


def _reads_times(name: str) -> bool:
    """Whether a time written in the format is read again, at least its year."""
    time = datetime(2017, 4, 21, 13, 5, tzinfo=timezone.utc)
    times, bad = cast_times(pa.array([time.strftime(name)]), (name,), None, "UTC")
    return not bad[0] and times[0].as_py() is not None and times[0].as_py().year == time.year
