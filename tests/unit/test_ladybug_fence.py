from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgdistill.errors import QueryError
from kgdistill.store import MemoryStore, Schema
from kgdistill.store.cypher_tokens import UnclosedError, tokens
from kgdistill.store.ladybug.fence import about_the_query, readable
from kgdistill.store.ladybug.store import LadybugStore
from kgdistill.store.query.child import RefusedError
from kgdistill.store.schema import NodeType, Property

REFUSED = [
    "LOAD FROM 'f' RETURN *",
    "load\nfrom 'f' return *",
    "LOAD/* a */FROM/* b */'f' RETURN *",
    "LOAD // a\rFROM 'f' RETURN *",
    "/***/ LOAD FROM 'f' RETURN * /* */",
    "/* ' */ LOAD FROM 'f' RETURN * /* ' */",
    "// '\nLOAD FROM 'f' RETURN *",
    "EXPLAIN LOAD FROM 'f' RETURN *",
    "PROFILE LOAD FROM 'f' RETURN *",
    "MATCH (n) LOAD FROM 'f' RETURN *",
    "MATCH (n) WITH n LOAD FROM 'f' RETURN *",
    "UNWIND [1] AS x LOAD FROM ['f'] RETURN *",
    "UNWIND [1] AS load LOAD FROM glob('f') RETURN *",
    "RETURN 1 AS x UNION LOAD FROM 'f' RETURN *",
    "MATCH (n) LOAD WITH HEADERS (a STRING) FROM 'f' RETURN a",
    "MATCH (n) LOAD FROM $f RETURN *",
    "MATCH (n) LOAD FROM df RETURN *",
    "MATCH (n) LOAD 'f' RETURN 1",
    "RETURN 1LOAD FROM 'f' RETURN *",
    "RETURN 'a\\'' AS x UNION LOAD FROM 'f' RETURN *",
    "RETURN \"'\" AS x UNION LOAD FROM 'f' RETURN *",
    "RETURN 1 AS `'` UNION LOAD FROM 'f' RETURN *",
    "CALL read_csv_serial('f') RETURN *",
    "CALL `READ_CSV_PARALLEL`('f') RETURN *",
    "MATCH (n) CALL READ_PARQUET('f') RETURN *",
    "RETURN read_npy('f')",
    "RETURN `read_npy` ('f')",
    "RETURN parquet_scan('f') AS x",
    "CALL threads = 3",
    "CALL `threads`=3",
    "CALL disk_info() RETURN *",
    "CALL current_setting('threads') RETURN *",
    "CALL clear_warnings()",
    "CALL show_tables RETURN *",
    "COPY User FROM 'f'",
    "copy (MATCH (n) RETURN n.id) TO 'f'",
    "EXPORT DATABASE 'f'",
    "IMPORT DATABASE 'f'",
    "ATTACH 'f' AS x (dbtype lbug)",
    "DETACH x",
    "USE x",
    "USE GRAPH x",
    "INSTALL json",
    "FORCE INSTALL json",
    "LOAD EXTENSION json",
    "UPDATE json",
    "BEGIN TRANSACTION",
    "CHECKPOINT",
    "CREATE NODE TABLE X (id STRING PRIMARY KEY)",
    "ANALYZE",
    "`MATCH` (n) RETURN 1",
    "RETURN 1; RETURN 2",
    "RETURN 1; LOAD FROM 'f' RETURN *",
]


@pytest.mark.parametrize("cypher", REFUSED)
def test_what_is_no_plain_reading_is_refused_before_the_engine_sees_it(cypher: str) -> None:
    with pytest.raises(RefusedError, match=r"read-only|several statements"):
        readable(cypher)


@pytest.mark.parametrize("cypher", ["", "  \n", "// nothing", "/* nothing */", ";", "/* ' */ ;"])
def test_a_query_without_words_is_refused(cypher: str) -> None:
    with pytest.raises(RefusedError, match="is empty"):
        readable(cypher)


@pytest.mark.parametrize(
    ("cypher", "says"),
    [
        ("RETURN 'a", "a text that begins in line 1"),
        ('RETURN 1,\n"a', "a text that begins in line 2"),
        ("RETURN `a", "a name in backquotes that begins in line 1"),
        ("RETURN 1 /* a", "a comment that begins in line 1"),
        ("RETURN 'a\\'", "a text that begins in line 1"),
    ],
)
def test_what_has_no_end_is_named(cypher: str, says: str) -> None:
    with pytest.raises(RefusedError, match=says):
        readable(cypher)


