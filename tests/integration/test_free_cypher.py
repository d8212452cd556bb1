"""What a person writes in Cypher, on every store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kgdistill.errors import QueryError
from kgdistill.store import GraphStore, load_schema
from tests.integration._stores import STORES, opened

SCHEMA = load_schema()


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GraphStore]:
    for opened_store in opened(request.param, request, tmp_path):
        opened_store.apply_schema(SCHEMA)
        yield opened_store


def test_every_name_of_the_schema_can_be_asked_for_as_it_stands_or_the_error_says_how(
    store: GraphStore,
) -> None:
    texts = [(label, "MATCH (n:{}) RETURN count(n) AS n") for label in SCHEMA.nodes]
    texts += [(kind, "MATCH ()-[r:{}]->() RETURN count(r) AS n") for kind in SCHEMA.relationships]
    for name, node in SCHEMA.nodes.items():
        for key in (node.key, *node.properties):
            texts.append((key, f"MATCH (n:{name}) WHERE n.{{}} IS NOT NULL RETURN count(n) AS n"))
    for name, relationship in SCHEMA.relationships.items():
        for key in relationship.properties:
            texts.append((key, f"MATCH ()-[r:`{name}`]->() WHERE r.{{}} IS NOT NULL RETURN count(r) AS n"))
    refused: dict[str, str] = {}
    for name, text in texts:
        try:
            plain = store.query(text.format(name)).to_pylist()
        except QueryError as error:
            plain, refused[name] = [{"n": 0}], error.hint
        assert plain == store.query(text.format(f"`{name}`")).to_pylist() == [{"n": 0}]
    assert set(refused) == ({"FOR"} if store.url.startswith(("memory:", "ladybug:")) else set())
    assert all(f"write it in backquotes, `{name}`" in hint for name, hint in refused.items())
