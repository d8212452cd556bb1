"""Complete Journey as the graph's tables by pandas: what the mapping is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kgdistill.ingest.model import GraphTables

SEPARATOR = " > "
_COLUMNS = {
    "transactions": ["household_id", "product_id", "quantity", "sales_value", "transaction_timestamp"],
    "products": [
        "product_id",
        "manufacturer_id",
        "department",
        "brand",
        "product_category",
        "product_type",
        "package_size",
    ],
    "demographics": [
        "household_id",
        "age",
        "income",
        "home_ownership",
        "marital_status",
        "household_size",
        "household_comp",
        "kids_count",
    ],
    "campaigns": ["campaign_id", "household_id"],
    "campaign_descriptions": ["campaign_id", "campaign_type", "start_date", "end_date"],
    "coupons": ["coupon_upc", "product_id", "campaign_id"],
    "coupon_redemptions": ["household_id", "coupon_upc", "campaign_id", "redemption_date"],
}
_Frames = dict[str, pd.DataFrame]


Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Aggregated:
    """One row per pair, ordered by source, then target; arrays of equal length.

    Attributes:
        source, target: the pair's codes.
        first_at, last_at: datetime64[us].
        first_quantity: units at first_at; 0 where no line has a quantity above 0.
        count: lines.
        spend: the sum of the lines' amounts.
        order: the lines, pair by pair.
        offsets: pair i has the lines `order[offsets[i]:offsets[i + 1]]`.
    """

    source: Ints
    target: Ints
    first_at: npt.NDArray[np.datetime64]
    last_at: npt.NDArray[np.datetime64]
    first_quantity: Ints
    count: Ints
    spend: npt.NDArray[np.float64]
    order: Ints
    offsets: Ints


def aggregate_lines(
    source: Ints,
    target: Ints,
    at: npt.NDArray[np.datetime64],
    quantity: Ints,
    amount: npt.NDArray[np.float64],
) -> Aggregated:
    """Aggregates lines by (source, target).

    The first event is the first line with a quantity above 0, and where there is none the first line,
    with quantity 0: a return alone is no purchase. Lines at one moment keep their order.

    Args:
        source, target: codes, int64 [lines], not negative.
        at: datetime64[us] [lines].
        quantity: int64 [lines].
        amount: float64 [lines].
    """
    width = int(target.max()) + 1 if len(target) else 1
    pairs: Any = source.astype(np.int64) * width + target
    order = np.lexsort((at, quantity <= 0, pairs)).astype(np.int64)
    pair, when, units, paid = pairs[order], at[order], quantity[order], amount[order]
    if len(pair) == 0:
        offsets = np.zeros(1, np.int64)
        last, spend = when, paid
    else:
        starts = np.flatnonzero(np.r_[True, pair[1:] != pair[:-1]])
        offsets = np.r_[starts, len(pair)].astype(np.int64)
        last = np.maximum.reduceat(when.astype(np.int64), starts).astype("datetime64[us]")
        spend = np.add.reduceat(paid, starts)
    heads = offsets[:-1]
    return Aggregated(
        source=pair[heads] // width,
        target=pair[heads] % width,
        first_at=when[heads],
        last_at=last,
        first_quantity=np.maximum(units[heads], 0),
        count=np.diff(offsets),
        spend=spend,
        order=order,
        offsets=offsets,
    )


def pandas_journey(folder: Path) -> GraphTables:
    """All households, by code that shares nothing with readers, mapping and fold."""
    frames = {
        name: pq.read_table(folder / f"{name}.parquet", columns=c).to_pandas() for name, c in _COLUMNS.items()
    }
    everyone = np.unique(
        np.concatenate(
            [
                frames[name]["household_id"].to_numpy()
                for name in ("transactions", "demographics", "campaigns", "coupon_redemptions")
            ]
        )
    )
    listed = frames["products"]
    sold = frames["transactions"]["product_id"].to_numpy()
    couponed = frames["coupons"]["product_id"].to_numpy()
    known = listed["product_id"].to_numpy()
    unlisted = np.setdiff1d(np.union1d(np.unique(sold), np.unique(couponed)), known)
    nodes: dict[str, pa.Table] = {"User": _users(everyone, frames["demographics"])}
    edges: dict[tuple[str, str, str], pa.Table] = {}
    _catalogue(listed, unlisted, nodes, edges)
    edges[("User", "BOUGHT", "Product")] = _bought(frames["transactions"])
    _marketing(frames, nodes, edges)
    return GraphTables(nodes=nodes, edges=edges)


def _strings(values: Any) -> pa.Array:
    """Integers or text as Arrow strings; NaN and None become null."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
        return pc.cast(pa.array(values), pa.string())
    return pa.array(values, type=pa.string(), from_pandas=True)


