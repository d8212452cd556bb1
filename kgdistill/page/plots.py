"""Shares as bars, laid out here and drawn by the page's templates as SVG with a text alternative."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kgdistill.page.sheets import asked, query_url
from kgdistill.page.source import GraphSource
from kgdistill.words import shortened

_BAR, _GAP, _LEFT, _WIDTH = 13, 12, 150, 520


class Bar(NamedTuple):
    """One bar: its corner and size in the picture, which series it is of, and its value in words."""

    x: float
    y: float
    width: float
    height: float
    series: int
    text: str


@dataclass(frozen=True)
class Bars:
    """Horizontal bars in groups, a bar for each series.

    Attributes:
        title, about: what it shows, and which way is good.
        groups, series: their names.
        shares: for each group of each series a share from 0 to 1, or None.
        more: where the numbers are.
    """

    title: str
    about: str
    groups: Sequence[str]
    series: Sequence[str]
    shares: Sequence[Sequence[float | None]]
    more: str

    @property
    def width(self) -> int:
        """Of the picture."""
        return _LEFT + _WIDTH + 60

    @property
    def height(self) -> int:
        """Of the picture."""
        return len(self.groups) * self._step

    @property
    def _step(self) -> int:
        return len(self.series) * _BAR + _GAP

    @property
    def left(self) -> int:
        """Where the bars begin."""
        return _LEFT

    @property
    def bars(self) -> list[Bar]:
        """All of them, as long as their shares."""
        most = max((share or 0.0 for row in self.shares for share in row), default=0.0) or 1.0
        return [
            Bar(_LEFT, group * self._step + place * _BAR, round(_WIDTH * (share or 0.0) / most, 1), _BAR - 2,
                place, "" if share is None else f"{100 * share:.1f} %")
            for group, row in enumerate(self.shares)
            for place, share in enumerate(row)
        ]  # fmt: skip

    @property
    def labels(self) -> list[tuple[float, str]]:
        """Where each group's name stands, and the name as far as it fits."""
        middle = len(self.series) * _BAR / 2
        short = [shortened(name, 22) for name in self.groups]
        return [(at * self._step + middle, name) for at, name in enumerate(short)]

    @property
    def description(self) -> str:
        """All of it in words, for who does not see it."""
        rows = [
            f"{group}: " + ", ".join(
                f"{name} {100 * share:.1f} %" for name, share in zip(self.series, row, strict=True)
                if share is not None
            )
            for group, row in zip(self.groups, self.shares, strict=True)
        ]  # fmt: skip
        return f"{self.title}. " + "; ".join(rows)


def exposure(source: GraphSource, runs: Sequence[str]) -> Bars:
    """How recommendations spread over what is bought much and little, beside purchases."""
    tables = [asked(source, "exposure_by_popularity", {"run": run}).to_pylist() for run in runs]
    groups = [row["bought_by"] for row in tables[0]]
    columns = [_shares([row["purchases"] for row in tables[0]])]
    columns += [_shares([row["recommendations"] for row in table]) for table in tables]
    return Bars(
        "Exposure by popularity",
        "Products by how many users bought them: the nearer a run's bars to those of purchases, the less it "
        "favours best-sellers or the long tail.",
        groups,
        ["purchases", *runs],
        list(zip(*columns, strict=True)),
        query_url("exposure_by_popularity", {"run": runs[0]}),
    )


def brand_shares(source: GraphSource, runs: Sequence[str]) -> Bars:
    """The most recommended brands' share of recommendations, purchases and catalogue."""
    tables = [
        {row["brand"]: row for row in asked(source, "brand_shares", {"run": run, "limit": 1000}).to_pylist()}
        for run in runs
    ]
    first = list(tables[0].values())[:10]
    shares: list[list[float | None]] = [
        [
            row["of_catalogue"],
            row["of_purchases"],
            *(table.get(row["brand"], {}).get("of_recommendations") for table in tables),
        ]
        for row in first
    ]
    return Bars(
        "Brands: catalogue, purchases and recommendations",
        "A brand that is recommended about as often as it is bought is treated as its buyers treat it.",
        [row["name"] or row["brand"] for row in first],
        ["catalogue", "purchases", *runs],
        shares,
        query_url("brand_shares", {"run": runs[0]}),
    )


def _shares(counts: Sequence[int]) -> list[float | None]:
    total = sum(counts)
    return [count / total if total else None for count in counts]
