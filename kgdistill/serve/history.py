"""The part of a bundle that answers for a history: the student's scorer over vectors, groups and weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, compress, product
from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.listed import parts_of
from kgdistill.serve.parts import (
    Arrays,
    HeldPart,
    all_of,
    check_arrays,
    check_settings,
    check_table,
    number,
    refuse,
    whole,
)
from kgdistill.serve.scores import HistoryScorer

POOLS = ("all", "warm", "cold")
_SIDES = ("left", "right")


@dataclass(frozen=True)
class Family:
    """Groups that items share by what their fields say.

    Attributes:
        fields: columns of the items; two make pairs of values.
        above: the path in the field without its last level, not the whole.
        split: those of the fields of which each part of a list is a value.
    """

    fields: tuple[str, ...]
    above: bool = False
    split: tuple[str, ...] = ()

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Family:
        """As settings have it; those of before lists were split tell of none."""
        return cls(tuple(told["fields"]), told["above"], tuple(told.get("split", ())))

    def said(self, columns: Mapping[str, Sequence[str | None]]) -> tuple[list[tuple[str, ...]], IntArray]:
        """The values of item after item, in the order of its groups, and how many each has, int64 [N]."""
        rows = list(zip(*(columns[name] for name in self.fields), strict=True))
        if self.split:
            each = [list(product(*map(self._values, self.fields, row))) for row in rows]
            return list(chain(*each)), np.array([len(values) for values in each], np.int64)
        if self.above:
            rows = [(v.rsplit(" > ", 1)[0] if v is not None and " > " in v else None,) for (v,) in rows]
        told = [None not in row for row in rows]
        return cast("list[tuple[str, ...]]", list(compress(rows, told))), np.array(told, np.int64)

    def _values(self, field: str, text: str | None) -> tuple[str, ...]:
        if text is None:
            return ()
        return parts_of(text) if field in self.split else (text,)


class History(HeldPart):
    """What the student knows of items and histories.

    Args:
        given: `min_count` (an item with fewer buyers is cold), `pool` (what is ranked unless told),
            `families` ({fields, above, split}), `neighbours` (per table of weights, whether it is a mean),
            `neighbour_decay`, `events` (further events of a history, and what one weighs; 0: nothing).
        held: item vectors float32 [N, D], counts int64 [N], the blend's weights, per
            family an incidence (CSR) and everybody's shares, and, if kept, weights between items (CSR).
        items: how many there are.

    Raises:
        ArtefactError: settings and arrays do not fit together.
    """

    name: ClassVar[str] = "history"

    def __init__(self, given: Mapping[str, Any], held: Arrays, items: int) -> None:
        _check(given, held, items)
        super().__init__(given, held, items)
        self.families = [Family.of(told) for told in given["families"]]
        self.scorer = HistoryScorer(given, held)

    def positions(self, pool: str) -> IntArray:
        """The items of a pool: `all`, `warm` or `cold`, as the student's training counts them."""
        cold = self.scorer.cold
        return np.arange(len(cold)) if pool == "all" else np.flatnonzero(cold == (pool == "cold"))

    @property
    def columns(self) -> list[str]:
        """What is read of an item to put it in its groups."""
        return list(dict.fromkeys(name for family in self.families for name in family.fields))

    @cached_property
    def unit(self) -> FloatArray:
        """The items' vectors at unit length, float32 [N, D]; one of length 0 stays."""
        vectors = self._held["vectors"]
        unit: FloatArray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        return unit

    def with_items(
        self, vectors: FloatArray, old: Mapping[str, Sequence[str | None]], new: Mapping[str, Sequence[Any]]
    ) -> History:
        """The same part with items that nobody has bought yet.

        Args:
            vectors: of the new items, by the text tower, float32 [M, D].
            old, new: the columns of the items so far and of the new ones; a value that no item has had makes
                no group, as there is nothing to say of it.
        """
        held, more, items = dict(self._held), len(vectors), len(self._held["counts"])
        held["vectors"] = np.concatenate([held["vectors"], vectors])
        held["counts"] = np.concatenate([held["counts"], np.zeros(more, np.int64)])
        held["recent"] = np.concatenate([held["recent"], np.zeros(more, np.float32)])
        for m, family in enumerate(self.families):
            indptr, indices = held[f"family{m}.indptr"], held[f"family{m}.indices"]
            (values, times), lengths = family.said(old), np.diff(indptr)
            # An item that was added may have values without a group: then it tells not which is which.
            told = times == lengths
            groups = indices[np.repeat(told, lengths)].tolist()
            known = dict(zip(compress(values, np.repeat(told, times).tolist()), groups, strict=True))
            values, times = family.said(new)
            codes = np.array([known.get(value, -1) for value in values], np.int64)
            owner, codes = np.repeat(np.arange(more), times)[codes >= 0], codes[codes >= 0]
            own = indptr[-1] + np.cumsum(np.bincount(owner, minlength=more))
            added = codes[np.lexsort((codes, owner))]
            held[f"family{m}.indptr"] = np.concatenate([indptr, own]).astype(np.int32)
            held[f"family{m}.indices"] = np.concatenate([indices, added]).astype(np.int32)
        for a in range(len(self._given["neighbours"])):
            # Every kind of event has its own rows of all items.
            lengths = np.pad(np.diff(held[f"neighbours{a}.indptr"]).reshape(-1, items), ((0, 0), (0, more)))
            held[f"neighbours{a}.indptr"] = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return History(self._given, held, items + more)


