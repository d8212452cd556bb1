from __future__ import annotations

import gzip
import io
import itertools
import json
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from kgdistill.errors import InputError
from kgdistill.ingest.model import joined_notices
from kgdistill.ingest.readers import (
    Source,
    SourceOptions,
    column_names,
    find_sources,
    fingerprint,
    read_batches,
    spool,
    table_source,
)
from kgdistill.ingest.readers.records import BACKSLASH, MANY_LINES, SWALLOWED

ROWS = [{"id": "u1", "n": "1", "t": None}, {"id": "u2", "n": "2", "t": "é, x"}]
Row = dict[str, Any]


def write(path: Path, data: bytes | str, encoding: str = "utf-8") -> Path:
    path.write_bytes(data if isinstance(data, bytes) else data.encode(encoding))
    return path


def read(
    source: Source | Path, columns: list[str], options: SourceOptions | None = None, block: int = 1 << 20
) -> tuple[list[Row], list[int], list[tuple[int, str]]]:
    """Rows, their lines, and the rejects as (line, reason)."""
    if isinstance(source, Path):
        source = Source(f"s:{source.name}", source, None, options or SourceOptions())
    batches = list(read_batches(source, columns, block_bytes=block))
    rejects = [r for b in batches for r in b.rejects.to_pylist()]
    assert all(b.table.num_rows == len(b.lines) and b.table.column_names == columns for b in batches)
    assert {r["source"] for r in rejects} <= {source.name}
    rows = [row for b in batches for row in b.table.to_pylist()]
    return rows, [int(i) for b in batches for i in b.lines], [(r["line"], r["reason"]) for r in rejects]


def table() -> pa.Table:
    return pa.Table.from_pylist(ROWS)


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(table(), sink)
    return sink.getvalue()


def arrow_file() -> bytes:
    sink = io.BytesIO()
    feather.write_feather(table(), sink)
    return sink.getvalue()


def arrow_stream() -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table().schema) as writer:
        writer.write_table(table())
    return sink.getvalue()


TEXTS = {
    "a.csv": 'id,n,t\nu1,1,\nu2,2,"é, x"\n',
    "a.tsv": "id\tn\tt\nu1\t1\t\nu2\t2\té, x\n",
    "a.inter": "id:token\tn:float\tt:token_seq\nu1\t1\t\nu2\t2\té, x\n",
    "a.jsonl": '{"id": "u1", "n": 1}\n{"id": "u2", "n": 2, "t": "é, x"}\n',
}
BYTES: dict[str, Callable[[], bytes]] = {
    "a.parquet": parquet,
    "a.feather": arrow_file,
    "a.arrow": arrow_stream,
}


@pytest.mark.parametrize("name", [*TEXTS, *BYTES])
@pytest.mark.parametrize("packed", ["", ".gz", ".zst", "hidden gzip"])
def test_every_format_and_compression_gives_the_same_rows(name: str, packed: str, tmp_path: Path) -> None:
    data = TEXTS[name].encode() if name in TEXTS else BYTES[name]()
    if packed == ".zst":
        data = pa.compress(data, "zstd", asbytes=True)
    elif packed:
        data = gzip.compress(data[:20]) + gzip.compress(data[20:])
    path = write(tmp_path / (name + packed.removeprefix("hidden gzip")), data)
    rows, lines, rejects = read(path, ["id", "n", "t"])
    assert rows == ROWS
    assert lines == ([2, 3] if name in ("a.csv", "a.tsv", "a.inter") else [1, 2])
    assert rejects == []
    source = Source("s", path)
    assert column_names(source) == ["id", "n", "t"]
    sizes = [b.size for b in read_batches(source, ["t"])]
    # An Arrow stream may end with a mark of up to 8 bytes.
    assert len(data) - 8 <= sum(sizes) <= fingerprint(source).size == len(data)


