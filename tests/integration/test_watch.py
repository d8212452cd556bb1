"""Statements into windows, whatever their order, lateness or clock; restarts; what is no statement."""

from __future__ import annotations

import csv
import io
import json
import random
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from _statements import Row, lines, planted
from hypothesis import given, settings
from hypothesis import strategies as st

from kgdistill.errors import ArtefactError, InputError, KgdistillError
from kgdistill.tasks.alerts import Alerts
from kgdistill.tasks.spec import ClassifySpec, load_task
from kgdistill.watch import session
from kgdistill.watch.clock import Clock
from kgdistill.watch.lines import records
from kgdistill.watch.page import page_html
from kgdistill.watch.session import Outcome, Session, Sinks, watch_file
from kgdistill.watch.statements import LineError, Statement, StatementReader
from kgdistill.watch.watcher import MOST_TOPICS, OTHER_TOPICS, Alert, Watcher

DAY = 86_400
ROWS = planted()


def alerts() -> Alerts:
    spec = load_task("sentiment")
    assert isinstance(spec, ClassifySpec)
    assert spec.alerts is not None
    return spec.alerts


def statements(rows: list[Row]) -> list[Statement]:
    reader = StatementReader("jsonl")
    found = [reader.statement(r) for r in records(io.BytesIO(lines(rows).encode()), "jsonl") if r is not None]
    return [s for s in found if s is not None]


def told(rows: list[Row], **changed: object) -> list[Alert]:
    watcher = Watcher(alerts().changed(dict(changed)))
    return [*watcher.feed(statements(rows))[0], *watcher.finish()[0]]


STREAM = statements(ROWS)
WHOLE = told(ROWS)


def write(file: Path, rows: list[Row], *more: str) -> Path:
    file.write_text(lines(rows) + "".join(more), encoding="utf-8")
    return file


def test_a_planted_surge_is_told_with_its_topic_and_counts() -> None:
    begun, over = WHOLE
    assert (begun.kind, begun.topic, over.kind, over.topic) == ("surge", "tea", "over", "tea")
    assert "2024-01-06T00:00" < begun.until <= "2024-01-06T08:00"
    assert "2024-01-07T00:00" < over.until <= "2024-01-07T14:00"
    seen = [r for r in ROWS if r["topic"] == "tea" and begun.since <= r["at"] < begun.until]
    assert begun.statements == len(seen)
    assert begun.negatives == sum(r["sentiment"] == "negative" for r in seen)
    assert begun.negatives > 2 * begun.expected
    assert "tea: a surge of negatives" in begun.sentence()


def test_without_a_surge_or_of_another_class_there_is_none() -> None:
    assert told(planted(surge=None)) == []
    assert told(ROWS, bad="furious") == []


# Windows ------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10_000))
@settings(max_examples=8)
def test_the_order_within_a_window_changes_nothing(seed: int) -> None:
    shuffle = random.Random(seed)
    by_hour: dict[str, list[Row]] = {}
    for row in ROWS:
        by_hour.setdefault(row["at"][:13], []).append(row)
    for rows in by_hour.values():
        shuffle.shuffle(rows)
    assert told([row for rows in by_hour.values() for row in rows]) == WHOLE


def test_topics_stand_in_the_order_of_their_names() -> None:
    first = [row for row in ROWS if row["at"] < "2024-01-01T01"]
    for key in ("topic", "at"):
        watcher = Watcher(alerts())
        watcher.feed(statements(sorted(first, key=lambda row: str(row[key]), reverse=key == "topic")))
        watcher.finish()
        assert watcher.topics == ["cups", "tea"]


@given(cuts=st.lists(st.integers(0, len(ROWS)), max_size=4))
@settings(max_examples=12)
def test_any_split_into_restarts_gives_the_same_alerts(cuts: list[int]) -> None:
    found, kept = list[Alert](), Watcher(alerts()).kept()
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(STREAM)], strict=True):
        watcher = Watcher.restored(json.loads(json.dumps(kept)))
        found += watcher.feed(STREAM[start:end])[0]
        kept = watcher.kept()
    assert [*found, *watcher.finish()[0]] == WHOLE


