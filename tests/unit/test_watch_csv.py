"""Quotes of a CSV: what they join, those that are letters, and those that do not end."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgdistill.errors import InputError
from kgdistill.tasks.alerts import Alerts
from kgdistill.tasks.spec import ClassifySpec, load_task
from kgdistill.watch import lines
from kgdistill.watch.lines import Line, quote_open, records
from kgdistill.watch.session import Outcome, Sinks, watch_file
from kgdistill.watch.statements import LineError, StatementReader

HEADER = "id,at,topic,sentiment,text\n"


def row(i: int, text: str = "good") -> str:
    return f"{i},2024-03-05T14:{i % 60:02},tea,negative,{text}\n"


def watched(file: Path, content: str, **more: Path) -> Outcome:
    file.write_text(HEADER + content, encoding="utf-8", newline="")
    spec = load_task("sentiment")
    assert isinstance(spec, ClassifySpec)
    assert isinstance(spec.alerts, Alerts)
    return watch_file(file, spec.alerts, sinks=Sinks(**more))


def found(content: str, grows: bool = False) -> list[Line]:
    read = records(io.BytesIO((HEADER + content).encode()), "csv", grows=grows)
    return [record for record in read if record is not None][1:]


@given(texts=st.lists(st.text('a",;\n', max_size=6), min_size=1, max_size=5), quoting=st.sampled_from([0, 1]))
@settings(max_examples=200)
def test_what_csv_writes_is_one_record_a_row(texts: list[str], quoting: int) -> None:
    out = io.StringIO()
    writer = csv.writer(out, quoting=quoting, lineterminator="\n")  # type: ignore[arg-type]
    writer.writerows([["1", "2024-03-05", "tea", "negative", text] for text in texts])
    reader = StatementReader("csv")
    made = [r for r in records(io.BytesIO((HEADER + out.getvalue()).encode()), "csv") if r is not None]
    assert reader.is_header(made[0])
    told = [reader.statement(r) for r in made[1:]]
    assert [s.text if s else None for s in told] == [text.strip() for text in texts]


@given(text=st.text('a",\n', max_size=12))
@settings(max_examples=300)
def test_a_quote_is_open_where_csv_says_so(text: str) -> None:
    """csv would go on reading: a further line joins the last row."""
    rows = list(csv.reader([line + "\n" for line in text.split("\n")]))
    more = list(csv.reader([line + "\n" for line in [*text.split("\n"), "b"]]))
    is_open = False
    for line in text.split("\n"):
        is_open = quote_open(line.encode(), b",", is_open)
    assert is_open == (len(more) == len(rows))


def test_a_quote_within_a_cell_is_a_letter(tmp_path: Path) -> None:
    told = watched(tmp_path / "s.csv", row(1, '5" screen is bad') + "".join(row(i) for i in range(2, 40)))
    assert (told.lines, told.rejected, told.watcher.counts.counted) == (39, 0, 39)


def test_a_quoted_cell_keeps_its_line_breaks() -> None:
    reader = StatementReader("csv")
    reader.is_header(Line(1, HEADER.strip().encode()))
    (record,) = found(row(1, '"so\r\nand ""so"""'))
    statement = reader.statement(record)
    assert statement is not None
    assert statement.text == 'so\nand "so"'


def test_a_quote_that_does_not_end_costs_its_line_alone(tmp_path: Path) -> None:
    content = "".join(row(i, '"bad' if i == 3 else "good") for i in range(40))
    told = watched(tmp_path / "s.csv", content, rejects=tmp_path / "r.csv")
    assert (told.lines, told.rejected, told.watcher.counts.counted) == (40, 1, 39)
    assert told.first == "line 5 holds a quote that does not end"
    assert '"3,2024-03-05T14:03' in (tmp_path / "r.csv").read_text()


def test_with_a_state_an_open_quote_waits_for_what_closes_it(tmp_path: Path) -> None:
    file, state = tmp_path / "s.csv", tmp_path / "state.json"
    begun = row(1) + row(2) + row(3, '"so\nand')[:-1]
    told = watched(file, begun, state=state)
    assert (told.lines, told.unfinished) == (2, 4)
    told = watched(file, begun + "\n", state=state)
    assert (told.lines, told.unfinished) == (0, 4)
    told = watched(file, begun + '\nso"\n' + row(4), state=state)
    assert (told.lines, told.rejected, told.unfinished, told.watcher.counts.counted) == (2, 0, 0, 4)


def test_quotes_that_do_not_end_do_not_join_all_that_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line is looked at twice at most, even where every one opens a quote."""
    monkeypatch.setattr(lines, "LONGEST_LINE", 2000)
    looked = 0
    real = quote_open

    def counted(*args: object) -> bool:
        nonlocal looked
        looked += 1
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(lines, "quote_open", counted)
    # Open after it, whether read by itself or after an open quote.
    content = ['y",z,"w\n'] * 3000 + [row(1)] + [row(2, '"bad')] + [row(i) for i in range(3, 3000)]
    made = found("".join(content))
    assert b"".join((record.raw or b"") + b"\n" for record in made).decode() == "".join(content)
    assert {row(i).strip().encode() for i in range(3, 3000)} <= {record.raw for record in made}
    assert max(len(record.raw or b"") for record in made) <= 2000
    assert looked < 2.1 * len(content)


def _by_hand(content: list[bytes], most: int) -> list[bytes]:
    """Each line with those that its quote reaches over, or alone where that does not end."""
    out, place = [], 0
    while place < len(content):
        end, is_open = place, quote_open(content[place], b",")
        while is_open and end + 1 < len(content):
            end += 1
            is_open = quote_open(content[end], b",", is_open)
        joined = b"\n".join(content[place : end + 1])
        if is_open or len(joined) + 1 > most:
            joined, end = content[place], place
        out.append(joined)
        place = end + 1
    return out


@given(content=st.lists(st.text('a",', max_size=5).map(str.encode), min_size=1, max_size=10))
@settings(max_examples=400)
def test_lines_are_joined_as_far_as_a_quote_reaches(content: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "LONGEST_LINE", 12)
        read = records(io.BytesIO(b"at,b\n" + b"\n".join(content) + b"\n"), "csv")
        made = [record.raw for record in read if record is not None][1:]
    assert made == _by_hand(content, 12)


def test_a_row_of_the_wrong_length_says_what_a_quote_joined() -> None:
    reader = StatementReader("csv")
    reader.is_header(Line(1, HEADER.strip().encode()))
    (record,) = found(row(1, '"so') + row(2, '"so'))
    with pytest.raises(LineError, match="has 6 values") as caught:
        reader.statement(record._replace(raw=(record.raw or b"") + b",x"))
    assert str(caught.value) == "has 6 values, not 5 as the header, over the 2 lines that a quote joins"
    with pytest.raises(LineError, match="is several rows"):
        reader.statement(Line(2, (row(1) + row(2)).strip().encode()))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"id,at\r1,2024-03-05\r2,2024-03-06\r", "the header is not CSV: new-line character"),
        (b"at," + b"x" * 140_000 + b"\n2024-03-05,1\n", "the header is not CSV: field larger than"),
        (b'at,"id\n2024-03-05,1\n', "the header holds a quote that does not end"),
    ],
)
def test_a_header_that_is_none_is_refused(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_bytes(content)
    limit = csv.field_size_limit(131_072)  # of the whole process: reading files into a graph raises it
    try:
        with pytest.raises(InputError, match=says):
            watch_file(tmp_path / "s.csv", load_task("sentiment").alerts)  # type: ignore[union-attr, arg-type]
    finally:
        csv.field_size_limit(limit)