def test_a_stray_row_in_a_csv_is_rejected_and_the_rest_is_read(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv",
        b'\xef\xbb\xbfa,b,c\r\n\r\n1,"x\r\n""y""",3\r\n1,2\r\n1,2,3,4\r\n\xff,2,3\r\n1,\0,3\r\n,5" disk,NA',
    )
    options = SourceOptions(null_values=("", "NA"), encoding="utf-8")
    for block in (4, 1 << 20):
        rows, lines, rejects = read(path, ["c", "b", "a"], options, block)
        assert rows == [{"c": "3", "b": 'x\r\n"y"', "a": "1"}, {"c": None, "b": '5" disk', "a": None}]
        assert lines == [3, 9]
        assert rejects == [
            (5, "has 2 values, not 3 as the header"),
            (6, "has 4 values, not 3 as the header"),
            (7, "is not UTF-8 text"),
            (8, "holds a NUL byte"),
        ]


def test_a_whole_record_of_several_lines_that_is_no_text_is_one_reject(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b'id,title\n1,"a\x00\nb\nc"\n2,"d\ne"\n3,"f\nx",4\n5,g\n')
    rows, lines, rejects = read(path, ["id", "title"])
    assert [row["id"] for row in rows] == ["2", "5"]
    assert lines == [5, 9]
    # One that does not fit the header is told line by line.
    uneven = "has 3 values, not 2 as the header"
    assert rejects == [(2, "holds a NUL byte"), (7, uneven), (8, uneven)]


def test_a_bad_row_without_quotes_costs_no_other_row_of_its_block(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", b"a\tb\n1\t\xe9\n\n2\tx\n3\n4\ty\n")
    rows, lines, rejects = read(path, ["a"], SourceOptions(encoding="utf-8"))
    assert [(row["a"], line) for row, line in zip(rows, lines, strict=True)] == [("2", 4), ("4", 6)]
    assert [line for line, _ in rejects] == [2, 5]


def test_encodings_delimiters_and_files_without_a_header_or_quotes(tmp_path: Path) -> None:
    latin = write(tmp_path / "a.csv", "n;v\n1;Käse\n", "latin-1")
    assert read(latin, ["v"], SourceOptions(delimiter=";", encoding="latin-1"))[0] == [{"v": "Käse"}]
    stars = write(tmp_path / "ratings.dat", '1::"a\n2::b\n')
    options = SourceOptions("csv", "::", quote=None, columns=("user", "item"))
    rows, lines, _ = read(stars, ["user", "item"], options)
    assert rows == [{"user": "1", "item": '"a'}, {"user": "2", "item": "b"}]
    assert lines == [1, 2]
    wide = write(tmp_path / "b.csv", '1¦"x¦y"\n')
    assert read(wide, ["b"], SourceOptions(None, "¦", columns=("a", "b")))[0] == [{"b": "x¦y"}]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-16", "utf-16-be", "gb18030", "big5", "shift-jis", "cp1251"]
)
@pytest.mark.parametrize("format", ["csv", "tsv", "jsonl", "recbole"])
def test_every_text_format_is_read_in_the_encoding_that_is_said(
    encoding: str, format: str, tmp_path: Path
) -> None:
    word = "чай" if encoding == "cp1251" else "茶"
    texts = {"csv": f"id,t\nu1,{word}\n", "jsonl": json.dumps({"id": "u1", "t": word}, ensure_ascii=False)}
    path = write(tmp_path / "x", texts.get(format, f"id\tt\nu1\t{word}\n"), encoding)
    # What writes UTF-16 in Python writes its mark too; by that alone the file is known.
    for told in (encoding, None) if encoding in ("utf-8", "utf-16") else (encoding,):
        assert read(path, ["id", "t"], SourceOptions(format, encoding=told))[0] == [{"id": "u1", "t": word}]


def test_lines_before_the_header_are_skipped_and_counted(tmp_path: Path) -> None:
    text = 'Report of "May\r\n\r\nmade by me\r\na,b\r\n1,2\r\n'
    for block in (4, 1 << 20):
        rows, lines, _ = read(write(tmp_path / "a.csv", text), ["b"], SourceOptions(skip_lines=3), block)
        assert (rows, lines) == ([{"b": "2"}], [5])
    lines_of_json = write(tmp_path / "a.jsonl", 'made by me\n{"b": 2}\n')
    assert read(lines_of_json, ["b"], SourceOptions(skip_lines=1))[:2] == ([{"b": "2"}], [2])
    with pytest.raises(InputError, match="has nothing after the 5 lines"):
        read(tmp_path / "a.csv", ["b"], SourceOptions(skip_lines=5))