@given(cuts=st.lists(st.integers(1, len(ROWS)), min_size=1, max_size=3))
@settings(max_examples=8)
def test_a_stream_that_is_sent_again_from_its_start_is_counted_once(cuts: list[int]) -> None:
    found, kept = list[Alert](), Watcher(alerts()).kept()
    for end in [*sorted(cuts), len(STREAM)]:
        watcher = Watcher.restored(json.loads(json.dumps(kept)))
        found += watcher.feed(STREAM[:end])[0]
        kept = watcher.kept()
    assert [*found, *watcher.finish()[0]] == WHOLE
    assert watcher.counts.counted == len(ROWS)


def test_late_statements_count_while_their_window_is_open() -> None:
    rows = [dict(row) for row in ROWS]
    # One of every seven comes ninety minutes late.
    order = sorted(range(len(rows)), key=lambda i: i + (250 if i % 7 == 0 else 0))
    late = [rows[i] for i in order]
    waiting, hasty = Watcher(alerts().changed({"wait": "2d"})), Watcher(alerts())
    found = waiting.feed(statements(late))[0] + waiting.finish()[0]
    assert [a.id for a in found] == [a.id for a in WHOLE]
    assert (waiting.counts.late, waiting.counts.counted) == (0, len(rows))
    hasty.feed(statements(late))
    assert hasty.counts.late > 0
    hasty.finish()
    assert hasty.counts.late + hasty.counts.counted == len(rows)


def test_a_clock_that_jumps_ahead_is_not_believed_alone() -> None:
    rows = [dict(row) for row in ROWS]
    wrong: Row = {"id": "w", "at": "2031-01-01T00:00", "topic": "tea", "sentiment": "negative"}
    for place in (0, 1, 700, 1500):
        watcher = Watcher(alerts())
        found, refused = watcher.feed(statements([*rows[:place], wrong, *rows[place:]]))
        assert found + watcher.finish()[0] == WHOLE
        assert [w.statement.id for w in refused] == ["w"]
        assert "days from all others" in refused[0].reason
    # A gap, in which later ones agree, is believed.
    watcher = Watcher(alerts())
    found, refused = watcher.feed(statements([*rows, *({**wrong, "id": f"w{i}"} for i in range(5))]))
    watcher.finish()
    assert (found[0], refused, watcher.counts.counted) == (WHOLE[0], [], len(rows) + 5)


def test_windows_begin_at_midnight_and_weeks_on_mondays() -> None:
    week = Clock(7 * DAY)
    monday = week.start(week.number(StatementReader("jsonl").time("2024-03-07T13:00")))
    assert monday == StatementReader("jsonl").time("2024-03-04")
    hour = Clock(3600)
    assert hour.start(hour.number(3 * DAY + 3599)) == 3 * DAY


def test_topics_without_number_become_one() -> None:
    rows = [{**row, "topic": f"t{i}"} for i, row in enumerate(planted(days=6, size=9, surge=None))]
    watcher = Watcher(alerts())
    watcher.feed(statements(rows))
    watcher.finish()
    assert len(rows) > MOST_TOPICS + 500
    assert len(watcher.topics) == MOST_TOPICS + 1
    assert watcher.topics[-1] == OTHER_TOPICS
    assert watcher.detector.baseline.statements[-1] > 100
    assert watcher.counts.counted == len(rows)


