"""Statements that would do more than read the graph, or take more than they may: by store.

`ADDRESS` stands where a statement takes the address of a listener.
"""

from __future__ import annotations

from typing import Any

_LOAD = "LOAD CSV FROM 'ADDRESS' AS row RETURN row[0] AS x"
# The server calls each of these a read.
NEO4J_FETCHES = [
    _LOAD,
    f"CALL () {{ {_LOAD} }} RETURN x",
    f"RETURN CASE WHEN true THEN COLLECT {{ {_LOAD} }} END AS a",
    f"RETURN CASE COUNT {{ {_LOAD} }} WHEN 0 THEN 1 ELSE 2 END AS a",
    f"RETURN coalesce(null, COLLECT {{ {_LOAD} }}) AS a",
    f"RETURN [i IN [1, 2] | COLLECT {{ {_LOAD} }}] AS a",
    f"RETURN [i IN [1, 2] WHERE EXISTS {{ {_LOAD} }}] AS a",
    f"RETURN any(i IN [1] WHERE EXISTS {{ {_LOAD} }}) AS a",
    f"RETURN all(i IN [1] WHERE COUNT {{ {_LOAD} }} > 0) AS a",
    f"RETURN reduce(s = 0, i IN [1, 2] | s + COUNT {{ {_LOAD} }}) AS a",
    f"RETURN [1, 2][COUNT {{ {_LOAD} }}] AS a",
    f"RETURN {{a: COLLECT {{ {_LOAD} }}}} AS a",
    f"RETURN COLLECT {{ {_LOAD} }} AS a",
    f"UNWIND COLLECT {{ {_LOAD} }} AS y RETURN y",
    f"WITH 1 AS one WHERE EXISTS {{ {_LOAD} }} RETURN one",
    f"UNWIND [1] AS n RETURN n ORDER BY COUNT {{ {_LOAD} }}",
    f"UNWIND [1] AS n RETURN n LIMIT COUNT {{ {_LOAD} }}",
    f"MATCH (n) RETURN [(n)-->(m) | COLLECT {{ {_LOAD} }}] AS a",
    f"RETURN [i IN [1] | [j IN [1] | EXISTS {{ WITH 1 AS z RETURN COLLECT {{ {_LOAD} }} AS b }}]] AS a",
    f"RETURN 1 AS x UNION {_LOAD}",
    "MATCH (n) WITH collect(n.user_id) AS ids LOAD CSV FROM 'ADDRESS?' + reduce(s = '', i IN ids | s + i) "
    "AS row RETURN row",
    "RETURN [i IN [1] | COLLECT { LOAD /* a */ CSV // b\n FROM 'ADDRESS' AS row RETURN row[0] AS x }] AS a",
    "RETURN [i IN [1] | COLLECT { load\tcsv with headers FROM 'ADDRESS' AS row RETURN row.x AS x }] AS a",
    r"RETURN [i IN [1] | COLLECT { L\u004fAD CSV FROM 'ADDRESS' AS row RETURN row[0] AS x }] AS a",
    r"RETURN '\u0027, COLLECT { LOAD CSV FROM \u0027ADDRESS\u0027 AS row RETURN row[0] AS x } //' AS a",
    "RETURN [i IN [1] | COLLECT { LOAD\u00a0CSV FROM 'ADDRESS' AS row RETURN row[0] AS x }] AS a",
    "RETURN [i IN [1] | COLLECT { LOAD\u2028CSV FROM 'ADDRESS' AS row RETURN row[0] AS x }] AS a",
    "RETURN [i IN [1] | COLLECT { LOAD//\rCSV FROM 'ADDRESS' AS row RETURN row[0] AS x }] AS a",
    f"CYPHER runtime=slotted {_LOAD}",
    f"PROFILE {_LOAD}",
    f"EXPLAIN {_LOAD}",
    f"USE neo4j {_LOAD}",
]
NEO4J_CHANGES = [
    "CALL db.stats.stop('QUERIES')",
    "CALL db.stats.clear('QUERIES')",
    "CALL db.stats.collect('QUERIES')",
    "CALL db.stats.retrieve('QUERIES')",
    "CALL db.prepareForReplanning()",
    "CALL db.resampleOutdatedIndexes()",
    "CALL `db`.`stats` . clear('QUERIES')",
    "call\tdb.stats./**/clear('QUERIES')",
    "CALL db.clearQueryCaches()",
    "CALL dbms.listConfig() YIELD name RETURN name",
    "CALL dbms.killConnections(['bolt-1'])",
    "CALL tx.setMetaData({a: 1})",
    "RETURN [i IN [1] | COLLECT { CALL db.stats.clear('QUERIES') YIELD section RETURN section }] AS a",
    "RETURN CASE WHEN true THEN COUNT { CALL db.prepareForReplanning() } END AS a",
    "RETURN [i IN [1] | COLLECT { WITH i, 1. AS f WHERE f < 2. CALL db.stats.clear('QUERIES') YIELD section "
    "RETURN section }] AS a",
    "RETURN apoc.load.json('ADDRESS') AS a",
    "RETURN `apoc`.`util`.sleep(1) AS a",
    "RETURN genai.vector.encode('a', 'OpenAI', {token: 'x'}) AS a",
    "SHOW SETTINGS",
    "SHOW TRANSACTIONS",
    "SHOW USERS",
    "TERMINATE TRANSACTIONS 'neo4j-transaction-1'",
    "RETURN 1; RETURN 2",
    "CREATE (:User {user_id: 'x'})",
    "MATCH (n) DETACH DELETE n",
    "CALL { CREATE (:User {user_id: 'z'}) } RETURN 1",
    "ALTER CURRENT USER SET PASSWORD FROM 'a' TO 'b'",
    "STOP DATABASE neo4j",
]
# Small texts that the server answers at length, or never.
NEO4J_LARGE = {
    "a list of five million": "RETURN range(1, 5000000) AS a",
    "900 rows of a megabyte": "UNWIND range(1, 900) AS i "
    "RETURN i, reduce(s = 'x', j IN range(1, 20) | s + s) AS a",
    "an endless count": "UNWIND range(1, 1000000000) AS a UNWIND range(1, 1000) AS b "
    "RETURN sum(a * b % 7) AS s",
    "lists in lists": f"RETURN {'[' * 3000}1{']' * 3000} AS a",
    "20,000 times NOT": f"RETURN {'NOT ' * 20_000}true AS a",
    "conditions in conditions": (
        f"MATCH (n) WHERE {'EXISTS { MATCH (n)-->(m) WHERE ' * 30}true{' }' * 30} RETURN 1 AS a"
    ),
    "sixty ends": "MATCH " + "-->".join(["()"] * 60) + " RETURN 1 AS a",
    "ten thousand clauses": "WITH 1 AS x " + "WITH x " * 10_000 + "RETURN x",
    "a sum of 20,000": "RETURN " + "+".join(["1"] * 20_000) + " AS a",
    "a text that doubles": "RETURN reduce(s = 'x', j IN range(1, 40) | s + s) AS a",
    "a megabyte of text": f"RETURN '{'x' * 1_000_000}' AS a",
}

