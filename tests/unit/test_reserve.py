"""How much memory the embedded engine reserves."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgdistill.errors import StoreError
from kgdistill.store.ladybug.open import reserve_for

MIB = 2**20


def test_without_a_limit_the_engine_reserves_what_it_likes() -> None:
    reserve = reserve_for(None, 5 * 2**40)
    assert reserve.files is None
    assert 0 < reserve.pool <= 1024 * MIB


@given(left=st.integers(0, 2**44), size=st.integers(0, 2**36))
def test_what_is_reserved_fits_and_lets_the_file_grow(left: int, size: int) -> None:
    if left < 1200 * MIB + 8 * size:
        with contextlib.suppress(StoreError):
            reserve_for(left, size)
        return
    reserve = reserve_for(left, size)
    assert reserve.files is not None
    assert reserve.files >= max(256 * MIB, 4 * size)
    assert reserve.files & (reserve.files - 1) == 0
    assert reserve.pool >= 64 * MIB
    # The rest of the process needs some too.
    assert reserve.pool + reserve.files + 800 * MIB <= left


def test_too_little_says_how_much_is_needed_and_how_much_there_is() -> None:
    with pytest.raises(StoreError, match=r"needs 1,120 MiB of virtual memory, .* leaves 900 MiB") as caught:
        reserve_for(900 * MIB, 0, "ladybug:x")
    # Nothing is wrong with the store: it must not be put aside and made anew.
    assert type(caught.value) is StoreError
