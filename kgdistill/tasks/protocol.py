"""What is asked of every model in a comparison: which events, split where, ranked among what."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from kgdistill.errors import InputError
from kgdistill.moment import naive_utc
from kgdistill.store.protocol import EdgeType

_BOUGHT: EdgeType = ("User", "BOUGHT", "Product")

Setting: TypeAlias = Literal["warm", "cold", "strictly_cold", "all", "cold_in_all", "tail"]
"""What is ranked, and which of it counts as found; see `DiscoveryProtocol.describe`."""
SETTINGS: tuple[Setting, ...] = ("warm", "cold", "strictly_cold", "all", "cold_in_all", "tail")
HEAD_SHARE = 0.8
"""The most bought items that together have this share of the purchases are no tail."""


UtcMoment: TypeAlias = Annotated[datetime, AfterValidator(naive_utc)]
"""A time with a zone becomes UTC, one without is taken as UTC."""


class DiscoveryProtocol(BaseModel):
    """New items for a user: a split by time, eligibility, and how much of the ranking counts.

    Train is what happened before `cut`, validation from `cut` to before `test_start`, test from
    `test_start` to before `test_end`. Times are UTC; one with a zone is converted, one without is
    taken as UTC. With `refit` the models that the test judges have learned from train and validation;
    whatever had to be chosen was chosen on validation with models that had seen train alone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="stands in `metrics.json`")
    title: str = Field(description="heads the report")
    interaction: EdgeType = Field(
        default=_BOUGHT, description="the relationship that counts: source, type, target"
    )
    reverse: bool = Field(
        default=False, description="whether the relationship leads from what is ranked to who is asked"
    )
    above: dict[str, float] = Field(
        default_factory=dict,
        description="by event and property, such as RATED.rating, the number above which one counts",
    )
    cut: UtcMoment = Field(
        description="train is what happened before it; UTC; left out: after four fifths of the purchases"
    )
    test_start: UtcMoment = Field(
        description="the test is from then on, validation from the cut until then; left out: nine tenths"
    )
    test_end: UtcMoment | None = Field(default=None, description="where the test ends; empty: with the data")
    min_user_events: int = Field(
        default=1,
        ge=0,
        le=1_000_000,
        description="users with fewer train interactions are left out; 0: nobody is",
    )
    min_item_users: int = Field(
        default=1,
        ge=1,
        le=1_000_000,
        description="an item with at least so many buyers is warm, any other cold",
    )
    refit: bool = Field(
        default=False, description="whether models that the test judges learned from train and validation"
    )
    settings: tuple[Setting, ...] = Field(
        default=("all", "cold", "cold_in_all"),
        min_length=1,
        description="what is ranked, what counts as found: warm, cold, strictly_cold, all, cold_in_all, tail",
    )
    exclude_category_levels: list[list[str]] = Field(
        default_factory=list,
        description="names dropped at level 0 (department), level 1, … of category_text split at ' > '",
    )
    k: int = Field(default=20, ge=1, le=10_000, description="the depth of the ranking that decides")
    ks: tuple[int, ...] = Field(default=(), description="further depths at which the ranking is judged")
    user_column: str = Field(
        default="user_id", description="what users are called in the lists that are written"
    )
    item_column: str = Field(default="product_id", description="what items are called there")

    @model_serializer(mode="wrap")
    def _plain(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what asks nothing, so that a run of a former version has the same settings."""
        told: dict[str, Any] = dump(self)
        return told if self.above else {name: value for name, value in told.items() if name != "above"}

    @model_validator(mode="after")
    def _in_order(self) -> DiscoveryProtocol:
        if not self.cut < self.test_start:
            raise ValueError(f"test_start {self.test_start} does not come after cut {self.cut}")
        if self.test_end is not None and not self.test_start < self.test_end:
            raise ValueError(f"test_end {self.test_end} does not come after test_start {self.test_start}")
        taken = {"rank", "score", "setting"}
        if self.user_column == self.item_column or {self.user_column, self.item_column} & taken:
            raise ValueError("user_column and item_column must differ and be none of rank, score, setting")
        if any(not 1 <= k <= 10_000 for k in self.ks) or len(set(self.settings)) < len(self.settings):
            raise ValueError("every k must be from 1 to 10,000, and every setting be named once")
        return self

    @property
    def anchors(self) -> str:
        """The label of those who are asked."""
        return self.interaction[2 if self.reverse else 0]

    @property
    def candidates(self) -> str:
        """The label of what is ranked."""
        return self.interaction[0 if self.reverse else 2]

    def beside(self, names: Iterable[str]) -> dict[str, EdgeType]:
        """The relationships of these types between the same labels."""
        return {name: (self.interaction[0], name, self.interaction[2]) for name in names}

    @property
    def snapshot_cut(self) -> datetime:
        """Where the graph is cut for the models: the cut, or the test's start where they are refitted."""
        return self.test_start if self.refit else self.cut

    def describe(self) -> list[str]:
        """The protocol in words, to stand beside every number; one sentence each."""
        source, name, target = self.interaction
        others = sorted({*self.ks} - {self.k})
        deepest = max(self.k, *others, 1)
        end = f" and before {_moment(self.test_end)}" if self.test_end is not None else ""
        lines = [
            f"Interaction: the first ({source})-[{name}]->({target}) of a pair, "
            "with a quantity above 0 where a quantity is known.",
            f"Split by time (UTC): train before {_moment(self.cut)}, validation from then and before "
            f"{_moment(self.test_start)}, test from then{end or ' on'}.",
            f"Users: at least {self.min_user_events} train interactions."
            if self.min_user_events
            else "Users: all, also those without history.",
            *self._describe_settings(),
            f"Full ranking, never a sample; what a user had before the split is left out; "
            f"ties go to the smaller item index; the first {deepest} ranks count.",
            f"NDCG@{self.k} (binary gain, ideal cut at min(relevant, {self.k})), Recall@{self.k} and "
            f"MRR@{self.k}: the mean over users with a relevant candidate"
            + (f"; also at {', '.join(map(str, others))}." if others else "."),
            "Whatever is chosen is chosen on validation by models fitted on train alone; "
            "what the test judges was then fitted again on train and validation."
            if self.refit
            else "Models are fitted on train alone and not refitted on validation.",
        ]
        dropped = [
            f"level {level}: {', '.join(sorted(names))}"
            for level, names in enumerate(self.exclude_category_levels)
            if names
        ]
        if dropped:
            lines.insert(1, f"Left out by category: {'; '.join(dropped)}.")
        lines.insert(1, "Left out: items without a title.")
        lines[1:1] = [
            f"{key} counts above {least:g}, or where it is unknown"
            + ("; what it is not above is neither right nor ranked." if key.split(".")[0] == name else ".")
            for key, least in self.above.items()
        ]
        return lines

    def _describe_settings(self) -> list[str]:
        least = self.min_item_users
        users = "users in train or (for the test) validation" if self.refit else "train users"
        flatters = "that have an interaction in the split are ranked, which flatters every arm alike."
        words: dict[Setting, str] = {
            "warm": f"warm: every item with at least {least} {users} among them is ranked.",
            "cold": f"cold: the items with fewer than {least} {users} {flatters}",
            "strictly_cold": f"strictly_cold: the items with no {users} {flatters}",
            "all": "all: every item is ranked.",
            "cold_in_all": "cold_in_all: every item is ranked, "
            f"but only those with fewer than {least} {users} count as found.",
            "tail": f"tail: the items with at least {least} {users} are ranked without the most bought ones, "
            f"which together have {HEAD_SHARE:.0%} of their purchases.",
        }
        return [words[setting] for setting in SETTINGS if setting in self.settings]


def quantile_moments(
    event_times: pa.Array | pa.ChunkedArray | npt.NDArray[np.datetime64],
    *,
    cut_share: float = 0.8,
    test_share: float = 0.9,
) -> tuple[datetime, datetime]:
    """The cut and the test's start at quantiles of when events happened.

    Args:
        event_times: of each interaction (UTC), in any order; nulls are left out.
        cut_share: about this share of the events comes before the cut.
        test_share: about this share comes before the test's start.

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
    return cut.item(), test.item()


def _moment(value: datetime) -> str:
    return value.isoformat(sep=" ", timespec="minutes")
