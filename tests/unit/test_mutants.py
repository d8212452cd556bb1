"""The table of faults that bench/mutants.py makes: each can still be made, and names tests that are there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from _load_script import load_script

ROOT = Path(__file__).parents[2]
mutants = load_script("bench/mutants.py")


@pytest.mark.parametrize("mutant", mutants.table(), ids=lambda m: m.name)
def test_the_fault_can_be_made_and_its_tests_are_there(mutant) -> None:  # type: ignore[no-untyped-def]
    broken = mutant.broken(ROOT)
    assert broken != (ROOT / mutant.file).read_text(encoding="utf-8")
    compile(broken, mutant.file, "exec")
    assert mutant.why
    for test in mutant.tests:
        file, *name = test.split("::")
        text = (ROOT / file).read_text(encoding="utf-8")
        assert all(f"def {part.split('[')[0]}" in text for part in name)


def test_there_are_enough_of_them_and_few_may_survive() -> None:
    table = mutants.table()
    assert len(table) >= 60
    assert len({m.name for m in table}) == len(table)
    assert len([m for m in table if m.survives]) <= mutants.MOST_SURVIVE


def test_an_old_text_that_is_gone_or_stands_twice_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("a = 1\na = 1\n", encoding="utf-8")
    for old, times in (("a = 1", 2), ("b = 1", 0)):
        mutant = mutants.Mutant("it", "module.py", old, "c = 1", (), "because")
        with pytest.raises(ValueError, match=f"stands {times} times in module.py"):
            mutant.broken(tmp_path)


def test_tests_that_fail_by_themselves_kill_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "module.py").write_text("a = 1\n", encoding="utf-8")
    asked: list[tuple[str, ...]] = []

    def failing(folder: Path, tests: Any) -> str | None:
        asked.append(tuple(tests))
        file = folder / "module.py"
        broken = file.is_file() and "c = 1" in file.read_text(encoding="utf-8")
        return "it" if broken or "red" in tests else None

    monkeypatch.setattr(mutants, "failing", failing)
    faults = [
        mutants.Mutant(name, "module.py", "a = 1", "c = 1", tests, "because")
        for name, tests in (("one", ("a", "b")), ("two", ("b", "c")), ("three", ("a",)), ("four", ("red",)))
    ]
    done = mutants.outcomes(faults, tmp_path)
    assert [next(done).killed for _ in range(3)] == [True, True, True]
    # Each test is tried once as it is.
    assert asked == [("a", "b"), ("a", "b"), ("c",), ("b", "c"), ("a",)]
    with pytest.raises(mutants.AlreadyRedError, match="without any fault: it"):
        next(done)
    monkeypatch.setattr(mutants, "RESULTS", tmp_path / "mutants.json")
    monkeypatch.setattr(mutants, "copy_tree", lambda folder: None)
    monkeypatch.setattr(mutants, "table", lambda: faults[3:])
    monkeypatch.setattr("sys.argv", ["mutants.py"])
    assert mutants.main() == 2
    assert "a test fails without any fault: it" in capsys.readouterr().err


def test_the_results_are_of_faults_that_are_there() -> None:
    names = [outcome["name"] for outcome in mutants.former()]
    assert len(names) == len(set(names))
    assert set(names) <= {m.name for m in mutants.table()}, "a fault is gone: bench/mutants.py --untried"


def test_an_outcome_is_put_to_the_others_and_what_was_not_tried_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mutants, "RESULTS", tmp_path / "mutants.json")
    one, two, *rest = mutants.table()

    def held() -> Any:
        return mutants.document(mutants.former())

    mutants.keep(mutants.Outcome(two.name, two.digest, True, "a test", 1.0))
    assert (held()["mutants"], held()["tried"], held()["untried"]) == (len(rest) + 2, 1, len(rest) + 1)
    mutants.keep(mutants.Outcome("gone", "0", False, "", 1.0))
    mutants.keep(mutants.Outcome(one.name, one.digest, False, "", 1.0))
    assert [o["name"] for o in held()["outcomes"]] == [one.name, two.name]
    assert (held()["survive"], held()["untried"]) == ([one.name], len(rest))
    # Of a fault that is worded anew nothing is known.
    monkeypatch.setattr(mutants, "table", lambda: [replace(one, new="else"), two, *rest])
    assert [o["name"] for o in mutants.document(mutants.former())["outcomes"]] == [two.name]


def test_a_fault_that_survived_a_former_call_still_fails_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mutants, "RESULTS", tmp_path / "mutants.json")
    one, two, *_ = mutants.table()
    monkeypatch.setattr(mutants, "table", lambda: [one, two])
    monkeypatch.setattr("sys.argv", ["mutants.py", "--untried"])
    for killed, ended in ((False, 1), (True, 0)):
        mutants.keep(mutants.Outcome(one.name, one.digest, killed, "", 1.0))
        mutants.keep(mutants.Outcome(two.name, two.digest, True, "", 1.0))
        assert mutants.main() == ended
    assert one.name in capsys.readouterr().out
