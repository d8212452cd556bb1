from __future__ import annotations

from datetime import datetime, timedelta, timezone
from fractions import Fraction
from itertools import combinations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgdistill.errors import InputError
from kgdistill.ingest import derived
from kgdistill.ingest.derived import also_bought

CUT = datetime(2024, 3, 1)
Event = tuple[str, str, int, int | None]


def bought(events: list[Event]) -> pa.Table:
    """Events as (user, product, days after the cut, quantity)."""
    return pa.table(
        {
            "source": pa.array([e[0] for e in events], pa.string()),
            "target": pa.array([e[1] for e in events], pa.string()),
            "first_at": pa.array([CUT + timedelta(days=e[2]) for e in events], pa.timestamp("us")),
            "first_quantity": pa.array([e[3] for e in events], pa.int64()),
        }
    )


def oracle(events: list[Event], top_k: int, min_support: int) -> list[tuple[str, str, int, float]]:
    """Brute force with exact fractions."""
    baskets: dict[str, set[str]] = {}
    for user, product, day, quantity in events:
        if day < 0 and (quantity is None or quantity > 0):
            baskets.setdefault(product, set()).add(user)
    users = {user for buyers in baskets.values() for user in buyers}
    cosine: dict[tuple[str, str], Fraction] = {}
    for a, b in combinations(sorted(baskets), 2):
        support = len(baskets[a] & baskets[b])
        if support >= min_support:
            cosine[a, b] = cosine[b, a] = Fraction(support**2, len(baskets[a]) * len(baskets[b]))
    kept: set[tuple[str, str]] = set()
    for a in baskets:
        partners = sorted((b for x, b in cosine if x == a), key=lambda b: (-cosine[a, b], b))
        kept |= {(min(a, b), max(a, b)) for b in partners[:top_k]}
    return [
        (a, b, s, s * len(users) / (len(baskets[a]) * len(baskets[b])))
        for a, b in sorted(kept)
        for s in [len(baskets[a] & baskets[b])]
    ]


def events_of(users: int, products: int) -> st.SearchStrategy[list[Event]]:
    pairs = st.tuples(st.integers(1, users), st.sampled_from([f"p{i}" for i in range(1, products + 1)]))
    facts = st.tuples(st.sampled_from([-2, -1, 0, 1]), st.sampled_from([None, 0, 1, 3]))
    return st.dictionaries(pairs, facts, max_size=60).map(
        lambda found: [(str(u), p, day, n) for (u, p), (day, n) in found.items()]
    )


@given(
    events=events_of(8, 12), top_k=st.integers(1, 4), min_support=st.integers(1, 3), cells=st.integers(1, 60)
)
def test_also_bought_equals_brute_force_whatever_the_chunks(
    events: list[Event], top_k: int, min_support: int, cells: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(derived, "_CHUNK_CELLS", cells)
        found = also_bought(bought(events), cut=CUT, top_k=top_k, min_support=min_support)
    rows = [(r["source"], r["target"], r["support"], pytest.approx(r["lift"])) for r in found.to_pylist()]
    assert rows == oracle(events, top_k, min_support)
    assert found["cut"].to_pylist() == [CUT] * found.num_rows


@given(events=events_of(6, 8))
def test_events_at_or_after_the_cut_change_nothing(events: list[Event]) -> None:
    past = [event for event in events if event[2] < 0]
    whole = also_bought(bought(events), cut=CUT, min_support=1)
    assert whole.equals(also_bought(bought(past), cut=CUT, min_support=1))


def test_a_cut_with_a_zone_is_the_same_moment_in_utc() -> None:
    table = bought([("1", "a", -1, 1), ("1", "b", -1, 1)])
    zone = timezone(timedelta(hours=5))
    before = (CUT - timedelta(days=1)).replace(tzinfo=timezone.utc).astimezone(zone)
    assert also_bought(table, cut=before, min_support=1).num_rows == 0
    after = also_bought(table, cut=before + timedelta(microseconds=1), min_support=1)
    assert after.num_rows == 1


@pytest.mark.parametrize("wrong", [{"top_k": 0}, {"min_support": 0}])
def test_a_limit_below_one_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="at least 1"):
        also_bought(bought([]), cut=CUT, **wrong)
