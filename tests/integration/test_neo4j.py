"""What is Neo4j's own: access, what queries may not do, times, batches, several writers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from neo4j import READ_ACCESS, GraphDatabase
from neo4j.exceptions import ClientError

from kgdistill.errors import (
    InputError,
    QueryError,
    SchemaError,
    StoreAuthError,
    StoreError,
    StoreLockedError,
    StoreSchemaMismatchError,
    StoreUnreachableError,
)
from kgdistill.store import load_schema
from kgdistill.store.neo4j.store import Neo4jStore
from tests.integration.conftest import Server

MADE_BY = ("Product", "MADE_BY", "Brand")
BOUGHT = ("User", "BOUGHT", "Product")

NOT_READS = [
    "CREATE (:User {user_id: 'x'})",
    "MERGE (:User {user_id: 'x'})",
    "MATCH (u:User) SET u.age = 'old'",
    "MATCH (u:User) REMOVE u.age",
    "MATCH (u:User) DETACH DELETE u",
    "FOREACH (i IN [1] | CREATE (:User {user_id: 'x'}))",
    "MATCH (u:User) CALL (u) { SET u.age = 'old' }",
    "MATCH (u:User) CALL (u) { DETACH DELETE u } IN TRANSACTIONS",
    "CREATE INDEX FOR (u:User) ON (u.age)",
    "CALL db.createLabel('Other')",
    "CREATE USER other SET PASSWORD 'long enough'",
]
# The server calls these reads, or lets them pass, in a session with read access.
NOT_READS_OF_OURS = [
    "LOAD CSV FROM 'http://127.0.0.1:1/x.csv' AS row RETURN row",
    "MATCH (u:User) CALL (u) { LOAD CSV FROM 'http://127.0.0.1:1/x.csv' AS row RETURN row } RETURN u.age",
    "TERMINATE TRANSACTIONS 'neo4j-transaction-1'",
    "CALL db.clearQueryCaches()",
]


def on_server(server: Server, query: str, **values: Any) -> list[list[Any]]:
    auth = (server.user, server.password)
    with GraphDatabase.driver(server.url, auth=auth, notifications_min_severity="OFF") as driver:
        return [record.values() for record in driver.execute_query(query, values).records]


def users(*keys: str) -> pa.Table:
    return pa.table({"user_id": list(keys), "age": ["young"] * len(keys)})


def grid(store: Neo4jStore, rows: int) -> pa.Table:
    """`rows` MADE_BY relationships whose ends are in the store."""
    store.apply_schema(load_schema())
    store.write_nodes("Product", pa.table({"product_id": [f"p{i}" for i in range(rows)]}))
    store.write_nodes("Brand", pa.table({"brand_id": [f"b{i}" for i in range(50)]}))
    return pa.table({"source": [f"p{i}" for i in range(rows)], "target": [f"b{i % 50}" for i in range(rows)]})


def another(server: Server, **settings: Any) -> Neo4jStore:
    return Neo4jStore(server.url, user=server.user, password=server.password, **settings)


def test_a_wrong_password_is_refused_and_not_repeated(neo4j_server: Server) -> None:
    with pytest.raises(StoreAuthError) as caught:
        Neo4jStore(neo4j_server.url, user="neo4j", password="not-the-secret")
    assert "not-the-secret" not in str(caught.value)
    assert neo4j_server.url in str(caught.value)


def test_an_address_where_nothing_listens_is_unreachable() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"bolt://127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(StoreUnreachableError, match="no Neo4j answers"):
            Neo4jStore(url, user="neo4j", password="x")


@pytest.mark.parametrize(
    "url", ["bolt://neo4j:hunter2@127.0.0.1:7687", "http://127.0.0.1:7474", "bolt://", "bolt://h:99999"]
)
def test_an_address_that_is_none_or_carries_a_password_is_refused(url: str) -> None:
    with pytest.raises(InputError) as caught:
        Neo4jStore(url, user="neo4j", password="x")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("cypher", [*NOT_READS, *NOT_READS_OF_OURS])
def test_a_query_that_does_more_than_read_is_refused(neo4j_store: Neo4jStore, cypher: str) -> None:
    neo4j_store.apply_schema(load_schema())
    neo4j_store.write_nodes("User", users("1"))
    with pytest.raises(QueryError, match=r"only read|not allowed"):
        neo4j_store.query(cypher)
    assert neo4j_store.read_nodes("User", ["age"]).to_pylist() == [{"user_id": "1", "age": "young"}]


@pytest.mark.parametrize("cypher", NOT_READS)
def test_the_server_itself_refuses_a_write_with_read_access(neo4j_server: Server, cypher: str) -> None:
    auth = (neo4j_server.user, neo4j_server.password)
    with (
        GraphDatabase.driver(neo4j_server.url, auth=auth, notifications_min_severity="OFF") as driver,
        driver.session(default_access_mode=READ_ACCESS) as session,
        pytest.raises(ClientError) as caught,
    ):
        session.execute_read(lambda tx: tx.run(cypher).consume())
    assert caught.value.code == "Neo.ClientError.Statement.AccessMode"


def test_the_server_stops_a_query_after_its_timeout(neo4j_store: Neo4jStore) -> None:
    endless = "UNWIND range(1, 1000000000) AS a UNWIND range(1, 1000) AS b RETURN sum(a * b % 7) AS s"
    with pytest.raises(QueryError, match="took longer than 1 s"):
        neo4j_store.query(endless, timeout_s=1)
    assert neo4j_store.query("RETURN 1 AS one").to_pylist() == [{"one": 1}]


def test_whole_nodes_paths_and_times_come_back_as_text_and_timestamps(neo4j_store: Neo4jStore) -> None:
    neo4j_store.apply_schema(load_schema())
    neo4j_store.write_nodes("User", users("1"))
    neo4j_store.write_nodes("Product", pa.table({"product_id": ["p"]}))
    at = datetime(2020, 2, 29, 12, 0, 0, 5)
    bought = pa.table({"source": ["1"], "target": ["p"], "first_at": pa.array([at], pa.timestamp("us"))})
    neo4j_store.write_relationships(BOUGHT, bought)
    found = neo4j_store.query(
        "MATCH path = (u:User)-[r:BOUGHT]->() "
        "RETURN u, path, r.first_at AS at, datetime('2020-01-01T01:00+01:00') AS zoned, "
        "date('2020-01-01') AS day, [1, 'a'] AS mixed"
    )
    row = found.to_pylist()[0]
    assert row["u"] == '{"labels": ["User"], "properties": {"age": "young", "user_id": "1"}}'
    assert '"type": "BOUGHT"' in row["path"]
    assert found.schema.field("at").type == pa.timestamp("us")
    assert row["at"] == at
    assert row["zoned"] == datetime(2020, 1, 1)
    assert row["day"] == datetime(2020, 1, 1).date()
    assert row["mixed"] == '[1, "a"]'


@given(
    times=st.lists(
        st.none() | st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)), min_size=1
    )
)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_times_return_to_the_microsecond_and_stand_there_with_their_zone(
    neo4j_store: Neo4jStore, times: list[datetime | None]
) -> None:
    neo4j_store.apply_schema(load_schema())
    keys = [f"c{i}" for i in range(len(times))]
    table = pa.table({"campaign_id": keys, "start_at": pa.array(times, pa.timestamp("us"))})
    # Each example starts from its own nodes only: a null would keep the last example's time.
    neo4j_store.write_nodes("Campaign", pa.table({"campaign_id": keys, "campaign_type": ["old"] * len(keys)}))
    neo4j_store.write_nodes("Campaign", table.slice(0, 0), replace={"campaign_type": "old"})
    neo4j_store.write_nodes("Campaign", table.append_column("campaign_type", pa.array(["old"] * len(keys))))
    found = neo4j_store.read_nodes("Campaign", ["start_at"])
    assert dict(zip(*found.to_pydict().values(), strict=True)) == dict(zip(keys, times, strict=True))
    kinds = neo4j_store.query(
        "MATCH (c:Campaign) WHERE c.start_at IS NOT NULL RETURN DISTINCT valueType(c.start_at) AS kind"
    )
    assert set(kinds.column("kind").to_pylist()) <= {"ZONED DATETIME NOT NULL"}


def test_a_missing_end_stops_a_write_of_many_batches_before_its_first(
    neo4j_server: Server, neo4j_store: Neo4jStore
) -> None:
    table = grid(neo4j_store, 300)
    broken = pa.concat_tables([table, pa.table({"source": ["p1"], "target": ["nobody"]})])
    with another(neo4j_server, transaction_rows=100) as store, pytest.raises(SchemaError, match="'nobody'"):
        store.write_relationships(MADE_BY, broken)
    assert neo4j_store.read_relationships(MADE_BY).num_rows == 0


@pytest.mark.parametrize("transaction_rows", [1, 100_000])
def test_vectors_replace_those_of_their_own_run_in_one_transaction_or_several(
    neo4j_server: Server, neo4j_store: Neo4jStore, transaction_rows: int
) -> None:
    def vectors(run: str, count: int) -> pa.Table:
        values = [[i / 7, -1.5, 3e-8] for i in range(count)]
        return pa.table(
            {
                "embedding_id": [f"{run}/{i}" for i in range(count)],
                "run": [run] * count,
                "label": ["User"] * count,
                "node_key": [str(i) for i in range(count)],
                "space": ["student"] * count,
                "vector": pa.array(values, pa.list_(pa.float32())),
            }
        )

    neo4j_store.apply_schema(load_schema())
    with another(neo4j_server, transaction_rows=transaction_rows) as store:
        for run, count in (("one", 40), ("two", 30), ("two", 20)):
            store.write_nodes("Embedding", vectors(run, count), replace={"run": run})
    wanted = pa.concat_tables([vectors("one", 40), vectors("two", 20)]).sort_by("embedding_id")
    assert neo4j_store.read_nodes("Embedding").sort_by("embedding_id").equals(wanted)


def test_two_writers_at_once_leave_each_relationship_once(
    neo4j_server: Server, neo4j_store: Neo4jStore
) -> None:
    table = grid(neo4j_store, 21_000)
    reverse = table.take(list(range(table.num_rows - 1, -1, -1)))

    def write(rows: pa.Table) -> None:
        with another(neo4j_server, transaction_rows=100) as store:
            store.write_relationships(MADE_BY, rows)

    failures = at_once([lambda: write(table), lambda: write(reverse)])
    assert failures == []
    order = [("source", "ascending")]
    assert neo4j_store.read_relationships(MADE_BY).sort_by(order).equals(table.sort_by(order))


def test_what_a_person_wrote_in_another_type_is_named_on_reading(
    neo4j_server: Server, neo4j_store: Neo4jStore
) -> None:
    neo4j_store.apply_schema(load_schema())
    on_server(neo4j_server, "CREATE (:Product {product_id: 'p', price: 'cheap'})")
    with pytest.raises(StoreError, match=r"Product\.price"):
        neo4j_store.read_nodes("Product")


def test_nodes_that_already_share_a_key_contradict_the_schema(
    neo4j_server: Server, neo4j_store: Neo4jStore
) -> None:
    on_server(neo4j_server, "CREATE (:User {user_id: '1'}), (:User {user_id: '1'})")
    with pytest.raises(StoreSchemaMismatchError):
        neo4j_store.apply_schema(load_schema())


def test_what_a_value_says_is_never_read_as_cypher(neo4j_store: Neo4jStore) -> None:
    neo4j_store.apply_schema(load_schema())
    evil = "x'}) DETACH DELETE n //`\"\\"
    neo4j_store.write_nodes("User", users(evil))
    found = neo4j_store.query("MATCH (u:User {user_id: $id}) RETURN u.user_id AS id", {"id": evil})
    assert found.column("id").to_pylist() == [evil]


def at_once(work: Sequence[Callable[[], None]]) -> list[BaseException]:
    failures: list[BaseException] = []

    def guarded(part: Callable[[], None]) -> None:
        try:
            part()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(part,)) for part in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


HOLDER = """
    import os, sys
    import pyarrow as pa
    from kgdistill.store.neo4j.store import Neo4jStore

    store = Neo4jStore(sys.argv[1], user=sys.argv[2], password=os.environ["PASSWORD_OF_THE_TEST"])
    with store.changes():
        store.write_nodes("User", pa.table({"user_id": ["held"]}))
        print("held", flush=True)
        sys.stdin.readline()
    """


def test_a_block_of_changes_locks_others_out_until_its_process_dies(
    neo4j_server: Server, neo4j_store: Neo4jStore
) -> None:
    neo4j_store.apply_schema(load_schema())
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER), neo4j_server.url, neo4j_server.user],
        env={**os.environ, "PASSWORD_OF_THE_TEST": neo4j_server.password},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreLockedError, match=f"process {holder.pid} on ") as caught:
            neo4j_store.changes().__enter__()
        assert "since 20" in str(caught.value)
        holder.kill()
        with neo4j_store.changes(wait_s=30):
            neo4j_store.write_nodes("User", users("mine"))
    assert sorted(neo4j_store.read_nodes("User")["user_id"].to_pylist()) == ["held", "mine"]


def end_the_lock(server: Server) -> None:
    """What a restart of the server does to a lock."""
    query = (
        "SHOW TRANSACTIONS YIELD transactionId AS id, metaData AS d WHERE d.kgdistill IS NOT NULL RETURN id"
    )
    ids = [row[0] for row in on_server(server, query)]
    assert ids
    auth = (server.user, server.password)
    with GraphDatabase.driver(server.url, auth=auth) as driver, driver.session() as session:
        session.run("TERMINATE TRANSACTIONS $ids", ids=ids).consume()


def test_a_lost_lock_is_taken_again_unless_another_took_it_meanwhile(
    neo4j_server: Server, neo4j_store: Neo4jStore
) -> None:
    neo4j_store.apply_schema(load_schema())
    with neo4j_store.changes():
        end_the_lock(neo4j_server)
        neo4j_store.write_nodes("User", users("1"))
        with another(neo4j_server) as other, pytest.raises(StoreLockedError):
            other.changes().__enter__()
        end_the_lock(neo4j_server)
    with (  # noqa: PT012
        another(neo4j_server) as other,
        pytest.raises(StoreLockedError, match="meanwhile"),
        neo4j_store.changes(),
    ):
        end_the_lock(neo4j_server)
        with other.changes():
            other.write_nodes("User", users("2"))
        neo4j_store.write_nodes("User", users("3"))
    assert sorted(neo4j_store.read_nodes("User")["user_id"].to_pylist()) == ["1", "2"]