_CSV = "(file_format='csv', header=true)"
# On the embedded store; `FILE` stands for a file with a secret.
LADYBUG_FILES = [
    "LOAD FROM 'FILE' RETURN *",
    f"LOAD FROM 'FILE' {_CSV} RETURN *",
    f"LOAD FROM 'FILE' {_CSV} RETURN nosuch",
    f"LOAD/**/FROM 'FILE' {_CSV} RETURN *",
    f"/***/ LOAD FROM 'FILE' {_CSV} RETURN * /* */",
    f"LOAD WITH HEADERS (a INT64) FROM 'FILE' {_CSV} RETURN a",
    f"LOAD FROM ['FILE'] {_CSV} RETURN *",
    f"LOAD FROM glob('FILE') {_CSV} RETURN *",
    "LOAD FROM read_csv_serial('FILE') RETURN *",
    f"MATCH (u:User) LOAD FROM 'FILE' {_CSV} RETURN *",
    f"UNWIND [1] AS load LOAD FROM 'FILE' {_CSV} RETURN *",
    f"RETURN 1 AS x UNION LOAD FROM 'FILE' {_CSV} RETURN *",
    f"EXPLAIN LOAD FROM 'FILE' {_CSV} RETURN *",
    f"PROFILE LOAD FROM 'FILE' {_CSV} RETURN *",
    "CALL read_csv_serial('FILE') RETURN *",
    "CALL `READ_CSV_PARALLEL`('FILE') RETURN *",
    "CALL read_parquet('FILE') RETURN *",
    "RETURN read_npy('FILE') AS x",
    "COPY User FROM 'FILE'",
    "COPY (MATCH (u:User) RETURN u.user_id) TO 'FILE'",
    "EXPORT DATABASE 'FILE.d'",
    "IMPORT DATABASE 'FILE'",
    "ATTACH 'FILE' AS x (dbtype lbug)",
    "LOAD EXTENSION 'FILE'",
    "INSTALL json",
    f"RETURN 1 AS x; LOAD FROM 'FILE' {_CSV} RETURN *",
]
LADYBUG_CHANGES = [
    "CREATE (:User {user_id: 'x'})",
    "MERGE (:User {user_id: 'x'})",
    "MATCH (u:User) SET u.name = 'x'",
    "MATCH (u:User) DETACH DELETE u",
    "CREATE NODE TABLE X (id STRING PRIMARY KEY)",
    "DROP TABLE User",
    "CALL threads = 1",
    "CHECKPOINT",
    "BEGIN TRANSACTION",
]
LADYBUG_LARGE = {
    "a list of a billion": "RETURN size(range(1, 1000000000)) AS a",
    "a list of five million": "RETURN range(1, 5000000) AS a",
    "900 rows of a megabyte": "UNWIND range(1, 900) AS i RETURN repeat('x', 1048576) AS a",
    "250 rows of a megabyte": "UNWIND range(1, 250) AS i RETURN repeat('x', 1048576) AS a",
    "a text of a gigabyte": "RETURN repeat('x', 1073741824) AS a",
    "an endless count": "MATCH (a:User), (b:User), (c:User), (d:User) WHERE a.user_id <> b.user_id "
    "AND c.user_id <> d.user_id AND a.user_id <> d.user_id RETURN count(*) AS n",
    "a row too many, a billion times": "MATCH (a:User), (b:User), (c:User) RETURN a.user_id",
    "3,000 lists in lists": f"RETURN {'[' * 3000}1{']' * 3000} AS a",
    "12,000 lists in lists": f"RETURN {'[' * 12_000}1{']' * 12_000} AS a",
    "20,000 times NOT": f"RETURN {'NOT ' * 20_000}true AS a",
    "20,000 times a bracket": f"RETURN {'(' * 20_000}1{')' * 20_000} AS a",
    "a sum of 20,000": "RETURN " + "+".join(["1"] * 20_000) + " AS a",
    "ten thousand clauses": "WITH 1 AS x " + "WITH x " * 10_000 + "RETURN x",
    "sixty ends": "MATCH " + "-[]->".join(["()"] * 60) + " RETURN 1 AS a",
    "long paths": "MATCH (a)-[*1..30]->(b) RETURN count(*) AS n",
    "a slow pattern": "RETURN regexp_matches(repeat('a', 100000), '(a|aa)+$b') AS a",
    "a megabyte of text": f"RETURN '{'x' * 1_000_000}' AS a",
    "five megabytes of text": f"RETURN '{'x' * 5_000_000}' AS a",
}