def _ids(values: npt.NDArray[np.int64]) -> pa.Array:
    """Ids as strings, each distinct one formatted once."""
    distinct, codes = np.unique(values, return_inverse=True)
    return pc.take(_strings(distinct), pa.array(codes))


def _times(values: pd.Series[Any]) -> pa.Array:
    return pa.array(values.to_numpy().astype("datetime64[us]"), type=pa.timestamp("us"))


def _edges(
    source: Sequence[Any] | pa.Array, target: Sequence[Any] | pa.Array, **columns: pa.Array
) -> pa.Table:
    return pa.table(
        {
            "source": source if isinstance(source, pa.Array) else pa.array(source, type=pa.string()),
            "target": target if isinstance(target, pa.Array) else pa.array(target, type=pa.string()),
            **columns,
        }
    )


def _users(ids: npt.NDArray[np.int64], demographics: pd.DataFrame) -> pa.Table:
    rows = demographics.set_index("household_id").reindex(ids)
    return pa.table(
        {
            "user_id": _strings(ids),
            "age": _strings(rows["age"]),
            "income": _strings(rows["income"]),
            "home_ownership": _strings(rows["home_ownership"]),
            "marital_status": _strings(rows["marital_status"]),
            "household_size": _strings(rows["household_size"]),
            "household_composition": _strings(rows["household_comp"]),
            "kids_count": _strings(rows["kids_count"]),
        }
    )


def _catalogue(
    listed: pd.DataFrame,
    unlisted: npt.NDArray[np.int64],
    nodes: dict[str, pa.Table],
    edges: dict[tuple[str, str, str], pa.Table],
) -> None:
    """Products, brands and the category tree."""
    listed = listed.sort_values("product_id", kind="stable")
    product_id = _strings(listed["product_id"].to_numpy())
    has_category = listed["product_category"].notna()
    # A type without a category would read as a category in the path; the title carries it already.
    has_type = has_category & listed["product_type"].notna()
    department = listed["department"]
    upper = department + SEPARATOR + listed["product_category"]
    lower = upper + SEPARATOR + listed["product_type"]
    path = lower.where(has_type, upper).where(has_category, department)
    title = listed["product_type"].fillna(listed["product_category"]).fillna(department)
    maker = "manufacturer " + listed["manufacturer_id"].astype(str)

    known = pa.table(
        {
            "product_id": product_id,
            "title": _strings(title),
            "brand_text": _strings(listed["brand"] + " " + maker),
            "category_text": _strings(path),
            "attributes": _strings(listed["package_size"]),
        }
    )
    stubs = pa.table({"product_id": _strings(unlisted)})
    nodes["Product"] = pa.concat_tables([known, stubs], promote_options="default")

    private = listed["brand"] == "Private"
    brands = pd.DataFrame(
        {"id": listed["manufacturer_id"], "name": ("private " + maker).where(private, maker)}
    )
    brands = brands.drop_duplicates("id").sort_values("id")
    nodes["Brand"] = pa.table(
        {"brand_id": _strings(brands["id"].to_numpy()), "name": _strings(brands["name"])}
    )
    edges[("Product", "MADE_BY", "Brand")] = _edges(product_id, _ids(listed["manufacturer_id"].to_numpy()))

    departments = np.sort(department.dropna().unique())
    nodes["Department"] = pa.table({"department_id": _strings(departments), "name": _strings(departments)})
    first = np.sort(upper[has_category].unique())
    second = np.sort(lower[has_type].unique())
    paths = np.concatenate([first, second])
    parents = [p.rsplit(SEPARATOR, 1) for p in paths]
    nodes["Category"] = pa.table(
        {
            "category_id": _strings(paths),
            "name": pa.array([name for _, name in parents], type=pa.string()),
            "path": _strings(paths),
            "level": pa.array([1] * len(first) + [2] * len(second), type=pa.int64()),
        }
    )
    edges[("Product", "IN_CATEGORY", "Category")] = _edges(
        product_id.filter(pa.array(has_category.to_numpy())), _strings(path[has_category])
    )
    loose = ~has_category & department.notna()
    edges[("Product", "PART_OF", "Department")] = _edges(
        product_id.filter(pa.array(loose.to_numpy())), _strings(department[loose])
    )
    edges[("Category", "PART_OF", "Department")] = _edges(
        _strings(first), [parent for parent, _ in parents[: len(first)]]
    )
    edges[("Category", "PART_OF", "Category")] = _edges(
        _strings(second), [parent for parent, _ in parents[len(first) :]]
    )