@pytest.mark.parametrize("line", ["sep=;", "SEP=;", '"sep=;"', "sep=;;;"])
def test_the_line_that_tells_a_spreadsheet_the_delimiter_tells_us_too(line: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", f"\ufeff{line}\r\na;b\r\n1;2,5\r\n")
    assert read(path, ["b"])[:2] == ([{"b": "2,5"}], [3])
    assert column_names(Source("s", path)) == ["a", "b"]
    options = SourceOptions(delimiter=";", columns=("x", "y"))
    assert read(path, ["x"], options)[0] == [{"x": "a"}, {"x": "1"}]


def test_an_escape_makes_text_of_the_character_after_it(tmp_path: Path) -> None:
    text = 'a,b,c\n1,"5\\" pipe, red","x\\\\"\n2,5\\, "six",\\N\n3,plain,N\n'
    options = SourceOptions(escape="\\", null_values=("\\N",))
    for block in (4, 1 << 20):
        rows, lines, rejects = read(write(tmp_path / "a.csv", text), ["b", "c"], options, block)
        assert [tuple(row.values()) for row in rows] == [
            ('5" pipe, red', "x\\"),
            ('5, "six"', None),
            ("plain", "N"),
        ]
        assert (lines, rejects) == ([2, 3, 4], [])


SIGNS = "a,b,c\n"


@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
@pytest.mark.parametrize(
    ("text", "rows", "rejects"),
    [
        # Text after a closing quote.
        ('1,"Best" tea,3\n4,5,6\n', ["5"], {2: "text follows a closing quote; a quote inside"}),
        ('1,"Best" ,3\n4,5,6\n', ["5"], {2: "text follows a closing quote"}),
        ('1,"5\\" pipe",3\n4,5,6\n', ["5"], {2: 'where a backslash escapes quotes, say escape: "\\\\"'}),
        # A quote that opens, and is closed lines later in the middle of a value: each line is a reject.
        (
            '1,"x,2\n\n3,y,4\n5,z 9" w,6\n7,8,9\n',
            ["8"],
            dict.fromkeys([2, 4, 5], "opened on line 2 is closed on line 5"),
        ),
        (
            '1,"two\nlines","x,2\n3,"y",4\n5,6,7\n',
            ["6"],
            dict.fromkeys([2, 3, 4], "opened on line 3 is closed on line 4"),
        ),
        # The same in a row with too many values: as many rejects as lines.
        ('1,"x,2\n3",y,4\n5,6,7\n', ["6"], dict.fromkeys([2, 3], "has 4 values, not 3")),
        # A quote within an unquoted value is text, beside quotes that are none.
        ('1,5" pipe,3\n4,"5"" pipe",6\n7,a "b" c,9\n', ['5" pipe', '5" pipe', 'a "b" c'], {}),
    ],
)
def test_no_line_vanishes_where_a_quote_is_wrong(
    text: str, rows: list[str], rejects: dict[int, str], packed: str, tmp_path: Path
) -> None:
    for newline, block in itertools.product(["\n", "\r\n", "\r"], [3, 1 << 20]):
        data = (SIGNS + text).replace("\n", newline).encode()
        data = gzip.compress(data) if packed == ".gz" else data
        data = pa.compress(data, "zstd", asbytes=True) if packed == ".zst" else data
        got, _, bad = read(write(tmp_path / f"a.csv{packed}", data), ["b"], block=block)
        assert [row["b"] for row in got] == rows
        assert [line for line, _ in bad] == list(rejects)
        assert all(why in reason for (_, reason), why in zip(bad, rejects.values(), strict=True))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        # Two lines that are each like a row.
        ('1,2,"x\n3,4,y"\n5,6,z\n', [(2, SWALLOWED, 1)]),
        ('1,"x,2\n3,y",4\n5,"x,2\n3,y",4\n', [(2, SWALLOWED, 2)]),
        (f'1,2,"{MANY_LINES * "x"}"\n1,2,"' + MANY_LINES * "x\n" + '"\n', [(3, SWALLOWED, 1)]),
        ('1,2,"two\nlines"\n1,2,"three\n\nlines, with a comma"\n', []),
        ('1,"C:\\",3\n', [(2, BACKSLASH, 1)]),
        ('1,C:\\",3\n1,"a \\""b\\"" c",3\n1,"\\",3\n', [(4, BACKSLASH, 1)]),
    ],
)
def test_a_row_that_may_have_swallowed_others_is_told_with_its_line(
    text: str, told: list[tuple[int, str, int]], tmp_path: Path
) -> None:
    for slow, block in itertools.product([False, True], [1, 1 << 20]):
        # A NUL byte in a last row makes the slower parser read the block.
        data = (SIGNS + text + ("1,\0,3\n" if slow else "")).encode()
        source = Source("s", write(tmp_path / "a.csv", data))
        notices = [n for b in read_batches(source, ["a"], block_bytes=block) for n in b.notices]
        assert [(n.line, n.reason, n.rows) for n in joined_notices(notices)] == told


