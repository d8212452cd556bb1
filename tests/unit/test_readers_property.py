from __future__ import annotations

import csv
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kgdistill.errors import InputError
from kgdistill.ingest.readers import Source, SourceOptions, json_lines, read_batches

BLOCKS = st.sampled_from([1, 2, 3, 5, 8, 13, 40, 1 << 20])
PIECES = ["a", "é", "漢", '"', '""', "\n", "\r\n", "\r", ",", ";", "|", "\t", " ", "\u2028"]
FIELDS = st.lists(st.sampled_from(PIECES), max_size=5).map("".join)


def line_of(text: str) -> int:
    """The line on which what follows this text starts."""
    return text.count("\n") + text.count("\r") - text.count("\r\n") + 1


def filled_lines(text: str, first: int = 1) -> list[int]:
    """The lines of a text that are not blank."""
    lines = enumerate(io.StringIO(text, newline=""), first)
    return [line for line, content in lines if content.strip("\r\n")]


def read(
    data: bytes, options: SourceOptions, columns: list[str], block: int, batch: int
) -> tuple[list[list[Any]], list[int], list[int]]:
    """Rows, their lines, and the lines of the rejects."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x")
        path.write_bytes(data)
        source = Source("x", path, None, options)
        batches = list(read_batches(source, columns, batch_rows=batch, block_bytes=block))
    assert all(b.table.column_names == columns and 0 <= b.table.num_rows <= batch for b in batches)
    rows = [list(row.values()) for b in batches for row in b.table.to_pylist()]
    lines = [int(i) for b in batches for i in b.lines]
    return rows, lines, [i for b in batches for i in b.rejects["line"].to_pylist()]


@given(
    rows=st.lists(st.lists(FIELDS, min_size=2, max_size=4), max_size=8),
    blanks=st.sets(st.integers(0, 8)),
    delimiter=st.sampled_from([",", "\t", "|", ";"]),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "gb18030"]),
    ended=st.booleans(),
    block=BLOCKS,
    batch=st.integers(1, 4),
)
def test_what_a_csv_writer_wrote_comes_back_with_its_lines_at_any_block_size(
    rows: list[list[str]],
    blanks: set[int],
    delimiter: str,
    newline: str,
    encoding: str,
    ended: bool,
    block: int,
    batch: int,
) -> None:
    out = io.StringIO(newline="")
    writer, quoter = (
        csv.writer(out, delimiter=delimiter, lineterminator=newline, quoting=quoting)
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
    )
    writer.writerow(["x", "y", "z"])
    lines, texts = [], [out.getvalue()]
    for i, row in enumerate(rows):
        if i in blanks:
            out.write(newline)
        lines.append(line_of(out.getvalue()))
        # Only the newer writers quote every kind of newline by themselves.
        (quoter if set("".join(row)) & {"\n", "\r"} else writer).writerow(row)
        texts.append(out.getvalue())
    text = out.getvalue()
    text = text if ended else text.removesuffix(newline)
    options = SourceOptions("csv", delimiter, encoding, null_values=())
    got, at, rejects = read(text.encode(encoding), options, ["z", "x"], block, batch)
    good = [i for i, row in enumerate(rows) if len(row) == 3]
    assert got == [[rows[i][2], rows[i][0]] for i in good]
    assert at == [lines[i] for i in good]
    # A row with another number of values is as many rejects as it has lines that are not blank.
    starts = [len(text) for text in texts]
    bad = [i for i in range(len(rows)) if i not in good]
    of_each = [filled_lines(texts[i + 1][starts[i] :].lstrip("\r\n"), lines[i]) for i in bad]
    assert rejects == [line for each in of_each for line in each]


# With so much UTF-8 the file is looked at for no other encoding.
NAMES = ["x", "y", "ß" * 1_500]
RUBBISH = ["a", '"', '""', "::", ":", ",", " ", "\x1f", "\0", "\udcff", "é", "\r"]


@given(
    lines=st.lists(st.lists(st.sampled_from(RUBBISH), max_size=6).map("".join), max_size=10),
    delimiter=st.sampled_from([",", "::"]),
    quote=st.sampled_from(['"', None]),
    block=BLOCKS,
    batch=st.integers(1, 4),
)
@example(lines=['::::"', '\x00"'], delimiter="::", quote='"', block=1, batch=1)
def test_rubbish_is_split_as_the_strict_parser_does_at_any_block_size(
    lines: list[str], delimiter: str, quote: str | None, block: int, batch: int
) -> None:
    text = "\n".join([delimiter.join(NAMES), *lines, ""])
    # The standard parser knows no long delimiters; a last line shows whether a quote is still open.
    plain = (text.replace(",", "\1").replace("::", ",") if delimiter == "::" else text) + "end"
    parser = csv.reader(
        io.StringIO(plain, newline=""),
        quoting=csv.QUOTE_NONE if quote is None else csv.QUOTE_MINIMAL,
        strict=True,
    )
    whole = list(io.StringIO(plain, newline=""))
    wanted: list[tuple[int, list[str]]] = []
    bad: list[int] = []
    start = 1
    row: list[str] | None = []
    while row != ["end"]:
        unclosed = False
        try:
            row = next(parser)
        except StopIteration:
            break
        except csv.Error as error:
            # The lines from the record's first to the one with the fault are left out.
            unclosed, row = "unexpected end" in str(error), None
        all_of_it = "".join(row or "")
        if row is not None and len(row) == 3 and "\0" not in all_of_it and "\udcff" not in all_of_it:
            wanted.append((start, row))
        elif row != []:
            lines_of_it = filled_lines("".join(whole[start - 1 : parser.line_num]), start)
            # With as many values as the header it is one row, however many lines it has.
            bad += lines_of_it[:1] if row is not None and len(row) == 3 else lines_of_it
        start = parser.line_num + 1
        if unclosed:
            break
    data = text.encode("utf-8", "surrogateescape")
    options = SourceOptions("csv", delimiter, "utf-8", quote=quote, null_values=())
    if unclosed:
        with pytest.raises(InputError, match="never closed"):
            read(data, options, NAMES, block, batch)
        return
    rows, good, rejects = read(data, options, NAMES, block, batch)
    if delimiter == "::":
        wanted = [(i, [v.replace(",", "::").replace("\1", ",") for v in row]) for i, row in wanted]
    assert rows == [row for _, row in wanted[1:]]
    assert good == [i for i, _ in wanted[1:]]
    assert rejects == bad[:-1]


PLAIN = st.text("abc ä,\n", max_size=4)


@given(
    rows=st.lists(st.tuples(PLAIN, PLAIN, PLAIN), min_size=1, max_size=8),
    place=st.floats(0, 1),
    delimiter=st.sampled_from([",", "\t", "::"]),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    block=BLOCKS,
)
def test_a_quote_too_many_loses_no_line_without_a_word(
    rows: list[tuple[str, str, str]], place: float, delimiter: str, newline: str, block: int
) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter="\1", lineterminator=newline)
    writer.writerows(tuple(cell.replace("\n", newline) for cell in row) for row in rows)
    body = out.getvalue()
    at = round(place * len(body))
    # Not between the halves of one line's end.
    at -= body[at - 1 : at + 1] == "\r\n"
    body = (body[:at] + '"' + body[at:]).replace("\1", delimiter)
    text = delimiter.join("xyz") + newline + body
    options = SourceOptions("csv", delimiter, null_values=())
    try:
        got, starts, rejects = read(text.encode(), options, ["x", "y", "z"], block, 10)
    except InputError:
        with pytest.raises(InputError, match="never closed"):
            read(text.encode(), options, ["x", "y", "z"], block, 10)
        return
    # A row goes on to where the next row or reject starts; each of its values is on lines of its own.
    kept = [line for row, line in zip(got, starts, strict=True) for line in lines_of(row, line, newline)]
    assert sorted({*kept, *rejects} & {*filled_lines(text)} - {1}) == filled_lines(text)[1:]


def lines_of(row: list[str], first: int, newline: str) -> range:
    return range(first, first + "".join(row).count(newline) + 1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=6,
)


@given(values=st.lists(st.tuples(JSON, st.booleans())), block=BLOCKS, batch=st.integers(1, 4))
def test_every_line_of_json_is_a_row_or_a_reject_at_any_block_size(
    values: list[tuple[Any, bool]], block: int, batch: int
) -> None:
    texts = [json.dumps({"v": value}) if good else json.dumps(value)[:-1] + "{" for value, good in values]
    data = "\n".join([json.dumps({"v": "first"}), *texts]).encode()
    rows, good, bad = read(data, SourceOptions("jsonl"), ["v"], block, batch)
    assert good == [1, *(i for i, (_, is_good) in enumerate(values, 2) if is_good)]
    assert bad == [i for i, (_, is_good) in enumerate(values, 2) if not is_good]
    wanted = ["first", *(value for value, is_good in values if is_good)]
    for (got,), value in zip(rows, wanted, strict=True):
        if value is None or isinstance(value, str):
            assert got == value or got == [value]
        elif isinstance(value, list):
            assert len(got) == len(value)
        else:
            assert json.loads(got[0] if isinstance(got, list) else got) == value


NUMBERS = st.one_of(
    st.sampled_from(
        [
            "0",
            "-0",
            "-0.0",
            "1.10",
            "1.1",
            "11.0",
            "1e3",
            "1E+2",
            "12345678901234567890",
            "NaN",
            "1e400",
            "-Infinity",
        ]
    ),
    st.from_regex(r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)
CELLS = st.recursive(
    st.one_of(
        NUMBERS,
        st.sampled_from(["true", "null", '"\\ud800"', '"\\u00e9"', '"1.0"']),
        st.text().map(json.dumps),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda cells: f"[{', '.join(cells)}]"),
        st.lists(st.tuples(st.sampled_from(["a", "b", "a.b"]), inner), max_size=3).map(
            lambda pairs: "{" + ",".join(f'"{name}": {cell}' for name, cell in pairs) + "}"
        ),
    ),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.lists(st.tuples(st.sampled_from(["a", "b", "a.b"]), CELLS), max_size=4), max_size=5),
    space=st.sampled_from(["", " ", "\t", "\u00a0"]),
    columns=st.sampled_from([["a", "b"], ["a", "a.b"]]),
)
def test_the_faster_json_parser_reads_what_the_standard_one_does(
    rows: list[list[tuple[str, str]]], space: str, columns: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["{" + ",".join(f'"{name}":{space}{cell}' for name, cell in row) + "}" for row in rows]
    data = "\n".join(['{"a": "x", "b": {"b": 1}}', *lines]).encode("utf-8", "surrogatepass")
    options = SourceOptions("jsonl", encoding="utf-8")
    fast = read(data, options, columns, 1 << 20, 100)
    with monkeypatch.context() as patch:
        patch.setattr(json_lines, "_objects", lambda lines: [None] * len(lines))
        assert read(data, options, columns, 1 << 20, 100) == fast
