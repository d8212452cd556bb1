"""Stages: whole or not there, skipped where nothing changed, made again where something did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kgdistill.distill.stages import digest, finished, made, run_stage


def writes(text: str, log: list[str] | None = None) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / "out.txt").write_text(text, encoding="utf-8")
        if log is not None:
            log.append(text)

    return make


def stops(error: BaseException) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / "out.txt").write_text("half", encoding="utf-8")
        raise error

    return make


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("broken"), OSError(28, "No space")])
def test_a_stopped_stage_is_not_finished_and_the_next_start_makes_it(
    error: BaseException, tmp_path: Path
) -> None:
    with pytest.raises(type(error)):
        run_stage(tmp_path, "text", {"a": 1}, stops(error))
    assert not (tmp_path / "text").exists()
    assert finished(tmp_path / "text") is None
    run_stage(tmp_path, "text", {"a": 1}, writes("whole"))
    assert (tmp_path / "text" / "out.txt").read_text() == "whole"
    assert [p.name for p in tmp_path.iterdir()] == ["text"]


def test_a_stopped_stage_leaves_the_former_one_as_it_was(tmp_path: Path) -> None:
    key = run_stage(tmp_path, "text", {"a": 1}, writes("former"))
    with pytest.raises(KeyboardInterrupt):
        run_stage(tmp_path, "text", {"a": 2}, stops(KeyboardInterrupt()))
    assert (tmp_path / "text" / "out.txt").read_text() == "former"
    assert finished(tmp_path / "text") == key


def test_a_stage_is_skipped_on_the_same_inputs_and_made_again_on_others(tmp_path: Path) -> None:
    log: list[str] = []
    first = run_stage(tmp_path, "text", {"a": 1, "b": 2}, writes("one", log))
    again = run_stage(tmp_path, "text", {"b": 2, "a": 1}, writes("two", log))
    other = run_stage(tmp_path, "text", {"a": 1, "b": 3}, writes("three", log))
    assert log == ["one", "three"]
    assert first == again != other
    assert finished(tmp_path / "text") == other
    assert (tmp_path / "text" / "out.txt").read_text() == "three"


def test_what_follows_can_tell_a_stage_that_was_made_again_from_the_same_inputs(tmp_path: Path) -> None:
    key = run_stage(tmp_path, "text", {"a": 1}, writes("x"))
    before = made(tmp_path / "text")
    run_stage(tmp_path, "text", {"a": 1}, writes("x"))
    assert made(tmp_path / "text") == before
    (tmp_path / "text" / "stage.json").unlink()
    assert made(tmp_path / "text") is None
    assert run_stage(tmp_path, "text", {"a": 1}, writes("x")) == key
    assert made(tmp_path / "text") not in (None, before)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"inputs": 3}', "\udcff"])
def test_a_damaged_mark_is_an_unfinished_stage(text: str, tmp_path: Path) -> None:
    (tmp_path / "stage.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert finished(tmp_path) is None


def test_a_digest_tells_inputs_apart_and_not_their_order() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2}) != digest({"b": 2})