@pytest.mark.parametrize("sign", [",", ";", "\t", "::"])
def test_of_two_columns_two_lines_are_like_rows_where_they_do_not_read_as_text(
    sign: str, tmp_path: Path
) -> None:
    text = 'a,b\n1,"x\n2,y"\n3,z\n4,"x\nred, y"\n5,"x\n6,y"\n'.replace(",", sign)
    for slow, block in itertools.product([False, True], [1, 1 << 20]):
        data = (text + (f"1{sign}\0\n" if slow else "")).encode()
        source = Source("s", write(tmp_path / "a.csv", data), None, SourceOptions(delimiter=sign))
        notices = [n for b in read_batches(source, ["a"], block_bytes=block) for n in b.notices]
        assert [(n.line, n.reason, n.rows) for n in joined_notices(notices)] == [(2, SWALLOWED, 2)]


def test_a_value_of_a_megabyte_is_read_whole(tmp_path: Path) -> None:
    long = "x" * 1_000_000
    for text in (long, f'{long}\n"{long}'):
        field = '"' + text.replace('"', '""') + '"' if "\n" in text else text
        path = write(tmp_path / "a.csv", f"a,b\n1,{field}\n2,y\n")
        rows, lines, _ = read(path, ["b"], block=1 << 16)
        assert [row["b"] for row in rows] == [text, "y"]
        assert lines == [2, 3 + text.count("\n")]


