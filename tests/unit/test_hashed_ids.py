"""Who looks somebody up by what was hashed finds them with the salt, and else is told how an id is made."""

from __future__ import annotations

import hmac
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from kgdistill.cli import main
from kgdistill.cli.asking import of_user
from kgdistill.cli.hashed import by_salt
from kgdistill.errors import InputError
from kgdistill.explore.explanations import check_known
from kgdistill.ingest.tables import GraphTables, ingest_tables
from kgdistill.store import load_schema, open_store

HASHES = [hmac.digest(b"s", name.encode(), "sha256").hex()[:32] for name in ("ann", "bo")]


def hint(keys: list[str], given: str) -> str:
    store = SimpleNamespace(url="memory:", read_nodes=lambda *_: pa.table({"user_id": keys}))
    with pytest.raises(InputError, match="there is no User with the id") as caught:
        check_known(store, "User", "user_id", {given}, keys)
    return caught.value.hint


def test_an_address_is_told_how_its_id_is_made() -> None:
    told = hint(HASHES, "ann@example.org")
    assert "where KGDISTILL_SALT is set, commands take what was hashed" in told
    assert 'one of printf %s ID | openssl dgst -sha256 -hmac "$KGDISTILL_SALT", with ID' in told


@pytest.mark.parametrize(
    ("keys", "given"), [([*HASHES, "u3"], "ann"), (HASHES, "0" * 32), ([], "ann"), (["a" * 33], "ann")]
)
def test_other_ids_are_told_of_those_there_are(keys: list[str], given: str) -> None:
    assert hint(keys, given) == f"the store holds {len(keys)} of them"


@pytest.mark.parametrize(
    ("salt", "asked", "meant"),
    [
        ("s", "ann", HASHES[0]),
        ("s", "BO", HASHES[1]),
        ("s", HASHES[1], HASHES[1]),
        ("s", "eve", "eve"),
        ("t", "ann", "ann"),
        (None, "ann", "ann"),
    ],
)
def test_with_the_salt_what_was_hashed_is_somebody(
    monkeypatch: pytest.MonkeyPatch, salt: str | None, asked: str, meant: str
) -> None:
    monkeypatch.delenv("KGDISTILL_SALT", raising=False)
    if salt is not None:
        monkeypatch.setenv("KGDISTILL_SALT", salt)
    assert by_salt(asked, {*HASHES}.intersection) == meant
    # An id that is somebody's as it was typed stays.
    assert by_salt(asked, {*HASHES, asked}.intersection) == asked


def test_commands_find_who_is_hashed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "people.csv").write_text("mail,sku,at\nann@ex.org,p1,2024-03-05\nbo@ex.org,p2,2024-03-06\n")
    user = "{User: {column: mail, hash: true}}"
    (tmp_path / "m.yaml").write_text(
        "version: 1\nname: m\nsources:\n  people:\n    files: people.csv\n    nodes:\n"
        "      - {label: User, key: {column: mail, hash: true}}\n      - {label: Product, key: sku}\n"
        "    relationships:\n"
        f"      - {{type: BOUGHT, from: {user}, to: {{Product: sku}}, properties: {{at: at}}}}\n"
    )
    store = ["--store", f"ladybug:{tmp_path / 'shop.db'}"]
    monkeypatch.setenv("KGDISTILL_SALT", "s")
    assert main(["ingest", "run", str(tmp_path / "m.yaml"), str(tmp_path), *store]) == 0
    for command in (["profile", "Ann@ex.org"], ["explain", "ann@ex.org", "p2"]):
        assert main([*command, *store]) == 0
    monkeypatch.delenv("KGDISTILL_SALT")
    capsys.readouterr()
    assert main(["profile", "ann@ex.org", *store]) == 2
    assert "where KGDISTILL_SALT is set, commands take what was hashed" in capsys.readouterr().err


@pytest.mark.parametrize("stored", [False, True])
def test_of_a_run_who_is_hashed_is_found_in_its_store_or_its_folder(
    monkeypatch: pytest.MonkeyPatch, stored: bool
) -> None:
    asked: list[str] = []

    def pasts(*_: Any, user: str) -> Any:
        asked.append(user)
        raise InputError("enough")

    protocol = SimpleNamespace(anchors="User", candidates="Product")
    snapshot = SimpleNamespace(
        keys=lambda _: pa.array([] if stored else HASHES).to_numpy(zero_copy_only=False)
    )
    run: Any = SimpleNamespace(config=SimpleNamespace(discovery=protocol), snapshot=snapshot, pasts=pasts)
    bundle: Any = SimpleNamespace(keys=["p1"])
    monkeypatch.setenv("KGDISTILL_SALT", "s")
    with open_store("memory:") as store:
        nodes = {"User": pa.table({"user_id": HASHES}), "Product": pa.table({"product_id": ["p1"]})}
        ingest_tables(store, load_schema(), GraphTables(nodes, {}))
        with pytest.raises(InputError, match="enough"):
            of_user(run, bundle, "ann", store if stored else None)
    assert asked == [HASHES[0]]


def test_what_is_no_text_is_nobody_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KGDISTILL_SALT", "s")
    assert by_salt("a\udce4", lambda keys: keys) == "a\udce4"
