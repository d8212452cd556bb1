"""Stages: whole or not there, skipped where nothing changed, made again where something did."""

from __future__ import annotations

import errno
import json
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from kgdistill.errors import ArtefactError, DiskError, InputError, KgdistillError, MemoryShortError
from kgdistill.run.stages import digest, finished, read_mark, run_stage, sweep, verify, write_private


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


def made(folder: Path) -> str | None:
    mark = read_mark(folder)
    return None if mark is None else mark.made


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("broken"), InputError("bad")])
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


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"inputs": 3}', "\udcff", '{"inputs": "a", "made": "b"}'])
def test_a_damaged_mark_is_an_unfinished_stage(text: str, tmp_path: Path) -> None:
    (tmp_path / "stage.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert finished(tmp_path) is None


def test_a_digest_tells_inputs_apart_and_not_their_order() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2}) != digest({"b": 2})


def _nested(folder: Path) -> None:
    (folder / "in").mkdir()
    (folder / "in" / "out.txt").write_text("inside", encoding="utf-8")
    (folder / "snapshot" / "nodes").mkdir(parents=True)
    (folder / "snapshot" / "manifest.json").write_text("{}", encoding="utf-8")
    (folder / "snapshot" / "nodes" / "User.parquet").write_text("vouched for", encoding="utf-8")


def _flip(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1] + b"?")


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("damage", "words"),
    [(_flip, "was damaged or altered"), (_cut, "holds 5 bytes, not the 6"), (Path.unlink, "is missing")],
)
def test_a_damaged_file_is_named_with_what_to_delete(
    damage: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    run_stage(tmp_path, "text", {"a": 1}, _nested)
    mark = read_mark(tmp_path / "text")
    assert mark is not None
    # What has a manifest of its own is checked by it.
    assert set(mark.files) == {"in/out.txt", "snapshot/manifest.json"}
    verify(tmp_path / "text", mark, again="make it")
    damage(tmp_path / "text" / "in" / "out.txt")
    with pytest.raises(ArtefactError) as caught:
        verify(tmp_path / "text", mark, again="make it")
    assert words in caught.value.message
    assert caught.value.where == str(tmp_path / "text" / "in" / "out.txt")
    assert caught.value.hint == f"delete {tmp_path / 'text'}, then make it anew: make it"


def _grows(folder: Path) -> None:
    np.empty((1 << 50,))


def _torch_grows(folder: Path) -> None:
    torch.empty(1 << 50)


def _wrapped(error: Exception) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        try:
            raise error
        except Exception as cause:
            raise RuntimeError("writing failed") from cause

    return make


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (stops(OSError(errno.ENOSPC, "No space left on device", "model")), DiskError, "the disk is full"),
        # Arrow, safetensors and tokenizers give no number.
        (stops(OSError("[Errno 28] Error writing: No space left on device")), DiskError, "the disk is full"),
        (stops(OSError(errno.EFBIG, "File too large")), DiskError, "may not grow that large"),
        (_wrapped(OSError(errno.EDQUOT, "Disk quota exceeded")), DiskError, "quota"),
        (stops(OSError(errno.EROFS, "Read-only file system")), DiskError, "read-only file system"),
        (_grows, MemoryShortError, "there is not enough memory: Unable to allocate"),
        (_torch_grows, MemoryShortError, "there is not enough memory"),
        (
            stops(ImportError("libx.so: failed to map segment from shared object")),
            MemoryShortError,
            "not enough",
        ),
        (stops(MemoryError()), MemoryShortError, "there is not enough memory"),
    ],
)
def test_what_the_machine_refuses_is_one_message_and_the_former_stage_stays(
    make: Callable[[Path], None], kind: type[KgdistillError], words: str, tmp_path: Path
) -> None:
    run_stage(tmp_path, "text", {"a": 1}, writes("former"))
    with pytest.raises(kind) as caught:
        run_stage(tmp_path, "text", {"a": 2}, make)
    assert words in caught.value.message
    assert "\n" not in caught.value.message
    assert [p.name for p in tmp_path.iterdir()] == ["text"]
    assert (tmp_path / "text" / "out.txt").read_text() == "former"


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_private_stage_is_for_its_owner_and_another_for_whom_the_umask_lets(
    tmp_path: Path,
) -> None:
    def make(folder: Path) -> None:
        _nested(folder)
        (folder / "in" / "out.txt").chmod(0o604)

    for private, folders, files in ((True, 0o700, 0o600), (False, 0o755, 0o644)):
        run_stage(tmp_path, f"s{private}", {}, make, private=private)
        stage = tmp_path / f"s{private}"
        held = [stage, *stage.rglob("*")]
        assert {_mode(p) for p in held if p.is_dir()} == {folders}
        assert {_mode(p) for p in held if p.is_file()} == {files}
    write_private(tmp_path / "told.json", b"{}")
    assert _mode(tmp_path / "told.json") == 0o600
    assert json.loads((tmp_path / "told.json").read_text()) == {}
    with pytest.raises(FileNotFoundError) as caught:
        write_private(tmp_path / "none" / "told.json", b"{}")
    assert caught.value.filename == str(tmp_path / "none" / "told.json")


def test_what_a_killed_process_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    for name in (".text.part-x1", ".text.partial", ".teacher.former", ".git", "text.partial"):
        (tmp_path / name).mkdir()
    sweep(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {".git", "text.partial"}