def test_a_header_alone_gives_no_rows(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.csv", "a,b"), ["b"]) == ([], [], [])


def test_json_paths_lists_and_numbers_keep_what_was_written(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        '{"id": 12345678901234567890, "style": {"Color": "red", "n": 1.10}, "images": ["x", {"u": 1.0}]}\n'
        '\n{"id": true, "style.Color": "literal", "images": []}\r\n'
        '{"id": NaN, "images": "one", "style": null}\n',
    )
    rows, lines, rejects = read(path, ["id", "style.Color", "style", "images", "images.0", "images.u"])
    assert [row["id"] for row in rows] == ["12345678901234567890", "true", None]
    assert [row["style.Color"] for row in rows] == ["red", "literal", None]
    assert rows[0]["style"] == '{"Color": "red", "n": 1.10}'
    assert [row["images"] for row in rows] == [["x", '{"u": 1.0}'], [], ["one"]]
    assert [row["images.0"] for row in rows] == ["x", None, None]
    assert rows[0]["images.u"] == [None, "1"]
    assert lines == [1, 3, 4]
    assert rejects == []
    assert column_names(Source("s", path)) == ["id", "style.Color", "style.n", "images", "style"]


def test_every_bad_json_line_is_rejected_with_its_reason(tmp_path: Path) -> None:
    bad = [b'{"a": 1', b"[1]", b'{"a": "\xff"}', rb'{"a": "\ud800"}', b"[" * 100_000, b'{"a": 1} {}']
    path = write(tmp_path / "a.jsonl", b"\n".join([b'{"a": 1}', *bad, b'{"b": 2}']))
    rows, lines, rejects = read(path, ["a"], SourceOptions(encoding="utf-8"))
    assert (rows, lines) == ([{"a": "1"}, {"a": None}], [1, 8])
    assert rejects == [
        (2, "is not JSON: Expecting ',' delimiter"),
        (3, "is not a JSON object"),
        (4, "is not UTF-8 text"),
        (5, "holds half a character (a lone surrogate)"),
        (6, "is nested too deeply"),
        (7, "is not JSON: Extra data"),
    ]


def test_a_whole_number_in_json_is_written_without_fraction_and_exponent(tmp_path: Path) -> None:
    numbers = {
        "11.0": "11",
        "1e3": "1000",
        "-0.0": "0",
        "1.5E1": "15",
        "1.10": "1.10",
        "12345678901234567890.0": "12345678901234567890",
        "1e400": "1e400",
        "1e-400": "1e-400",
        "0e9": "0",
        "1e9999999999999999999999": "1e9999999999999999999999",
        "100": "100",
        '"1e3"': "1e3",
        '"11.0"': "11.0",
        "[1e2, 2.0]": ["100", "2"],
    }
    path = write(
        tmp_path / "a.jsonl", "\n".join(f'{{"id": {number}}}' for number in numbers if "[" not in number)
    )
    rows, _, rejects = read(path, ["id"])
    assert [row["id"] for row in rows] == [text for text in numbers.values() if isinstance(text, str)]
    assert rejects == []
    rows, _, _ = read(write(tmp_path / "b.jsonl", '{"id": [1e2, 2.0]}'), ["id"])
    assert rows == [{"id": ["100", "2"]}]


@pytest.mark.parametrize(
    "line",
    [
        r'{"x": {"size": 1.1}, "s\u0069ze": 1.10}',
        r'{"x\"size": 1.1, "s\u0069ze": 1.10}',
        r'{"x": "\"size\": 1.1", "size" : 1.10}',
        r'{"x\"size": 1.1, "size": 1.10}',
    ],
)
def test_a_number_keeps_its_writing_whatever_is_like_its_name(tmp_path: Path, line: str) -> None:
    rows, _, _ = read(write(tmp_path / "a.jsonl", f'{{"size": 2.50}}\n{line}\n{{"size": 3}}\n'), ["size"])
    assert [row["size"] for row in rows] == ["2.50", "1.10", "3"]


def test_a_name_that_can_be_written_in_two_ways_keeps_its_numbers(tmp_path: Path) -> None:
    text = r'{"x": {"a/b": 1.1}, "a\/b": 1.10}'
    rows, _, _ = read(write(tmp_path / "a.jsonl", text), ["a/b"])
    assert rows == [{"a/b": "1.10"}]


def test_a_number_keeps_its_writing_beside_another_of_its_name(tmp_path: Path) -> None:
    text = '{"x": {"size": 1.1}, "size": 1.10}\n{"size": 1.1, "size": 1.10}\n{"size": 1.10}\n{"size": 1.1}\n'
    rows, _, _ = read(write(tmp_path / "a.jsonl", text), ["size"])
    assert [row["size"] for row in rows] == ["1.10", "1.10", "1.10", "1.1"]


def test_parquet_rows_are_numbered_through_the_file_with_their_row_group(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    rows = [
        {"s": {"a": i, "b": {"c": f"c{i}"}} if i else None, "d": f"d{i % 2}", "t": datetime(2024, 1, 1)}
        for i in range(5)
    ]
    data = pa.Table.from_pylist(rows)
    data = data.set_column(1, "d", data["d"].dictionary_encode())
    pq.write_table(data, path, row_group_size=3)
    batches = list(read_batches(Source("s", path), ["s.b.c", "d", "t"], batch_rows=2))
    assert [b.lines.tolist() for b in batches] == [[1, 2], [3], [4, 5]]
    assert [b.row_group for b in batches] == [0, 0, 1]
    assert pa.concat_tables([b.table for b in batches]).to_pydict() == {
        "s.b.c": [None, "c1", "c2", "c3", "c4"],
        "d": ["d0", "d1", "d0", "d1", "d0"],
        "t": [datetime(2024, 1, 1)] * 5,
    }
    assert batches[0].table.schema.field("d").type == pa.string()
    assert column_names(Source("s", path)) == ["s.a", "s.b.c", "d", "t"]


def test_bytes_in_parquet_that_are_no_text_reject_their_row(tmp_path: Path) -> None:
    bad = pa.array([b"a", b"\xff", None, b"b"]).view(pa.string())
    pq.write_table(pa.table({"v": bad, "n": [1, 2, 3, 4]}), tmp_path / "a.parquet")
    (batch,) = read_batches(Source("s", tmp_path / "a.parquet"), ["n", "v"])
    assert batch.table.to_pydict() == {"n": [1, 3, 4], "v": ["a", None, "b"]}
    assert batch.lines.tolist() == [1, 3, 4]
    (found,) = batch.rejects.to_pylist()
    assert (found["line"], found["row_group"], found["column"]) == (2, 0, "v")


def test_frames_and_tables_are_sources_with_a_hash_of_their_content() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=[7, 9])
    source = table_source("s", frame)
    assert column_names(source) == ["a", "b"]
    assert read(source, ["b", "a"])[:2] == ([{"b": "x", "a": 1}, {"b": None, "a": 2}], [1, 2])
    plain = source.table
    chunks = pa.concat_tables([plain.slice(0, 1), plain.slice(1)])
    digest = fingerprint(source).sha256
    assert fingerprint(table_source("s", chunks)).sha256 == digest
    assert fingerprint(table_source("s", plain.slice(1))).sha256 != digest
    with pytest.raises(InputError, match="not a table"):
        table_source("s", [1])


def test_standard_input_is_spooled_until_its_source_is_gone(tmp_path: Path) -> None:
    data = gzip.compress(b"a\n1\n")
    source = spool("s", io.BytesIO(data), SourceOptions("csv"), tmp_path)
    assert source.name == "s:-"
    assert read(source, ["a"])[0] == read(source, ["a"])[0] == [{"a": "1"}]
    assert len(os.listdir(tmp_path)) == 1
    del source
    assert os.listdir(tmp_path) == []
    with pytest.raises(InputError, match=r"^standard input: has no column 'b'"):
        read(spool("s", io.BytesIO(data), SourceOptions("csv"), tmp_path), ["b"])


def test_patterns_find_files_globs_and_folders_once_each(tmp_path: Path) -> None:
    there = ["b.csv.gz", "a.csv", "day/2/c.parquet", "day/1/d.jsonl.zst", "day/x.txt", "u[1].csv"]
    left_out = ["day/_SUCCESS", "day/_tmp/e.csv", "day/.f.csv", "day/g.csv.part"]
    for name in [*there, *left_out]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "day" / "2" / "loop").symlink_to(tmp_path / "day")

    def names(*patterns: str, options: SourceOptions | None = None) -> list[str]:
        return [s.name for s in find_sources("s", patterns, tmp_path, options)]

    assert names("*.csv*", "a.csv") == ["s:a.csv", "s:b.csv.gz", "s:u[1].csv"]
    assert names("day") == ["s:day/1/d.jsonl.zst", "s:day/2/c.parquet"]
    assert names("day", options=SourceOptions("csv"))[-1] == "s:day/x.txt"
    assert names("**/*.parquet", "u[1].csv") == ["s:day/2/c.parquet", "s:u[1].csv"]
    assert names("day/_tmp/*") == ["s:day/_tmp/e.csv"]
    assert [s.options.format for s in find_sources("s", ["day"], tmp_path)] == ["jsonl", "parquet"]
    with pytest.raises(InputError, match="matches no file"):
        names("a.csv", "no/*.csv")
    assert find_sources("s", ["no/*.csv"], tmp_path, optional=True) == []
    with pytest.raises(InputError, match="tells no format"):
        names("day/x.txt")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.csv")).touch()
    with pytest.raises(InputError, match="name that cannot be written down"):
        names("*.csv")


