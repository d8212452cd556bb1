"""What is asked of every model in a comparison: which events, split where, ranked among what."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from kgdistill.errors import InputError
from kgdistill.store.protocol import EdgeType

_BOUGHT: EdgeType = ("User", "BOUGHT", "Product")


class DiscoveryProtocol(BaseModel):
    """New items for a user: a split by time, eligibility, and how much of the ranking counts.

    Train is what happened before `cut`, validation from `cut` to before `test_start`, test from
    `test_start` to before `test_end`. Times are UTC; one with a zone is converted, one without is
    taken as UTC.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    interaction: EdgeType = _BOUGHT
    cut: datetime
    test_start: datetime
    test_end: datetime | None = None
    min_user_events: int = Field(default=5, ge=1)
    min_item_users: int = Field(default=5, ge=1)
    exclude_category_levels: list[list[str]] = Field(
        default_factory=list,
        description="names dropped at level 0 (department), level 1, … of category_text split at ' > '",
    )
    k: int = Field(default=20, ge=1)
    user_column: str = "user_id"
    item_column: str = "product_id"

    @field_validator("cut", "test_start", "test_end")
    @classmethod
    def _utc(cls, value: datetime | None) -> datetime | None:
        if value is None or value.tzinfo is None:
            return value
        return value.astimezone(timezone.utc).replace(tzinfo=None)

    @model_validator(mode="after")
    def _in_order(self) -> DiscoveryProtocol:
        if not self.cut < self.test_start:
            raise ValueError(f"test_start {self.test_start} does not come after cut {self.cut}")
        if self.test_end is not None and not self.test_start < self.test_end:
            raise ValueError(f"test_end {self.test_end} does not come after test_start {self.test_start}")
        taken = {"rank", "score", "setting"}
        if self.user_column == self.item_column or {self.user_column, self.item_column} & taken:
            raise ValueError("user_column and item_column must differ and be none of rank, score, setting")
        return self

    def describe(self) -> list[str]:
        """The protocol in words, to stand beside every number; one sentence each."""
        source, name, target = self.interaction
        end = f" and before {_moment(self.test_end)}" if self.test_end is not None else ""
        lines = [
            f"Interaction: the first ({source})-[{name}]->({target}) of a pair, "
            "with a quantity above 0 where a quantity is known.",
            f"Split by time (UTC): train before {_moment(self.cut)}, validation from then and before "
            f"{_moment(self.test_start)}, test from then{end or ' on'}.",
            f"Users: at least {self.min_user_events} train interactions.",
            f"warm: every item with at least {self.min_item_users} train users among them is ranked.",
            f"cold: the items with fewer than {self.min_item_users} that have an interaction in the split; "
            "strictly_cold: those of them with none. Such levels flatter every arm alike.",
            f"Full ranking, never a sample; what a user had before the split is left out; "
            f"ties go to the smaller item index; the first {self.k} ranks count.",
            f"NDCG@{self.k} (binary gain, ideal cut at min(relevant, {self.k})), Recall@{self.k} and "
            f"MRR@{self.k}: the mean over users with a relevant candidate.",
            "Models are fitted on train alone and not refitted on validation.",
        ]
        dropped = [
            f"level {level}: {', '.join(sorted(names))}"
            for level, names in enumerate(self.exclude_category_levels)
            if names
        ]
        if dropped:
            lines.insert(1, f"Left out by category: {'; '.join(dropped)}.")
        lines.insert(1, "Left out: items without a title.")
        return lines


def complete_journey_protocol() -> DiscoveryProtocol:
    """Complete Journey, discovery: train weeks 1–42, validation 43–47, test 48–53."""
    from kgdistill.datasets.complete_journey import EXCLUDED_CATEGORIES, EXCLUDED_DEPARTMENTS

    return DiscoveryProtocol(
        name="complete-journey-discovery",
        title="Complete Journey, discovery",
        # Midnight of the shop's own days, in UTC; the second is after the clocks went back.
        cut=datetime(2017, 10, 16, 4),
        test_start=datetime(2017, 11, 20, 5),
        exclude_category_levels=[sorted(EXCLUDED_DEPARTMENTS), sorted(EXCLUDED_CATEGORIES)],
        user_column="household_id",
    )


def quantile_protocol(
    event_times: pa.Array | pa.ChunkedArray | npt.NDArray[np.datetime64],
    *,
    name: str = "discovery",
    title: str = "Discovery",
    interaction: EdgeType = _BOUGHT,
    cut_share: float = 0.8,
    test_share: float = 0.9,
    min_user_events: int = 5,
    min_item_users: int = 5,
    k: int = 20,
) -> DiscoveryProtocol:
    """A protocol for any data: the cut and the test's start at quantiles of the event times.

    Args:
        event_times: when each interaction happened (UTC), in any order; nulls are left out.
        cut_share: about this share of the events comes before the cut.
        test_share: about this share comes before the test's start.
        name, title, interaction, min_user_events, min_item_users, k: as in `DiscoveryProtocol`.

    Raises:
        InputError: the shares are not 0 < cut_share < test_share < 1, or the events have too few
            distinct times to be split in three.
    """
    if not 0 < cut_share < test_share < 1:
        raise InputError(f"shares of {cut_share} and {test_share} cannot split the events in three")
    values: Any = event_times
    if isinstance(values, pa.Array | pa.ChunkedArray):
        values = values.drop_null().to_numpy()
    times = np.asarray(values).astype("datetime64[us]")
    ticks = np.sort(times[~np.isnat(times)].astype(np.int64))
    if len(ticks) == 0:
        raise InputError("there are no events to split by time")
    cut, test = np.quantile(ticks, [cut_share, test_share], method="higher").astype("datetime64[us]")
    if not times.min() < cut < test:
        raise InputError(
            f"the events' times cannot be split: {len(np.unique(ticks))} distinct ones, "
            f"the cut would be {cut} and the test's start {test}",
            hint="name the cut and the test's start yourself",
        )
    return DiscoveryProtocol(
        name=name,
        title=title,
        interaction=interaction,
        cut=cut.item(),
        test_start=test.item(),
        min_user_events=min_user_events,
        min_item_users=min_item_users,
        k=k,
    )


def _moment(value: datetime) -> str:
    return value.isoformat(sep=" ", timespec="minutes")
