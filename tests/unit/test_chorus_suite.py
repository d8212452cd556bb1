from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from bench.suites import SuiteOptions, mpnet, run_suite
from bench.suites.__main__ import app
from kgdistill.cli import main
from kgdistill.errors import ArtefactError, InputError, ToolMissingError


def wheels(folder: Path, whole: bytes, pieces: int) -> list[Path]:
    """Wheels that carry an equal piece of `whole` each."""
    size = -(-len(whole) // pieces)
    made = []
    for i in range(pieces):
        made.append(folder / f"part_{i + 1:03}.whl")
        with zipfile.ZipFile(made[-1], "w") as packed:
            packed.writestr(f"part_{i + 1:03}/__init__.py", "")
            packed.writestr(f"part_{i + 1:03}/input/it.zip.{i + 1:03}", whole[i * size : (i + 1) * size])
    return made


def archive(folder: Path, files: dict[str, str]) -> bytes:
    with zipfile.ZipFile(folder / "whole.zip", "w") as packed:
        for name, text in files.items():
            packed.writestr(name, text)
    return (folder / "whole.zip").read_bytes()


def test_an_encoder_is_assembled_from_its_pieces_in_their_order(tmp_path: Path) -> None:
    files = {"it/1_Pooling/config.json": "pooling", "it/config.json": "{}", "it/model.bin": "x" * 999}
    parts = wheels(tmp_path, archive(tmp_path, files), 3)
    found = mpnet.assemble(parts, tmp_path / "out")
    assert found == tmp_path / "out" / "it"
    assert {str(p.relative_to(tmp_path / "out")): p.read_text() for p in found.glob("**/*.*")} == files
    assert not list((tmp_path / "out").glob("*.zip"))
    for broken, words in (
        (parts[::-1], "no archive"),
        (parts[:2], "no archive"),
        (wheels(tmp_path, archive(tmp_path, {"it/readme": ""}), 2), "no encoder"),
        ([tmp_path / "whole.zip"], "0 pieces"),
    ):
        with pytest.raises(ArtefactError, match=words):
            mpnet.assemble(broken, tmp_path / f"broken {words} {len(broken)}")


def test_an_encoder_is_fetched_once_and_a_broken_one_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cache = tmp_path / "cache" / "kgdistill"
    parts = wheels(tmp_path, archive(tmp_path, {"it/config.json": "{}"}), 2)
    monkeypatch.setattr(mpnet, "_download", lambda _folder: parts)
    with pytest.raises(ToolMissingError, match=r"all-mpnet-base-v2 cannot be had: .*no text encoder"):
        mpnet.mpnet_folder()
    assert not list(cache.iterdir())
    (cache / "all-mpnet-base-v2").mkdir()
    assert mpnet.mpnet_folder() == cache / "all-mpnet-base-v2"


def test_without_pip_the_encoder_is_missing_in_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))
    with pytest.raises(ToolMissingError, match=r"all-mpnet-base-v2 cannot be had: .*no-python"):
        mpnet.mpnet_folder()
    assert not list((tmp_path / "kgdistill").iterdir())


def test_a_second_encoder_that_is_no_folder_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "chorus_icecat").mkdir()
    with pytest.raises(InputError, match="no folder of a text encoder"):
        run_suite("chorus", SuiteOptions(data=tmp_path, second_encoder=str(tmp_path / "nothing")))


def test_only_search_takes_a_second_encoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--suite", "office", "--second-encoder", str(tmp_path)], app) == 2
    assert "only suites of search have a second encoder" in capsys.readouterr().err