@pytest.fixture(scope="module")
def store() -> Iterator[LadybugStore]:
    names = ("load", "copy", "call", "attach", "from", "use", "read_csv")
    properties = {name: Property(type="string") for name in names}
    nodes = {
        "Load": NodeType(name="id", key="id", properties=properties),
        "Export": NodeType(name="export_id", key="export_id", properties=properties),
    }
    with MemoryStore() as opened:
        opened.apply_schema(Schema(version=1, nodes=nodes, relationships={}))
        yield opened


@pytest.mark.parametrize(
    "cypher",
    [
        "MATCH (n:Load) RETURN n.load AS load, n.copy AS copy, n.call, n.attach, n.`from` AS `from`",
        "MATCH (load:Load {load: 'LOAD FROM'}) WITH load WHERE load.copy = 'x' RETURN load.call AS call",
        "MATCH (call:Load) WITH call RETURN (call.call) AS x",
        "MATCH (load:Load), (copy:Export) WHERE load.id = copy.export_id RETURN load.id ORDER BY load.id",
        "MATCH (n:Load|Export) RETURN n.use AS use, n.read_csv AS read_csv",
        "WITH 1 AS load WITH load AS load RETURN load",
        "WITH 1 AS load UNWIND [load] AS call RETURN call",
        "MATCH (n:Load) RETURN count(n) AS load;",
        "RETURN 'LOAD FROM \\'/etc/passwd\\'' AS `copy (x) to`, \"; COPY\" AS y // LOAD FROM 'x'",
        "/* COPY a FROM 'b' */ RETURN 1 AS x /* it's */",
        "RETURN /***/ 1 AS x /* */",
        "RETURN {load: 1, copy: 2} AS x",
        "RETURN 1 AS x ; // done",
        "OPTIONAL MATCH (n:Load) RETURN n.id",
        "CALL show_tables() RETURN name",
        "CALL `TABLE_INFO`('Load') RETURN name",
        "UNWIND [1, 2] AS x RETURN count(x) AS load UNION ALL RETURN 3 AS load",
    ],
)
def test_names_texts_and_comments_may_hold_any_word(store: LadybugStore, cypher: str) -> None:
    store.query(cypher)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_any_text_can_stand_in_quotes(text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    found, plain = tokens(f"RETURN '{quoted}' AS x")
    assert [token.kind for token in found] == ["word", "string", "word", "word"]
    assert plain == f"RETURN '{quoted}' AS x"
    assert readable(plain) == plain


@given(st.text())
def test_the_tokens_and_the_blanks_are_all_of_a_text(text: str) -> None:
    try:
        _, plain = tokens(text)
    except UnclosedError:
        return
    assert len(plain) == len(text)
    assert all(a in (b, " ") for a, b in zip(plain, text, strict=True))


@given(st.text(st.sampled_from("LOAD FROM'\"`/*\n\\$x;()")))
def test_a_text_that_is_let_through_has_no_load_outside_its_quotes(text: str) -> None:
    try:
        plain = readable(f"RETURN 1 {text}")
    except RefusedError:
        return
    found, _ = tokens(plain)
    words = [token.upper for token in found]
    assert ("LOAD", "FROM") not in set(pairwise(words))


@pytest.mark.parametrize(
    "text",
    [
        "Binder exception: No file found that matches the pattern: /etc/nothing.",
        "Binder exception: Cannot infer the format of the given file. Please set the file format",
        "IO exception: Cannot open file /etc/shadow: Permission denied",
        "Copy exception: Error in file /etc/passwd on line 1: expected 1 values. Line content: 'secret'",
        "Conversion exception: Error in file /etc/passwd: secret",
        "Runtime exception: Extension secret",
        "secret",
    ],
)
def test_what_the_engine_says_of_files_is_not_passed_on(text: str) -> None:
    assert about_the_query(text, "RETURN 1").message == "the engine cannot run the query"


@pytest.mark.parametrize(
    ("cypher", "says"),
    [
        ("RETURN x", "Variable x is not in scope"),
        ("MATCH (n:Load) RETURN n.lod", r"Cannot find property lod for n\.\n  did you mean 'load'\?"),
        ("MATCH (n:Lod) RETURN n.id", r"Table Lod does not exist\.\n  did you mean 'Load'\?"),
        ("MATCH (n:Load) RETURN n.zzzz", r"property zzzz for n\.\n  `kgdistill schema` shows all"),
        ("RETURN foo(1)", "function FOO does not exist"),
        ("MATCH ()-[r]->() RETURN type(r)", r"function TYPE does not exist.*\n  this store says label\(r\)"),
        ("RETURN abs('a')", "Function ABS did not receive correct arguments"),
        ("RETURN CAST('abc' AS INT64)", "Could not convert"),
        ("RETURN 1 / 0", "Divide by zero"),
        ("RETURN 9223372036854775807 + 1", "Overflow"),
        ("RETURN 1 +", "Parser exception"),
        ("RETURN 1 AS order", r"Parser exception(.|\n)*\n  order is a word of the language.*`order`"),
        ("MATCH (n:Order) RETURN 1", r"\n  Order is a word of the language"),
        ("MATCH ()-[:FOR]->() RETURN 1", r"\n  FOR is a word of the language.*`FOR`"),
        ("MATCH ()-[:LOADS|FOR]->() RETURN 1", "FOR is a word of the language"),
        ("MATCH (n:Load) RETURN n.group", "group is a word of the language"),
        ("MATCH (end:Load) RETURN 1", "end is a word of the language"),
        ("MATCH (n:Load {options: 1}) RETURN 1", "options is a word of the language"),
        ("MATCH (n:Load) WHERE n.load RETURN 1", "has data type STRING but expected BOOL"),
    ],
)
def test_what_the_engine_says_of_the_query_is_passed_on(store: LadybugStore, cypher: str, says: str) -> None:
    with pytest.raises(QueryError, match=says):
        store.query(cypher)


def test_a_label_is_headed_by_what_was_asked(store: LadybugStore) -> None:
    table = store.query("MATCH (n)-[]->() RETURN label(n), n.load AS load")
    assert table.column_names == ["label(n)", "load"]


# What openCypher reserves, now or later, and what the engine adds.
WORDS = """
    ADD ALL AND AS ASC ASCENDING BY CASE COLUMN CONSTRAINT CONTAINS CREATE DEFAULT DELETE DESC DESCENDING
    DETACH DISTINCT DO DROP ELSE END ENDS EXISTS FALSE FOR GROUP IN INDEX IS JOIN LIMIT MANDATORY MATCH
    MERGE NOT NULL OF ON OPTIONAL OPTIONS OR ORDER PRIMARY PROFILE REMOVE REQUIRE RETURN SCALAR SET SKIP
    STARTS TABLE THEN TRUE UNION UNIQUE UNWIND WHEN WHERE WITH XOR
"""


def test_every_word_that_is_no_name_without_backquotes_is_explained() -> None:
    with MemoryStore() as store:
        for word in WORDS.split():
            for cypher in (f"MATCH (n:{word}) RETURN 1", f"MATCH ()-[:{word.lower()}]->() RETURN 1"):
                with pytest.raises(
                    QueryError, match=f"(?i)({word} is a word of the language|does not exist)"
                ):
                    store.query(cypher)


def test_an_order_that_the_engine_would_drop_before_a_limit_is_refused_and_not_counted_wrong() -> None:
    two = "UNWIND [3, 1, 2] AS x WITH x ORDER BY x LIMIT 2"
    with MemoryStore() as store:
        for rest in ("RETURN sum(x) AS s", "WITH collect(x) AS xs RETURN xs"):
            with pytest.raises(QueryError, match=r"leave out an ORDER BY(.|\n)*UNWIND \[1\] AS one"):
                store.query(f"{two} {rest}")
        assert store.query(f"{two} UNWIND [1] AS one RETURN sum(x) AS s").to_pylist() == [{"s": 3}]
        for cypher, rows in (
            ("UNWIND [3, 1, 2] AS x RETURN x ORDER BY x SKIP 1 LIMIT 1", [2]),
            ("UNWIND [3, 1] AS x RETURN x ORDER BY x LIMIT 1 UNION ALL UNWIND [2] AS x RETURN x", [1, 2]),
            ("UNWIND [3, 1] AS x RETURN count(x) AS n ORDER BY n LIMIT 1", [2]),
            ("UNWIND [3, 1] AS limit RETURN limit ORDER BY limit", [1, 3]),
            ("UNWIND [{skip: 1}] AS x RETURN x.skip AS n ORDER BY x.skip", [1]),
            ("UNWIND [3, 1] AS x WITH x LIMIT 1 RETURN count(x) AS n", [1]),
        ):
            assert sorted(store.query(cypher)[0].to_pylist()) == rows, cypher


def test_what_the_engine_counts_along_a_chain_only_reads() -> None:
    facts = {"kind": "fact", "endpoints": [["A", "A"]]}
    shape = {"version": 1, "nodes": {"A": {"key": "id", "name": "id"}}, "relationships": {"R": facts}}
    with MemoryStore() as store:
        store.apply_schema(Schema.model_validate(shape))
        store.write_nodes("A", pa.table({"id": ["x", "y", "z"]}))
        store.write_relationships(("A", "R", "A"), pa.table({"source": ["x", "y"], "target": ["y", "z"]}))
        cypher = "MATCH (:A)-[:R]->(:A)-[:R]->(:A) RETURN count(*) AS n"
        assert store.query(cypher).to_pylist() == [{"n": 1}]