def _bought(rows: pd.DataFrame) -> pa.Table:
    """One row per (household, product) over all purchase lines."""
    users, user = np.unique(rows["household_id"].to_numpy(), return_inverse=True)
    products, product = np.unique(rows["product_id"].to_numpy(), return_inverse=True)
    pairs = aggregate_lines(
        user.astype(np.int64),
        product.astype(np.int64),
        rows["transaction_timestamp"].to_numpy().astype("datetime64[us]"),
        rows["quantity"].to_numpy(),
        rows["sales_value"].to_numpy(),
    )
    return _edges(
        pc.take(_strings(users), pa.array(pairs.source)),
        pc.take(_strings(products), pa.array(pairs.target)),
        first_at=pa.array(pairs.first_at, type=pa.timestamp("us")),
        first_quantity=pa.array(pairs.first_quantity),
        last_at=pa.array(pairs.last_at, type=pa.timestamp("us")),
        count=pa.array(pairs.count),
        spend=pa.array(pairs.spend),
    )


def _marketing(
    frames: _Frames, nodes: dict[str, pa.Table], edges: dict[tuple[str, str, str], pa.Table]
) -> None:
    """Campaigns, coupons, and who received and redeemed them."""
    campaigns = frames["campaign_descriptions"].sort_values("campaign_id")
    start = campaigns.set_index("campaign_id")["start_date"]
    nodes["Campaign"] = pa.table(
        {
            "campaign_id": _strings(campaigns["campaign_id"].to_numpy()),
            "campaign_type": _strings(campaigns["campaign_type"]),
            "start_at": _times(campaigns["start_date"]),
            "end_at": _times(campaigns["end_date"]),
        }
    )
    coupons = frames["coupons"]
    carried = (
        coupons[["coupon_upc", "campaign_id"]].drop_duplicates().sort_values(["coupon_upc", "campaign_id"])
    )
    earliest = carried["campaign_id"].map(start).groupby(carried["coupon_upc"].to_numpy()).min()
    nodes["Coupon"] = pa.table(
        {"coupon_id": _strings(earliest.index.to_numpy()), "start_at": _times(earliest)}
    )
    edges[("Coupon", "PART_OF", "Campaign")] = _edges(
        _ids(carried["coupon_upc"].to_numpy()), _ids(carried["campaign_id"].to_numpy())
    )
    valid = coupons[["coupon_upc", "product_id"]].drop_duplicates().sort_values(["coupon_upc", "product_id"])
    edges[("Coupon", "FOR", "Product")] = _edges(
        _ids(valid["coupon_upc"].to_numpy()), _ids(valid["product_id"].to_numpy())
    )
    received = frames["campaigns"].drop_duplicates().sort_values(["household_id", "campaign_id"])
    edges[("User", "RECEIVED", "Campaign")] = _edges(
        _ids(received["household_id"].to_numpy()),
        _ids(received["campaign_id"].to_numpy()),
        at=_times(received["campaign_id"].map(start)),
    )
    # The same coupon redeemed twice at one moment, under two campaigns, is one relationship.
    columns = ["household_id", "coupon_upc", "redemption_date"]
    redeemed = frames["coupon_redemptions"][columns].drop_duplicates().sort_values(columns)
    edges[("User", "REDEEMED", "Coupon")] = _edges(
        _ids(redeemed["household_id"].to_numpy()),
        _ids(redeemed["coupon_upc"].to_numpy()),
        at=_times(redeemed["redemption_date"]),
    )
