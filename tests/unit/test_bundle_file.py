"""A bundle on disk answers as it was made, or is refused with the file that is not as it was."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _load_script import load_script
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kgdistill.errors import ArtefactError
from kgdistill.serve.bundle import Bundle, load_bundle

random_bundle: Callable[..., Bundle] = load_script("bench/serving.py").random_bundle
FILES = ("config.json", "items.json", "model.safetensors", "text_tower/0/tokens.json")


def small(seed: int = 0, items: int = 40) -> Bundle:
    return random_bundle(items, dim=4, neighbours=5, hidden=3, seed=seed, mixed=15)


def answers(bundle: Bundle) -> list[Any]:
    history = [bundle.keys[3], bundle.keys[7]]
    return [bundle.recommend(history, k=9), bundle.recommend(k=9), bundle.recommend(text="tea mug 17", k=9)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    tower = folder / "text_tower" / "0"
    tower.mkdir(parents=True)
    (tower / "tokens.json").write_text('{"a": 1, "tea": 2}')
    (tower / "tokens.json").chmod(0o600)
    small().save(folder, parts=["text_tower"])
    (folder / "stage.json").write_text("{}")  # a run marks its stages so
    return folder


def test_a_bundle_comes_back_as_it_was_made(folder: Path) -> None:
    loaded, made = load_bundle(folder), small()
    assert answers(loaded) == answers(made)
    assert loaded.config == made.config
    assert {name: array.tobytes() for name, array in loaded.arrays.items()} == {
        name: array.tobytes() for name, array in made.arrays.items()
    }


def test_every_file_has_the_mode_of_the_others(folder: Path) -> None:
    assert len({(folder / name).stat().st_mode for name in FILES}) == 1


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(FILES), st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_a_flipped_byte_anywhere_is_refused_or_changes_no_answer(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, name: str, place: float, flip: int
) -> None:
    copy = tmp_path_factory.mktemp("flipped") / "bundle"
    shutil.copytree(folder, copy)
    data = bytearray((copy / name).read_bytes())
    data[int(place * len(data))] ^= flip
    (copy / name).write_bytes(data)
    try:
        found = answers(load_bundle(copy))
    except ArtefactError as error:
        found = None if error.where.startswith(str(copy)) and error.hint else [error]
    # A blank of config.json means nothing.
    assert found is None or (name == "config.json" and found == answers(small()))
    shutil.rmtree(copy)


def _write(file: Path, values: Any) -> None:
    file.write_text(values if isinstance(values, str) else json.dumps(values))


def _edited(folder: Path, **values: Any) -> None:
    file = folder / "config.json"
    _write(file, {**json.loads(file.read_text()), **values})


def _items(folder: Path, change: Callable[[dict[str, list[str]]], object]) -> None:
    held = json.loads((folder / "items.json").read_text())
    change(held)
    _write(folder / "items.json", held)


def _of_another(folder: Path, name: str, **other: int) -> None:
    small(**other).save(folder.parent / "other")
    shutil.copy(folder.parent / "other" / name, folder / name)


_NOT_IT = "is not the file that the bundle was made with"


@pytest.mark.parametrize(
    ("damage", "file", "message"),
    [
        (lambda f: _of_another(f, "items.json", items=50), "items.json", _NOT_IT),
        (lambda f: _of_another(f, "model.safetensors", seed=1), "model.safetensors", _NOT_IT),
        (lambda f: _of_another(f, "config.json", items=50), "items.json", _NOT_IT),
        (lambda f: _items(f, lambda held: held["keys"].reverse()), "items.json", _NOT_IT),
        (lambda f: _items(f, lambda held: held["titles"].pop()), "items.json", _NOT_IT),
        (lambda f: _items(f, lambda held: held.pop("keys")), "items.json", _NOT_IT),
        (lambda f: _write(f / "items.json", "[]"), "items.json", _NOT_IT),
        (lambda f: (f / "model.safetensors").write_bytes(b""), "model.safetensors", _NOT_IT),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors", "is missing"),
        (lambda f: (f / "items.json").unlink(), "items.json", "is missing"),
        (lambda f: shutil.rmtree(f / "text_tower"), "text_tower/0/tokens.json", "is missing"),
        (lambda f: (f / "config.json").unlink(), "config.json", "is no finished bundle"),
        (lambda f: _write(f / "config.json", "[]"), "config.json", "no JSON object"),
        (lambda f: _write(f / "config.json", "[" * 100_000), "config.json", "cannot be read"),
        (lambda f: _write(f / "config.json", '{"format": 4'), "config.json", "cannot be read"),
        (lambda f: (f / "config.json").write_bytes(b"\xff\xfe"), "config.json", "cannot be read"),
        (lambda f: _edited(f, min_count=5), "config.json", "was changed"),
        (lambda f: _edited(f, files={}), "config.json", "was changed"),
        (lambda f: _edited(f, sha256=None), "config.json", "was changed"),
        (lambda f: _edited(f, format=3), "config.json", "has format 3, this version reads 4"),
        (lambda f: _edited(f, format=None), "config.json", "has format None"),
    ],
)  # fmt: skip
def test_a_bundle_of_two_copies_or_a_damaged_one_names_the_file(
    damage: Callable[[Path], object], file: str, message: str, folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(folder, copy)
    damage(copy)
    with pytest.raises(ArtefactError, match=message) as error:
        load_bundle(copy)
    assert error.value.where == str(copy / file)
    assert "train student" in error.value.hint or "train a student" in error.value.hint


@pytest.mark.parametrize("name", ["config.json", "items.json"])
def test_what_is_no_file_is_not_waited_for(name: str, folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(folder, copy)
    (copy / name).unlink()
    os.mkfifo(copy / name)
    with pytest.raises(ArtefactError, match=r"is no file|is missing"):
        load_bundle(copy)


def _with(name: str, change: Callable[[np.ndarray[Any, Any]], Any]) -> Callable[[Bundle], None]:
    def damage(bundle: Bundle) -> None:
        bundle.arrays[name] = change(bundle.arrays[name].copy())

    return damage


def _put(value: float) -> Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    def change(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        array.ravel()[-1] = value
        return array

    return change


def _setting(name: str, value: Any) -> Callable[[Bundle], None]:
    return lambda bundle: bundle.config.update({name: value})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_with("vectors", _put(np.nan)), "vectors holds a number that is not finite"),
        (_with("blend.bias", _put(np.inf)), "blend.bias holds a number"),
        (_with("counts", _put(-1)), "counts holds a negative number"),
        (_with("recent", _put(-1)), "recent holds a negative number"),
        (_with("vectors", lambda a: a[:-1]), r"vectors is float32 \(39, 4\), not float32 \(40, 4\)"),
        (_with("fold", lambda a: a[:, :2]), "fold is"),
        (_with("vectors", lambda a: a.astype(np.float64)), "vectors is float64"),
        (_with("blend.user", lambda a: a[:-1]), "blend.user is"),
        (_with("mixer.first", lambda a: a[:, 1:]), "mixer.first is"),
        (lambda b: b.arrays.pop("mixer.last_bias"), "'mixer.last_bias' is missing"),
        (lambda b: b.arrays.pop("vectors"), "'vectors' is missing"),
        (lambda b: b.arrays.update(more=np.zeros(1)), "'more' is unknown"),
        (_with("family0.indices", _put(10_000)), "family0 is no sparse table"),
        (_with("family0.indptr", _put(10_000)), "family0 is no sparse table"),
        (_with("neighbours1.indices", _put(-1)), "neighbours1 is no sparse table"),
        (_with("neighbours1.data", lambda a: a[:-1]), "neighbours1.data is"),
        (
            _with("neighbours0.indptr", lambda a: np.concatenate([a[:1], a[:0:-1]])),
            "neighbours0 is no sparse table",
        ),
        (lambda b: b.keys.__setitem__(0, b.keys[1]), "a key stands there twice"),
        (lambda b: b.keys.__setitem__(0, 7), "'keys' is no list of texts"),  # type: ignore[call-overload]
        (lambda b: b.titles.pop(), "40 keys and 39 titles"),
        (_setting("min_count", "3"), "'min_count'"),
        (_setting("mixed", 0), "'mixed'"),
        (_setting("behind", float("nan")), "'behind'"),
        (_setting("families", "brand"), "'families'"),
        (_setting("neighbours", [1, 0]), "'neighbours'"),
        (_setting("neighbour_decay", None), "'neighbour_decay'"),
    ],
)
def test_parts_that_do_not_fit_together_make_no_bundle(
    damage: Callable[[Bundle], object], message: str
) -> None:
    made = small()
    damage(made)
    with pytest.raises(ArtefactError, match=message):
        Bundle(made.config, made.arrays, made.keys, made.titles)


def test_an_item_with_two_values_in_a_field_makes_no_bundle() -> None:
    made = small()
    indptr = made.arrays["family0.indptr"]
    one = int(np.flatnonzero(np.diff(indptr) == 1)[0])
    indptr[1 : one + 1] = indptr[one + 1] - 2 if indptr[one + 1] >= 2 else 0
    indptr[: one + 1] = 0
    indptr[one + 1 : one + 2] = 2
    indptr[one + 2 :] = np.maximum(indptr[one + 2 :], 2)
    with pytest.raises(ArtefactError, match="several values in the text field brand_text"):
        Bundle(made.config, made.arrays, made.keys, made.titles)