def _check(settings: Mapping[str, Any], arrays: Arrays, items: int) -> None:
    families = settings.get("families")
    check_settings(
        settings,
        {
            "min_count": whole(settings.get("min_count")),
            "pool": settings.get("pool") in POOLS,
            "families": all_of(families, dict) and all(map(_is_family, families or [])),
            "neighbours": all_of(settings.get("neighbours"), bool),
            "neighbour_decay": number(settings.get("neighbour_decay")),
            "events": _are_events(settings.get("events")),
        },
    )
    check_arrays("history", arrays, _wanted(settings, arrays, items))
    for name in ("counts", "recent"):
        if (arrays[name] < 0).any():
            raise refuse(f"history.{name} holds a negative number")
    tables = [(f"family{m}", len(arrays[f"family{m}.everybody"])) for m in range(len(settings["families"]))]
    tables += [(f"neighbours{a}", items) for a in range(len(settings["neighbours"]))]
    for name, width in tables:
        check_table(f"history.{name}", arrays[f"{name}.indptr"], arrays[f"{name}.indices"], width)
    for a in range(len(settings["neighbours"])):
        factored = arrays[f"neighbours{a}.factored"]
        if (np.diff(factored, prepend=-1, append=items) < 1).any():
            raise refuse(f"history.neighbours{a}.factored holds no ascending positions of items")
    for m, family in enumerate(settings["families"]):
        indptr, fields = arrays[f"family{m}.indptr"], " and ".join(family["fields"])
        if not family.get("split") and (np.diff(indptr) > 1).any():
            raise refuse(f"an item has several values of {fields}")
        rises = np.diff(arrays[f"family{m}.indices"], prepend=-1) > 0
        rises[indptr[:-1][np.diff(indptr) > 0]] = True
        if not rises.all():
            raise refuse(f"the values of an item's {fields} are in no order")


def _are_events(value: object) -> bool:
    return isinstance(value, dict) and all(number(v) and 0 <= v <= 1 for v in value.values())


def _is_family(value: Mapping[str, Any]) -> bool:
    fields, split = value.get("fields"), value.get("split", [])
    named = all_of(fields, str) and bool(fields) and all_of(split, str) and set(split) <= set(fields or ())
    return named and isinstance(value.get("above"), bool) and not (split and value["above"])


def _wanted(
    settings: Mapping[str, Any], arrays: Arrays, items: int
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """dtype and shape of every array; -1 for any length."""
    none: npt.NDArray[Any] = np.zeros(0)
    dim = arrays["vectors"].shape[-1] if "vectors" in arrays and arrays["vectors"].ndim else -1
    estimates = len(settings["neighbours"])
    terms = 1 + estimates + 2 + len(settings["families"])
    wanted: dict[str, tuple[str, tuple[int, ...]]] = {
        "vectors": ("float32", (items, dim)),
        "counts": ("int64", (items,)),
        "recent": ("float32", (items,)),
        "blend.weight": ("float32", (terms, 2)),
        "blend.bias": ("float32", (terms,)),
        "blend.user": ("float32", (terms,)),
        "blend.log_eps": ("float32", (estimates,)),
        "blend.new_boost": ("float32", (1,)),
        "log_decay": ("float32", (1,)),
    }
    for m in range(len(settings["families"])):
        wanted |= {
            f"family{m}.indices": ("int32", (-1,)),
            f"family{m}.indptr": ("int32", (items + 1,)),
            f"family{m}.everybody": ("float32", (-1,)),
        }
    kinds = 1 + len(settings["events"])
    for a, mean in enumerate(settings["neighbours"]):
        factored = arrays.get(f"neighbours{a}.factored", none).size
        wanted |= {
            f"neighbours{a}.data": ("float32", (arrays.get(f"neighbours{a}.indices", none).size,)),
            f"neighbours{a}.indices": ("int32", (-1,)),
            f"neighbours{a}.indptr": ("int64", (items * (1 if mean else kinds) + 1,)),
            f"neighbours{a}.factored": ("int32", (-1,)),
            **{f"neighbours{a}.{side}": ("float32", (factored, _rank(arrays, a))) for side in _SIDES},
        }
    return wanted


def _rank(arrays: Arrays, a: int) -> int:
    left = arrays.get(f"neighbours{a}.left", np.zeros((0, 0)))
    return int(left.shape[-1]) if left.ndim else -1
