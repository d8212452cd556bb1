"""The table of faults that bench/mutants.py makes: each can still be made, and names tests that are there."""

from __future__ import annotations

import json
from pathlib import Path

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


def test_the_results_say_how_much_of_the_table_they_are_of() -> None:
    held = json.loads(mutants.RESULTS.read_text(encoding="utf-8"))
    names = [outcome["name"] for outcome in held["outcomes"]]
    assert set(names) <= {m.name for m in mutants.table()}, "a fault is gone: bench/mutants.py --only NAME"
    assert held["tried"] == len(set(names)) == len(names)
    assert held["mutants"] == held["tried"] + held["untried"]
    assert held["survive"] == [o["name"] for o in held["outcomes"] if not o["killed"]]


def test_some_outcomes_are_put_to_the_others_and_what_was_not_tried_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mutants, "RESULTS", tmp_path / "mutants.json")
    one, two, *rest = (m.name for m in mutants.table())
    first = mutants.kept([mutants.Outcome(two, True, "a test", 1.0)])
    assert (first["mutants"], first["tried"], first["untried"]) == (len(rest) + 2, 1, len(rest) + 1)
    mutants.RESULTS.write_text(json.dumps(first), encoding="utf-8")
    both = mutants.kept([mutants.Outcome(one, False, "", 1.0), mutants.Outcome("gone", False, "", 1.0)])
    assert ([o["name"] for o in both["outcomes"]], both["survive"]) == ([one, two], [one])
    assert (both["tried"], both["untried"]) == (2, len(rest))