def cut(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


BIG = b"id,n,t\n" + b"".join(b"u%d,%d,x\n" % (i, i * i) for i in range(20_000))
DAMAGED = {
    "a.csv": (b"", "is empty"),
    "b.csv": (b"\n\r\n", "is empty"),
    "c.csv": (b"id,n,t,id\n", r"the header: has the column 'id' twice\n  rename one.*skip_lines: 1"),
    "d.csv": (b'id,n,t\n1,2,3\n1,"a\nb","c\n1,2,3\n', "line 4: opens a quote that is never closed"),
    "e.csv": (b"id,n,time\n", r"has no column 't'\n  columns: id, n, time"),
    "f.csv": ("id,n,t\n".encode("utf-16-le"), "is UTF-16 without the mark.*\n.*utf-16-le"),
    "g.csv": (gzip.compress(b""), "is empty"),
    "h.csv.gz": (cut(gzip.compress(BIG)), "is cut off"),
    "i.csv.gz": (gzip.compress(BIG)[:-1], "is cut off"),
    "j.csv.gz": (b"id,n,t\n", "is damaged"),
    "k.csv.zst": (cut(pa.compress(BIG, "zstd", asbytes=True)), "is cut off"),
    "l.jsonl": (b"", "is empty"),
    "m.jsonl": (b'{"id": 1, "n": 2, "T": 3}', "has no column 't'\n  did you mean 'T'"),
    "n.jsonl.gz": (cut(gzip.compress(b'{"id": 1, "n": 2, "t": 3}\n' * 9_999)), "is cut off"),
    "o.parquet": (b"", "is empty"),
    "p.parquet": (cut(parquet()), "cannot be read as Parquet"),
    "q.parquet": (parquet().replace(b"u2", b"u3", 1)[:40] + b"\xff" * 40 + parquet()[80:], "row group 0"),
    "r.feather": (cut(arrow_file()), "cannot be read as Arrow"),
    "s.arrow": (cut(arrow_stream()), "cannot be read as Arrow"),
    "t.arrow": (BIG, "cannot be read as Arrow"),
    "u.parquet.gz": (cut(gzip.compress(parquet())), "is cut off"),
    "v.xlsx": (b"PK", "has no known format"),
    "w.csv": (None, "cannot be read: No such file"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_one_refusal_that_names_it(name: str, tmp_path: Path) -> None:
    data, message = DAMAGED[name]
    path = tmp_path / name
    if data is not None:
        write(path, data)
    with pytest.raises(InputError, match=message) as error:
        read(path, ["id", "n", "t"])
    assert error.value.where.startswith(str(path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (SourceOptions(encoding="klingon"), "unknown encoding"),
        (SourceOptions(encoding="base64"), "unknown encoding"),
        (SourceOptions(delimiter=""), "delimiter"),
        (SourceOptions(delimiter="\n"), "delimiter"),
        (SourceOptions(delimiter='"'), "delimiter"),
        (SourceOptions(quote="''"), "quote"),
        (SourceOptions(escape="//"), "escape"),
        (SourceOptions(escape='"'), "escape"),
        (SourceOptions(escape=","), "delimiter"),
        (SourceOptions(columns=("a", "a")), "twice"),
        (SourceOptions(skip_lines=2), "has nothing after the 2 lines that are skipped"),
        (SourceOptions(skip_lines=9, columns=("a",)), "has nothing after the 9 lines that are skipped"),
        (SourceOptions(format="excel"), "unknown format"),
    ],
)
def test_options_that_cannot_be_are_refused(options: SourceOptions, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read(write(tmp_path / "a.csv", "a,b\n1,2\n"), ["a"], options)
