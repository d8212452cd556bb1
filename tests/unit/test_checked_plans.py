"""A plan is looked at once for a question, and never less than that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ladybug
import pytest

from kgdistill.store.ladybug import reader
from kgdistill.store.ladybug.reader import Checked, run_read_only
from kgdistill.store.query.child import RefusedError


@pytest.fixture
def connection() -> Iterator[Any]:
    with (
        ladybug.Database(buffer_pool_size=2**26, max_db_size=2**28) as database,
        ladybug.Connection(database) as opened,
    ):
        opened.execute("CREATE NODE TABLE N (id INT64 PRIMARY KEY)").close()
        opened.execute("UNWIND range(1, 9) AS i CREATE (:N {id: i})").close()
        yield opened


def test_a_question_is_planned_aloud_once_for_each_kind_of_value(
    connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    look = reader._check_plan

    def counted(plan: str, cypher: str) -> list[str]:
        looked.append(cypher)
        return look(plan, cypher)

    monkeypatch.setattr(reader, "_check_plan", counted)
    checked: Checked = set()
    text = "MATCH (n:N) WHERE n.id IN $ids RETURN n.id AS id ORDER BY id"
    for ids in ([1, 2], [3], [9, 8, 7]):
        found = run_read_only(connection, text, {"ids": ids}, 10, 9.0, checked)
        assert found["id"].to_pylist() == sorted(ids)
    assert len(looked) == 1
    run_read_only(connection, text, {"ids": [1.0]}, 10, 9.0, checked)
    run_read_only(connection, text + " LIMIT 2", {"ids": [1]}, 10, 9.0, checked)
    assert len(looked) == 3
    # Without a place to remember it is looked at each time, as where the database may change.
    for _ in range(2):
        run_read_only(connection, text, {"ids": [1]}, 10, 9.0)
    assert len(looked) == 5


def test_what_is_refused_and_what_says_nothing_is_not_remembered(connection: Any) -> None:
    checked: Checked = set()
    dropped = "MATCH (n:N) WITH n ORDER BY n.id DESC LIMIT 2 RETURN sum(n.id) AS s"
    for _ in range(2):
        with pytest.raises(RefusedError, match="leave out an ORDER BY"):
            run_read_only(connection, dropped, {}, 10, 9.0, checked)
    # A plan without steps: it does not say what would be run where there is something.
    assert run_read_only(connection, f"MATCH (n:N) WHERE false {dropped[11:]}", {}, 10, 9.0, checked).num_rows
    assert checked == set()


def test_few_questions_are_remembered(connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_MOST_CHECKED", 3)
    checked: Checked = set()
    for number in range(8):
        run_read_only(connection, f"RETURN {number} AS n", {}, 10, 9.0, checked)
    assert 1 <= len(checked) <= 3