def test_statements_without_topic_are_counted_apart_and_said() -> None:
    rows = [{k: v for k, v in row.items() if k != "topic" or i % 2} for i, row in enumerate(ROWS)]
    watcher = Watcher(alerts())
    watcher.feed(statements(rows))
    assert watcher.counts.no_topic == -(-len(rows) // 2)
    assert "(no topic)" in watcher.topics


def test_where_no_target_groups_statements_a_line_that_names_its_topic_is_counted_under_it() -> None:
    alone = Watcher(alerts().model_copy(update={"topic": None}))
    told, _ = alone.feed(statements(ROWS))
    assert ([(a.topic, a.kind) for a in told], alone.topics) == (
        [("tea", "surge"), ("tea", "over")], ["cups", "tea"]
    )  # fmt: skip
    bare = Watcher(alerts().model_copy(update={"topic": None}))
    bare.feed(statements([{k: v for k, v in row.items() if k != "topic"} for row in ROWS]))
    assert (bare.topics, bare.counts.no_topic) == (["everything"], 0)


def test_ids_that_repeat_before_the_clock_is_known_are_counted() -> None:
    hours = [("1", "14:03"), ("1", "16:03"), ("1", "16:04"), ("2", "17:04")]
    watcher = Watcher(alerts())
    watcher.feed(
        statements(
            [{"id": i, "at": f"2024-03-05T{h}", "topic": "tea", "sentiment": "negative"} for i, h in hours]
        )
    )
    watcher.finish()
    # As later on, an id counts once in a window.
    assert (watcher.counts.counted, watcher.counts.repeated) == (3, 1)


# Lines --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "want"),
    [
        ("2024-03-05T14:03:00", 1709647380),
        ("2024-03-05T14:03:00Z", 1709647380),
        ("2024-03-05T22:03:00+08:00", 1709647380),
        ("2024-03-05 14:03", 1709647380),
        ("2024/3/5 14:03", 1709647380),
        ("2024年3月5日 14:03", 1709647380),
        ("2024年3月5日14时03分", 1709647380),
        ("2024.03.05 14:03", 1709647380),
        ("05.03.2024 14:03", 1709647380),
        ("5.3.2024, 14:03:00", 1709647380),
        ("5.3.2024", 1709596800),
        ("2024-03-05", 1709596800),
        ("20240305", 1709596800),
        (20240305, 1709596800),
        (1709647380, 1709647380),
        ("1709647380", 1709647380),
        (1709647380123, 1709647380),
    ],
)
def test_times_are_read_as_people_write_them(value: object, want: int) -> None:
    assert StatementReader("jsonl").time(value) == want


def test_times_without_zone_are_of_the_zone_that_is_named() -> None:
    reader = StatementReader("jsonl", zone=ZoneInfo("Asia/Shanghai"))
    assert reader.time("2024-03-05T22:03:00") == 1709647380
    assert reader.time("2024/3/5 22:03") == 1709647380
    assert reader.time("2024-03-05T14:03:00Z") == 1709647380
    assert StatementReader("jsonl", zone=timezone.utc).time(1709647380) == 1709647380


@pytest.mark.parametrize(
    "value",
    [
        "yesterday",
        "2024-13-05",
        "2024-02-30",
        "5.13.2024",
        "5/3/2024",
        "",
        "nan",
        "inf",
        True,
        0,
        -5,
        1e300,
        "9999-01-01",
    ],
)
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(LineError, match=r"is no time such as|lies outside the years"):
        StatementReader("jsonl").time(value)


@pytest.mark.parametrize("value", ["2024030514", 2024030514, "202403051403", "20240305140359", "1990010100"])
def test_what_may_be_a_date_or_a_count_is_refused(value: object) -> None:
    with pytest.raises(LineError, match=f"'{value}' may be a date or a count: write dates as 2024"):
        StatementReader("jsonl").time(value)


def test_a_file_is_read_in_the_encoding_that_is_named(tmp_path: Path) -> None:
    """A sign of GBK ends in bytes that are letters of ASCII; a line that is none is told in its own signs."""
    file, rejects = tmp_path / "s.csv", tmp_path / "rejects.csv"
    mood = {"negative": "差评"}
    rows = "".join(f"{r['at']},{mood.get(r['sentiment'], '好评')},镕{r['topic']}\n" for r in ROWS)
    file.write_bytes(f"时间,评价,主题\n{rows}昨天,差评,镕\n".encode("gb18030"))
    fields = {"at": "时间", "sentiment": "评价", "topic": "主题"}
    reading = StatementReader("csv", fields, encoding="gb18030")
    outcome = watch_file(
        file, alerts().changed({"bad": "差评"}), reading=reading, sinks=Sinks(rejects=rejects)
    )
    assert [a.since for a in outcome.alerts] == [a.since for a in WHOLE]
    assert {a.topic for a in outcome.alerts} == {f"镕{a.topic}" for a in WHOLE}
    assert (outcome.lines, outcome.rejected) == (len(ROWS) + 1, 1)
    assert "昨天,差评,镕" in rejects.read_text(encoding="utf-8")
    for name, says in (("utf-16", "iconv -f utf-16"), ("gb18031", "did you mean 'gb18030'")):
        with pytest.raises(InputError) as raised:
            StatementReader("csv", encoding=name)
        assert says in str(raised.value.hint)


