"""The part of a bundle that finds an audience: histories and one small head, by NumPy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from kgdistill.arrays import DoubleArray, FloatArray, IntArray
from kgdistill.ranking.classes import probabilities
from kgdistill.serve.items import Items
from kgdistill.serve.parts import Arrays, all_of, check_arrays, check_settings, number, refuse
from kgdistill.tasks.audience import (
    CLIP,
    NOT_STARTED,
    AudienceData,
    MemberGroups,
    TimedPairs,
    Wanted,
    last_moment,
)

_KEYS, _PEOPLE = "audience/keys.json", "audience/candidates.arrow"
_EVENTS = ("history", "positives", "reached")
_HEAD = ("middle", "spread", "hidden.weight", "hidden.bias", "top.weight", "top.bias", "beside.weight")
SPACE = "words"
"""The space of the items' vectors: that of the bundle's text tower."""


class AudienceNames(NamedTuple):
    """What people call what a finder knows.

    Attributes:
        candidate, anchor, item: labels.
        history, positive: relationships.
        paths: how facts lead from an item to an anchor, in words.
        reached: what an anchor reaches candidates by; empty where nobody knows.
    """

    candidate: str
    anchor: str
    item: str
    history: str
    positive: str
    paths: tuple[str, ...]
    reached: str


class AudienceKeys(NamedTuple):
    """Keys by id, and the words of each anchor."""

    candidates: tuple[str, ...]
    anchors: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Finder:
    """Tells of every candidate how likely it is a positive of an anchor.

    Args:
        data: candidates, histories, anchors; its vectors are those of the space `SPACE`.
        head: the student's arrays by name, float32.
        temperature: logits are divided by it.
        spread: of an anchor's level around what is expected.
        cut: before which the head learned, microseconds since 1970.
        names: what people call all this.
        keys: of candidates and anchors.
        people: the candidates, in their order, with what they can be chosen by; None where it was not kept.
        sensitive: what of candidates the schema declares sensitive, whether it was kept or not.
    """

    name: ClassVar[str] = "audience"
    data: AudienceData
    head: Mapping[str, FloatArray]
    temperature: float
    spread: float
    cut: int
    names: AudienceNames
    keys: AudienceKeys
    people: Items | None = None
    sensitive: tuple[str, ...] = ()

    @cached_property
    def candidate_places(self) -> dict[str, int]:
        """The id of each candidate."""
        return {key: place for place, key in enumerate(self.keys.candidates)}

    @cached_property
    def anchor_places(self) -> dict[str, int]:
        """The id of each anchor."""
        return {key: place for place, key in enumerate(self.keys.anchors)}

    @cached_property
    def now(self) -> int:
        """Just after the last event that is known, microseconds since 1970."""
        return last_moment(self.data) + 1

    @cached_property
    def usual_size(self) -> float:
        """The median number of items of an anchor that has some."""
        sizes = [len(items) for items in self.data.anchor_items if len(items)]
        return float(np.median(sizes)) if sizes else 1.0

    def moment(self, anchor: int | None) -> int:
        """What comes before it is read for an anchor: its start, or now where it has none."""
        if anchor is None or self.data.starts[anchor] == NOT_STARTED:
            return self.now
        return int(self.data.starts[anchor])

    def probabilities(self, wanted: Wanted, anchor: int | None) -> tuple[IntArray, DoubleArray]:
        """The candidates of an anchor, ids int64 [C], and the probability of each, float64 [C]."""
        among = self.data.eligible(anchor)
        x = self.data.features(wanted, self.moment(anchor), among)
        p = probabilities(self.logits(x), self.temperature, several=True)
        return among, p.astype(np.float64)

    def logits(self, features: FloatArray) -> FloatArray:
        """As the head of `kgdistill.train.audience` says, float32 [N]."""
        x = ((features - self.head["middle"]) / self.head["spread"]).clip(-CLIP, CLIP)
        deep = np.maximum(x @ self.head["hidden.weight"].T + self.head["hidden.bias"], 0)
        deep = deep @ self.head["top.weight"].T + self.head["top.bias"]
        beside = x @ self.head["beside.weight"].T + self.head["beside.bias"]
        return np.asarray((deep + beside)[:, 0], np.float32)

    # On disk --------------------------------------------------------------------------------------

    def settings(self) -> dict[str, Any]:
        """See `BundlePart`."""
        return {
            "temperature": self.temperature, "spread": self.spread, "cut": self.cut,
            "reached": self.data.reached is not None, "names": self.names._asdict(),
            "groups": [family.name for family in self.data.groups], "sensitive": list(self.sensitive),
        }  # fmt: skip

    def arrays(self) -> Arrays:
        """See `BundlePart`."""
        data, out = self.data, dict[str, npt.NDArray[Any]](self.head)
        for kind in _EVENTS:
            if (events := getattr(data, kind)) is not None:
                out |= {f"{kind}.{side}": getattr(events, side).astype(np.int32) for side in ("who", "what")}
                out[f"{kind}.at"] = events.at
        for i, family in enumerate(data.groups):
            out |= {
                f"groups{i}.{side}": getattr(family, side).astype(np.int32) for side in ("items", "groups")
            }
        sizes = np.array([len(items) for items in data.anchor_items], np.int64)
        flat = np.concatenate([np.zeros(0, np.int64), *data.anchor_items]).astype(np.int32)
        return {
            **out, "starts": data.starts, "anchor.sizes": sizes, "anchor.items": flat,
            "vectors": data.vectors[SPACE],
        }  # fmt: skip

    def files(self) -> dict[str, bytes]:
        """See `BundlePart`."""
        told = {**self.keys._asdict(), "groups": [list(family.names) for family in self.data.groups]}
        kept = {} if self.people is None else {_PEOPLE: self.people.to_bytes()}
        return {_KEYS: json.dumps(told, ensure_ascii=False).encode(), **kept}

    @classmethod
    def from_arrays(
        cls, settings: Mapping[str, Any], arrays: Arrays, files: Mapping[str, bytes], items: int
    ) -> Finder:
        """See `BundlePart`."""
        groups, names = settings.get("groups"), settings.get("names")
        check_settings(settings, {
            "temperature": number(settings.get("temperature")) and settings["temperature"] > 0,
            "spread": number(settings.get("spread")) and settings["spread"] >= 0,
            "cut": isinstance(settings.get("cut"), int),
            "reached": isinstance(settings.get("reached"), bool),
            "groups": all_of(groups, str),
            "sensitive": all_of(settings.get("sensitive", []), str),
            "names": isinstance(names, dict) and set(names) == set(AudienceNames._fields),
        })  # fmt: skip
        assert isinstance(groups, list)
        assert isinstance(names, dict)
        try:
            told = json.loads(files[_KEYS])
            keys = AudienceKeys(*(tuple(told[name]) for name in AudienceKeys._fields))
            titles = [tuple(family) for family in told["groups"]]
        except (KeyError, TypeError, ValueError) as error:
            raise refuse("cannot be read", _KEYS) from error
        kinds = [kind for kind in _EVENTS if kind != "reached" or settings["reached"]]
        _check(arrays, kinds, len(keys.anchors), items, len(groups))
        sides = {"history": items, "positives": len(keys.anchors), "reached": len(keys.anchors)}
        for kind in kinds:
            _inside(arrays[f"{kind}.who"], len(keys.candidates), f"{kind}.who")
            _inside(arrays[f"{kind}.what"], sides[kind], f"{kind}.what")
        _inside(arrays["anchor.items"], items, "anchor.items")
        if len(titles) != len(groups) or len(keys.texts) != len(keys.anchors):
            raise refuse("does not fit config.json", _KEYS)
        families = []
        for i, name in enumerate(groups):
            _inside(arrays[f"groups{i}.items"], items, f"groups{i}.items")
            _inside(arrays[f"groups{i}.groups"], len(titles[i]), f"groups{i}.groups")
            members, groups_of = (
                arrays[f"groups{i}.{side}"].astype(np.int64) for side in ("items", "groups")
            )
            families.append(MemberGroups(name, members, groups_of, titles[i]))
        data = AudienceData(
            len(keys.candidates), items, _timed(arrays, "history"), _timed(arrays, "positives"),
            _timed(arrays, "reached") if settings["reached"] else None, arrays["starts"],
            np.split(arrays["anchor.items"].astype(np.int64), np.cumsum(arrays["anchor.sizes"])[:-1]),
            tuple(families), {SPACE: arrays["vectors"]},
        )  # fmt: skip
        head = {name: arrays[name] for name in (*_HEAD, "beside.bias")}
        if len(head["middle"]) != len(data.names()):
            raise refuse(f"the head reads {len(head['middle'])} features, not {len(data.names())}")
        said = AudienceNames(**{**names, "paths": tuple(names["paths"])})
        people = Items.from_bytes(files[_PEOPLE]) if _PEOPLE in files else None
        if people is not None and tuple(people.keys) != keys.candidates:
            raise refuse("does not hold the candidates", _PEOPLE)
        return cls(
            data, head, float(settings["temperature"]), float(settings["spread"]), settings["cut"], said,
            keys, people, tuple(settings.get("sensitive", ())),
        )  # fmt: skip


def _check(arrays: Arrays, kinds: Sequence[str], anchors: int, items: int, groups: int) -> None:
    """Refuses arrays that are not those of a finder."""
    width = len(arrays["middle"]) if "middle" in arrays else 0
    hidden = len(arrays["hidden.bias"]) if "hidden.bias" in arrays else 0
    wanted: dict[str, tuple[str, tuple[int, ...]]] = {
        "middle": ("float32", (width,)), "spread": ("float32", (width,)),
        "hidden.weight": ("float32", (hidden, width)), "hidden.bias": ("float32", (hidden,)),
        "top.weight": ("float32", (1, hidden)), "top.bias": ("float32", (1,)),
        "beside.weight": ("float32", (1, width)), "beside.bias": ("float32", (1,)),
        "starts": ("int64", (anchors,)), "anchor.sizes": ("int64", (anchors,)),
        "anchor.items": ("int32", (-1,)), "vectors": ("float32", (items, -1)),
    }  # fmt: skip
    for kind in kinds:
        count = len(arrays[f"{kind}.at"]) if f"{kind}.at" in arrays else 0
        wanted |= {f"{kind}.{side}": ("int32", (count,)) for side in ("who", "what")}
        wanted[f"{kind}.at"] = ("int64", (count,))
    for i in range(groups):
        count = len(arrays[f"groups{i}.items"]) if f"groups{i}.items" in arrays else 0
        wanted |= {f"groups{i}.{side}": ("int32", (count,)) for side in ("items", "groups")}
    check_arrays("audience", arrays, wanted)
    for kind in kinds:
        if (np.diff(arrays[f"{kind}.at"]) < 0).any():
            raise refuse(f"audience.{kind}.at does not rise")
    sizes = arrays["anchor.sizes"]
    if (sizes < 0).any() or sizes.sum() != len(arrays["anchor.items"]):
        raise refuse("audience.anchor.sizes do not fit the items")
    if not (arrays["spread"] > 0).all():
        raise refuse("audience.spread holds a number that is not above 0")


def _inside(ids: npt.NDArray[Any], count: int, name: str) -> None:
    if len(ids) and (ids.min() < 0 or ids.max() >= count):
        raise refuse(f"audience.{name} names what is not there")


def _timed(arrays: Arrays, kind: str) -> TimedPairs:
    who, what = (arrays[f"{kind}.{side}"].astype(np.int64) for side in ("who", "what"))
    return TimedPairs(who, what, arrays[f"{kind}.at"])
