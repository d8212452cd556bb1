"""Who looks somebody up by an address, where ids are hashed, is told how an id is made."""

from __future__ import annotations

import hmac
from types import SimpleNamespace

import pyarrow as pa
import pytest

from kgdistill.errors import InputError
from kgdistill.explore.explanations import check_known

HASHES = [hmac.digest(b"s", name.encode(), "sha256").hex()[:32] for name in ("ann", "bo")]


def hint(keys: list[str], given: str) -> str:
    store = SimpleNamespace(url="memory:", read_nodes=lambda *_: pa.table({"user_id": keys}))
    with pytest.raises(InputError, match="there is no User with the id") as caught:
        check_known(store, "User", "user_id", {given}, keys)
    return caught.value.hint


def test_an_address_is_told_how_its_id_is_made() -> None:
    told = hint(HASHES, "ann@example.org")
    assert 'one of printf %s ID | openssl dgst -sha256 -hmac "$KGDISTILL_SALT", with ID' in told


@pytest.mark.parametrize(
    ("keys", "given"), [([*HASHES, "u3"], "ann"), (HASHES, "0" * 32), ([], "ann"), (["a" * 33], "ann")]
)
def test_other_ids_are_told_of_those_there_are(keys: list[str], given: str) -> None:
    assert hint(keys, given) == f"the store holds {len(keys)} of them"