@pytest.mark.parametrize(("value", "want"), [("1989123123", 1989123123), (2024033214, 2024033214)])
def test_a_count_that_is_no_date_is_read(value: object, want: int) -> None:
    assert StatementReader("jsonl").time(value) == want


BAD = [
    (b'{"at": "2024-01-03", "sentiment": "negative"', "is not JSON"),
    (b"[1, 2]", "is no JSON object"),
    (b'{"at": "2024-01-03", "text": "\xff"}', "is not UTF-8 (name what it was written in: --encoding"),
    (b'{"when": "2024-01-03", "sentiment": "negative"}', "has no 'at', the time"),
    (b'{"at": "soon", "sentiment": "negative"}', "'soon' is no time"),
    (b'{"at": "2024-01-03", "text": "late again"}', "no model tells it: give --run or --bundle"),
    (b'{"at": "2024-01-03", "text": "' + b"x" * 1_100_000 + b'"}', "is longer than 1,000,000 bytes"),
    (b"[" * 100_000, "is not JSON"),
    (b'{"at": "2024-01-03", "topic": "\\ud800", "sentiment": "negative"}', "holds half a character"),
    (b'{"at": "2024-01-03", "id": "\\udc00", "sentiment": "negative"}', "holds half a character"),
    (b'{"at": [], "sentiment": "negative"}', "'[]' is no time such as"),
    (b'{"at": null, "sentiment": "negative"}', "has no 'at', the time; --field at=KEY"),
    (b'{"At": "2024-01-03", "sentiment": "negative"}', "the time; did you mean 'At'? --field at=KEY"),
    (b'{"at": "2024010314", "sentiment": "negative"}', "'2024010314' may be a date or a count"),
]  # fmt: skip