# What is tried on both stores: by name, one text, or one for each. `FILE` and `ADDRESS` as above.
_HIDDEN_WRITES = {
    "a write after a read": "MATCH (p:Product) WITH p SET p.title = 'x' RETURN p.title",
    "a merge for each row": "MATCH (u:User) MERGE (:User {user_id: u.user_id + 'x'})",
    "a merge with a branch": "MERGE (u:User {user_id: 'ann'}) ON MATCH SET u.user_id = 'eve' RETURN 1 AS x",
    "a removed property": "MATCH (p:Product) REMOVE p.title RETURN 1 AS x",
    "a deletion behind UNWIND": "UNWIND ['ann'] AS k MATCH (u:User {user_id: k}) DETACH DELETE u",
    "a write in CALL": "MATCH (u:User) CALL (u) { CREATE (v:User {user_id: 'v'}) RETURN v } RETURN 1 AS x",
    "a write in CALL, the old way": "MATCH (u:User) CALL { WITH u SET u.user_id = 'x' } RETURN 1 AS x",
    "a write in transactions": "UNWIND range(1, 3) AS i CALL (i) { CREATE (:User {user_id: 'z' + i}) } "
    "IN TRANSACTIONS OF 1 ROW",
    "a write in FOREACH": "MATCH (u:User) FOREACH (x IN [1] | SET u.user_id = 'x')",
    "a write in EXISTS": "RETURN EXISTS { CREATE (u:User {user_id: 'x'}) RETURN u } AS x",
    "a write in a list": "RETURN [x IN [1] | COUNT { CREATE (:User {user_id: 'x'}) RETURN 1 AS y }] AS x",
    "a write behind UNION": "RETURN 1 AS x UNION CREATE (u:User {user_id: 'x'}) RETURN 2 AS x",
    "a write explained": "EXPLAIN CREATE (:User {user_id: 'x'})",
    "a write profiled": "PROFILE CREATE (:User {user_id: 'x'})",
    "a type less": {"neo4j": "DROP CONSTRAINT User_user_id", "ladybug": "DROP TABLE BOUGHT"},
    "a type more": {
        "neo4j": "CREATE INDEX more FOR (p:Product) ON (p.title)",
        "ladybug": "ALTER TABLE Product ADD more STRING",
    },
}
_TRICKS = {
    "a statement behind a statement": "MATCH (u:User) RETURN u.user_id AS x; MATCH (n) DETACH DELETE n",
    "a statement behind a comment": "RETURN 1 AS x // '\n; MATCH (n) DETACH DELETE n // '",
    "a statement between comments": "RETURN 1 AS x /* ' */ ; CREATE (:User {user_id: 'x'}) /* ' */",
    "a keyword cut by a comment": "MATCH (n) DE/**/TACH DELETE n",
    "a keyword as an escape": r"MATCH (n) DET\u0041CH DELETE n",
    "a keyword in wide letters": "ＣＲＥＡＴＥ (:User {user_id: 'x'})",
    "a blank that is none": "MATCH (n)\u00a0DETACH\u00a0DELETE\u00a0n",
    "a quote that turns the line": "RETURN '\u202e' AS x; MATCH (n) DETACH DELETE n",
    "a quote that is escaped": r"RETURN 'a\\' AS x; MATCH (n) DETACH DELETE n //'",
    "a transaction ended": {"neo4j": "COMMIT", "ladybug": "ROLLBACK"},
    "another database": {"neo4j": "USE system SHOW USERS", "ladybug": "USE `FILE`"},
    "a user more": {"neo4j": "CREATE USER eve SET PASSWORD 'password1'", "ladybug": "CALL timeout = 0"},
}
_OUTSIDE = {
    "a file": {"neo4j": "LOAD CSV FROM 'file://FILE' AS r RETURN r", "ladybug": "LOAD FROM 'FILE' RETURN *"},
    "a file in a subquery": {
        "neo4j": "MATCH (u:User) CALL (u) { LOAD CSV FROM 'file://FILE' AS r RETURN r } RETURN r",
        "ladybug": "MATCH (u:User) CALL { LOAD FROM 'FILE' RETURN * } RETURN 1 AS x",
    },
    "a file written": {
        "neo4j": "CALL apoc.export.csv.all('FILE.csv', {}) YIELD file RETURN file",
        "ladybug": "COPY (MATCH (u:User) RETURN u.user_id) TO 'FILE.csv'",
    },
    "a file by a function": {
        "neo4j": "RETURN apoc.load.csv('file://FILE') AS x",
        "ladybug": f"CALL read_csv_auto('FILE') {_CSV} RETURN *",
    },
    "a dump": {
        "neo4j": "CALL apoc.export.cypher.all('FILE.d', {}) YIELD file RETURN file",
        "ladybug": "EXPORT DATABASE 'FILE.d'",
    },
    "an address": {
        "neo4j": "LOAD CSV WITH HEADERS FROM 'ADDRESS' AS r RETURN r",
        "ladybug": f"LOAD FROM 'ADDRESS' {_CSV} RETURN *",
    },
    "an extension": {
        "neo4j": "CALL apoc.load.jdbc('ADDRESS', 'x') YIELD row RETURN row",
        "ladybug": "INSTALL httpfs FROM 'ADDRESS'",
    },
    "another store": {
        "neo4j": "CALL apoc.bolt.execute('ADDRESS', 'RETURN 1', {}) YIELD row RETURN row",
        "ladybug": "ATTACH 'FILE' AS x (dbtype duckdb)",
    },
    "the server's settings": {
        "neo4j": "CALL dbms.listConfig() YIELD name, value RETURN name, value",
        "ladybug": "CALL buffer_pool_size = 1",
    },
    "a procedure that changes": {
        "neo4j": "CALL dbms.security.createUser('eve', 'password1')",
        "ladybug": "CALL create_vector_index('Product', 'i', 'title')",
    },
}
REFUSED_BY_BOTH = _HIDDEN_WRITES | _TRICKS | _OUTSIDE
_TEN = ", ".join(f"(n{i})" for i in range(10))
_MANY = "range(1, 1000000000)"
LARGE_FOR_BOTH = {
    "everything times everything": f"MATCH {_TEN} RETURN count(*) AS n",
    "everything times everything, sorted": f"MATCH {_TEN} RETURN n0.title AS x ORDER BY x, n9.title LIMIT 5",
    "a long list": f"RETURN size({_MANY}) AS n",
    "a long list of texts": {
        "neo4j": f"RETURN [i IN {_MANY} | toString(i)] AS x",
        "ladybug": f"RETURN list_transform({_MANY}, i -> CAST(i AS STRING)) AS x",
    },
    "a long collection": f"UNWIND {_MANY} AS i RETURN size(collect(i)) AS n",
    "many kinds of rows": f"UNWIND {_MANY} AS i RETURN i % 100000000 AS k, count(*) AS n ORDER BY n LIMIT 1",
    "many rows": f"UNWIND {_MANY} AS i RETURN i",
    "a text that grows": {
        "neo4j": "RETURN size(reduce(s = 'x', i IN range(1, 40) | s + s)) AS n",
        "ladybug": "UNWIND range(1, 100000) AS i RETURN size(repeat('x', 100000000)) + i AS n",
    },
    "paths without an end": "MATCH (a)-[*1..30]-(b)-[*1..30]-(c)-[*1..30]-(d) RETURN count(*) AS n",
    "an expression that tries every way": {
        "neo4j": "RETURN reduce(s = '', i IN range(1, 60) | s + 'a') =~ '(a+)+\\\\1c' AS x",
        "ladybug": "RETURN regexp_matches(repeat('a', 10000000), '(a+)+(a|aa)+b') AS x",
    },
    "loops in loops": {
        "neo4j": f"RETURN any(i IN {_MANY} WHERE any(j IN {_MANY} WHERE i + j < 0)) AS x",
        "ladybug": "RETURN list_any_value(list_filter(range(1, 100000), i -> "
        "size(list_filter(range(1, 100000), j -> i + j < 0)) > 0)) AS x",
    },
    "a condition of 4,000 words": "MATCH (n) WHERE "
    + " OR ".join(["n.title = 'x'"] * 1000)
    + " RETURN 1 AS x",
}
# Values in a parameter: they come back as they went, or are refused.
HOSTILE_VALUES = {
    "the end of a text": "'}) DETACH DELETE n //",
    "a condition": "x' OR 1 = 1 OR 'x' = 'x",
    "another parameter": "$x; MATCH (n) DETACH DELETE n",
    "an escape": "\\u0027 }) MATCH (n) DETACH DELETE n //",
    "a name's end": "`) DETACH DELETE n //",
    "a file": "file://FILE",
    "a script and a formula": "<script>fetch('ADDRESS')</script>=cmd|' /c calc'!A1",
    "a text that turns": "\u202eLESREVER\u202c",
    "a megabyte": "x" * 2**20,
}


def texts_for(store: str, texts: dict[str, Any]) -> dict[str, str]:
    """The statements of one of the lists above for a store, `neo4j` or `ladybug`."""
    return {name: text if isinstance(text, str) else text[store] for name, text in texts.items()}