def test_every_bad_line_is_counted_and_written_with_its_reason(tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    good = [row.encode() for row in lines(ROWS).splitlines()]
    placed = [line for i, (line, _) in enumerate(BAD) for line in (*good[i * 9 : i * 9 + 9], line)]
    file.write_bytes(b"\n".join([*placed, b"", b"  ", *good[9 * len(BAD) :]]) + b"\r\n")
    outcome = watch_file(file, alerts(), sinks=Sinks(rejects=tmp_path / "rejects.csv"))
    assert outcome.alerts == WHOLE
    assert (outcome.rejected, outcome.empty) == (len(BAD), 2)
    assert outcome.lines == len(ROWS) + len(BAD) + 2
    with (tmp_path / "rejects.csv").open(encoding="utf-8", newline="") as written:
        rows = list(csv.DictReader(written))
    assert [int(row["line"]) for row in rows] == [10 * (i + 1) for i in range(len(BAD))]
    for row, (_, reason) in zip(rows, BAD, strict=True):
        assert reason in row["reason"]


def test_a_line_of_100_kb_is_read(tmp_path: Path) -> None:
    rows = [{**row, "text": "x" * 100_000} if i == 500 else row for i, row in enumerate(ROWS)]
    assert watch_file(write(tmp_path / "s.jsonl", rows), alerts()).alerts == WHOLE


def test_csv_says_the_same(tmp_path: Path) -> None:
    for delimiter in ",;\t":
        file = tmp_path / "s.csv"
        with file.open("w", encoding="utf-8-sig", newline="") as out:
            writer = csv.writer(out, delimiter=delimiter)
            writer.writerow(["topic", "text", "at", "sentiment"])
            for i, row in enumerate(ROWS):
                text = f'said "so",\nand; more\t{i}' if i % 50 == 0 else "so"
                writer.writerow([row["topic"], text, row["at"], row["sentiment"]])
        outcome = watch_file(file, alerts())
        assert (outcome.alerts, outcome.rejected, outcome.lines) == (WHOLE, 0, len(ROWS))
    file.write_text("time,sentiment\n2024-01-01,negative\n")
    with pytest.raises(InputError, match="no column 'at'"):
        watch_file(file, alerts())
    file.write_bytes("时间,情感\n2024-01-01,负面\n".encode("gb18030"))
    with pytest.raises(InputError, match="the header is no text in UTF-8") as raised:
        watch_file(file, alerts())
    assert "--encoding GB18030" in str(raised.value.hint)
    file.write_text(
        "at,sentiment\n2024-01-01,negative\n2024-01-02\n2024-01-02,positive\n2024-01-02,positive\n"
    )
    outcome = watch_file(file, alerts())
    assert outcome.first == "line 3 has 1 values, not 2 as the header"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"PK\x03\x04 zipped", "is no text in UTF-8"),
        (b"\x1f\x8b packed", "is no text in UTF-8"),
        ("statement".encode("utf-16"), "is no text in UTF-8"),
        (b"a poem\nof two lines\n", "none of 2 lines is a statement; the first: line 1 is not JSON"),
        (b'[{"at": 1}]\n', "none of 1 lines is a statement"),
    ],
)
def test_a_file_that_holds_no_statements_is_refused(content: bytes, says: str, tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    file.write_bytes(content)
    with pytest.raises(InputError, match=says):
        watch_file(file, alerts())
    with pytest.raises(InputError, match="cannot be read"):
        watch_file(tmp_path, alerts())
    with pytest.raises(InputError, match="cannot be read: No such file"):
        watch_file(tmp_path / "none.jsonl", alerts())


# Restarts -----------------------------------------------------------------------------------------


@given(cuts=st.lists(st.integers(1, len(ROWS)), max_size=3), middle=st.booleans())
@settings(max_examples=8)
def test_a_file_that_grows_is_read_on(
    cuts: list[int], middle: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("grows")
    sinks = Sinks(folder / "state.json", folder / "alerts.jsonl")
    whole = lines(ROWS).encode()
    ends = [len(lines(ROWS[:cut]).encode()) + (7 if middle else 0) for cut in sorted(cuts)]
    found = []
    for end in [*ends, len(whole)]:
        (folder / "s.jsonl").write_bytes(whole[: min(end, len(whole))])
        found += watch_file(folder / "s.jsonl", alerts(), sinks=sinks).alerts
        again = watch_file(folder / "s.jsonl", alerts(), sinks=sinks)
        assert (again.alerts, again.lines) == ([], 0)
    assert found == [a for a in WHOLE if a in found]
    assert [a.kind for a in found] == ["surge", "over"]
    written = (folder / "alerts.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in written] == [a.id for a in found]
    assert again.watcher.counts.counted == len(ROWS)


def test_another_file_under_the_same_name_is_refused(tmp_path: Path) -> None:
    sinks = Sinks(tmp_path / "state.json")
    file = write(tmp_path / "s.jsonl", ROWS[:500])
    watch_file(file, alerts(), sinks=sinks)
    before = (tmp_path / "state.json").read_bytes()
    with pytest.raises(InputError, match="does not begin with the lines that were read before"):
        watch_file(write(file, ROWS[100:900]), alerts(), sinks=sinks)
    assert (tmp_path / "state.json").read_bytes() == before
    # Ids tell the same statements under another name.
    outcome = watch_file(write(tmp_path / "t.jsonl", ROWS), alerts(), sinks=sinks)
    assert outcome.watcher.counts.counted == len(ROWS)


def test_a_file_that_became_shorter_is_refused(tmp_path: Path) -> None:
    sinks = Sinks(tmp_path / "state.json")
    watch_file(write(tmp_path / "s.jsonl", ROWS[:500]), alerts(), sinks=sinks)
    with pytest.raises(InputError, match="is shorter than what was read"):
        watch_file(write(tmp_path / "s.jsonl", ROWS[:400]), alerts(), sinks=sinks)


def test_what_was_written_after_the_last_state_is_written_again_once(tmp_path: Path) -> None:
    sinks = Sinks(tmp_path / "state.json", tmp_path / "alerts.jsonl", tmp_path / "rejects.csv")
    half = next(i for i, r in enumerate(ROWS) if r["at"] > WHOLE[0].until)
    file = write(tmp_path / "s.jsonl", ROWS[: half - 40])
    watch_file(file, alerts(), sinks=sinks)
    # As a process leaves it that was killed after it wrote and before it kept its state.
    for name in ("alerts.jsonl", "rejects.csv"):
        with (tmp_path / name).open("a") as out:
            out.write("what was not kept\n")
    watch_file(write(file, ROWS, "nonsense\n"), alerts(), sinks=sinks)
    written = (tmp_path / "alerts.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in written] == [a.id for a in WHOLE]
    assert len((tmp_path / "rejects.csv").read_text(encoding="utf-8").splitlines()) == 2


@pytest.mark.parametrize("out", [False, True])
@pytest.mark.parametrize("pause", [5.0, 0.0])
def test_a_refused_file_is_read_anew_by_the_corrected_call(
    out: bool, pause: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_SAVE_S", pause)
    rows = [{"when" if key == "at" else key: value for key, value in row.items()} for row in ROWS]
    file = write(tmp_path / "s.jsonl", rows)
    sinks = Sinks(tmp_path / "state.json", tmp_path / "alerts.jsonl" if out else None)
    with pytest.raises(InputError, match=f"none of {len(ROWS):,} lines is a statement"):
        watch_file(file, alerts(), sinks=sinks)
    corrected = StatementReader("jsonl", {"at": "when"}, where=str(file))
    assert watch_file(file, alerts(), sinks=sinks, reading=corrected).watcher.counts.counted == len(ROWS)
    # What is added and is none does not pass for read either.
    write(file, rows, '{"id": "z", "at": "2025-01-01", "sentiment": "negative"}\n')
    with pytest.raises(InputError, match="none of 1 lines is a statement"):
        watch_file(file, alerts(), sinks=sinks, reading=corrected)
    given = StatementReader("jsonl", where=str(file))
    assert watch_file(file, alerts(), sinks=sinks, reading=given).lines == 1


@pytest.mark.parametrize("content", ["", "\n \n"])
@pytest.mark.parametrize("name", ["s.jsonl", "s.csv"])
def test_no_statement_at_all_is_refused(name: str, content: str, tmp_path: Path) -> None:
    file, sinks = tmp_path / name, Sinks(tmp_path / "state.json")
    content = "at,sentiment\n" + content if name == "s.csv" else content
    file.write_text(content)
    for sink in (None, sinks):
        with pytest.raises(InputError, match="holds no statement"):
            watch_file(file, alerts(), sinks=sink)
    for sink in (None, sinks):
        with pytest.raises(InputError, match="holds no statement"):
            Session(alerts(), StatementReader("jsonl"), sinks=sink).read(io.BytesIO(b""), stream=True)
    more = '{"at": "2024-01-01", "sentiment": "negative"}\n' if name == "s.jsonl" else "2024-01-01,negative\n"
    file.write_text(content + more)
    watch_file(file, alerts(), sinks=sinks)
    # A state has read it: nothing more is nothing wrong.
    assert watch_file(file, alerts(), sinks=sinks).lines == 0
    file.write_text(content + more + "\n")
    assert watch_file(file, alerts(), sinks=sinks).empty == 1


def test_alerts_of_another_state_are_not_written_over(tmp_path: Path) -> None:
    out = tmp_path / "alerts.jsonl"
    watch_file(write(tmp_path / "s.jsonl", ROWS), alerts(), sinks=Sinks(tmp_path / "state.json", out))
    written = out.read_bytes()
    with pytest.raises(InputError, match="holds lines that this state did not write"):
        watch_file(tmp_path / "s.jsonl", alerts(), sinks=Sinks(tmp_path / "other.json", out))
    assert out.read_bytes() == written != b""


def test_what_was_written_before_the_first_state_is_known(tmp_path: Path) -> None:
    """Killed right after its first alert."""
    sinks = Sinks(tmp_path / "state.json", tmp_path / "alerts.jsonl")
    file = write(tmp_path / "s.jsonl", ROWS)

    def killed(_: Alert) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch_file(file, alerts(), sinks=sinks, tell=killed)
    assert (tmp_path / "alerts.jsonl").read_bytes()
    assert watch_file(file, alerts(), sinks=sinks).alerts == WHOLE
    written = (tmp_path / "alerts.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in written] == [a.id for a in WHOLE]


def test_what_has_a_wrong_clock_is_shown_as_it_stands(tmp_path: Path) -> None:
    """Held over a restart too, and where it lies before all others."""
    old: Row = {"id": "w", "at": "1976-01-01T00:00", "topic": "tea", "sentiment": "negative"}
    sinks = Sinks(tmp_path / "state.json", rejects=tmp_path / "rejects.csv")
    file = write(tmp_path / "s.jsonl", [old])
    watch_file(file, alerts(), sinks=sinks)
    watch_file(write(file, [old, *ROWS[:9]]), alerts(), sinks=sinks)
    with (tmp_path / "rejects.csv").open(encoding="utf-8", newline="") as written:
        (row,) = csv.DictReader(written)
    assert (row["line"], json.loads(row["value"])) == ("1", old)
    assert row["reason"] == "its time lies more than 30 days from all others"


def _read(stream: list[Row], sinks: Sinks) -> Outcome:
    watching = Session(alerts(), StatementReader("jsonl"), sinks=sinks)
    return watching.read(io.BytesIO(lines(stream).encode()), stream=True)


def test_a_stream_with_a_state_needs_ids(tmp_path: Path) -> None:
    sinks = Sinks(tmp_path / "state.json")
    without = [{k: v for k, v in row.items() if k != "id"} for row in ROWS]
    with pytest.raises(InputError, match="has no id"):
        _read(without, sinks)
    assert _read(without, Sinks()).alerts == WHOLE
    assert _read(ROWS, Sinks(tmp_path / "other.json")).alerts == WHOLE


@pytest.mark.parametrize(
    "damage",
    [
        "", "{}", '{"format": 1}', '{"format": 1, "watcher": {"alerts": 3}}', "[]", '{"format": 2}', "\x00",
        '{"format": 2, "watcher": {"alerts": 3}}', '{"format": 3}',
    ],
)  # fmt: skip
def test_a_damaged_state_is_refused(damage: str, tmp_path: Path) -> None:
    file = write(tmp_path / "s.jsonl", ROWS[:50])
    (tmp_path / "state.json").write_text(damage)
    with pytest.raises(ArtefactError, match="is no state of a watch"):
        watch_file(file, alerts(), sinks=Sinks(tmp_path / "state.json"))
    assert (tmp_path / "state.json").read_text() == damage


def test_a_state_of_another_version_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    file, state = write(tmp_path / "s.jsonl", ROWS[:50]), tmp_path / "state.json"
    for text, said in (('{"format": 1}', "another version wrote it"), ("[]", "it holds something else")):
        state.write_text(text)
        with pytest.raises(ArtefactError, match=said):
            watch_file(file, alerts(), sinks=Sinks(state))


@pytest.mark.parametrize(
    ("place", "damage"),
    [
        (("files",), []), (("files",), {"b.jsonl": "x"}), (("files",), None), (("written",), {"out:x": "1"}),
        (("watcher", "latest"), "x"), (("watcher", "window"), "x"), (("watcher", "topics"), [1]),
        (("watcher", "counts", "late"), "1"), (("watcher", "open"), {"x": []}),
        (("watcher", "open"), {"x": [{}, []]}), (("watcher", "held"), [{"at": "x"}]),
        (("watcher", "detector", "since"), [None, None]), (("watcher", "curves", "tea"), [[1, 2]]),
    ],
)  # fmt: skip
def test_a_state_of_the_wrong_types_is_refused(
    place: tuple[str, ...], damage: object, tmp_path: Path
) -> None:
    file, state = write(tmp_path / "s.jsonl", ROWS[:500]), tmp_path / "state.json"
    watch_file(file, alerts(), sinks=Sinks(state))
    kept = json.loads(state.read_text())
    holds = kept
    for key in place[:-1]:
        holds = holds[key]
    assert place[-1] in holds
    holds[place[-1]] = damage
    state.write_text(json.dumps(kept))
    with pytest.raises(ArtefactError, match="is no state of a watch"):
        watch_file(file, alerts(), sinks=Sinks(state))
    assert json.loads(state.read_text()) == kept


def test_a_state_of_other_alerts_or_in_use_is_refused(tmp_path: Path) -> None:
    file, state = write(tmp_path / "s.jsonl", ROWS[:50]), tmp_path / "state.json"
    watch_file(file, alerts(), sinks=Sinks(state))
    with pytest.raises(InputError, match="was kept for window 60, not 1440"):
        watch_file(file, alerts().changed({"window": "1d"}), sinks=Sinks(state))

    def nested(_: Alert) -> None:
        watch_file(write(tmp_path / "t.jsonl", ROWS), alerts(), sinks=Sinks(tmp_path / "mine.json"))

    with pytest.raises(KgdistillError, match="another process is watching"):
        watch_file(
            write(tmp_path / "u.jsonl", ROWS), alerts(), sinks=Sinks(tmp_path / "mine.json"), tell=nested
        )


# Declared -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "place", "says"),
    [
        ({"window": "7min"}, "--window", "divides no day"),
        ({"window": "soon"}, "--window", "is no duration"),
        ({"window": "29d"}, "--window", "divides no day"),
        ({"false_alarms": 0}, "--false-alarms", "greater than 0"),
        ({"min_count": 0}, "--min-count", "greater than or equal to 1"),
        ({"memory": "1min"}, "--memory", "too short or too long"),
    ],
)
def test_options_that_cannot_be_are_named(changed: dict[str, object], place: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        alerts().changed(changed)
    assert caught.value.where == place


def test_days_begin_at_midnight_of_the_zone_and_end_with_their_clocks() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    day = Clock(DAY, zone=berlin)
    # 25 hours on the last Sunday of October, 23 on that of March.
    for text, hours in (("2024-10-27", 25), ("2024-03-31", 23), ("2024-07-01", 24)):
        begin = int(datetime.fromisoformat(text).replace(tzinfo=berlin).timestamp())
        number = day.number(begin)
        assert (day.start(number), day.start(number + 1)) == (begin, begin + hours * 3600)
        assert (day.number(begin - 1), day.number(begin + hours * 3600 - 1)) == (number - 1, number)
    # Shorter windows are those of UTC: an hour comes twice on a clock.
    assert [Clock(3600, zone=berlin).start(n) for n in (5, 6)] == [Clock(3600).start(n) for n in (5, 6)]


def test_a_state_of_days_is_refused_in_another_zone_and_one_of_hours_goes_on(tmp_path: Path) -> None:
    shanghai = StatementReader("jsonl", zone=ZoneInfo("Asia/Shanghai"))
    utc = StatementReader("jsonl")
    file = write(tmp_path / "s.jsonl", ROWS)
    for window, refused in (("1d", True), ("1h", False)):
        asked = alerts().changed({"window": window})
        sinks = Sinks(tmp_path / f"{window}.json")
        first = watch_file(file, asked, reading=shanghai, sinks=sinks)
        assert {alert.until[11:] for alert in first.alerts} <= {"16:00"} or window == "1h"
        again = StatementReader("jsonl", zone=ZoneInfo("Asia/Shanghai"))
        assert watch_file(file, asked, reading=again, sinks=sinks).before == len(ROWS)
        if refused:
            with pytest.raises(InputError, match="was kept for days of Asia/Shanghai, not UTC"):
                watch_file(file, asked, reading=utc, sinks=sinks)
        else:
            assert watch_file(file, asked, reading=utc, sinks=sinks).before == len(ROWS)


def test_people_are_told_the_times_of_the_zone_and_programs_utc() -> None:
    alert, shanghai = WHOLE[0], ZoneInfo("Asia/Shanghai")
    since, until = (datetime.fromisoformat(t) + timedelta(hours=8) for t in (alert.since, alert.until))
    said = alert.sentence(shanghai)
    assert said.startswith(f"{until.isoformat(timespec='minutes')} tea")
    assert (
        f"from {since.isoformat(timespec='minutes')} to {until.isoformat(timespec='minutes')} Asia/Shanghai"
        in said
    )
    assert json.loads(alert.json())["until"] == alert.until
    watcher = Watcher(alerts(), shanghai)
    watcher.feed(STREAM)
    watcher.finish()
    html = page_html(watcher, "s")
    assert "Until (Asia/Shanghai)" in html
    assert f"<td>{since.isoformat(timespec='minutes')}</td>" in html
