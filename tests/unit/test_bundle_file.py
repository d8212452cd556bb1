"""A bundle on disk answers as it was made, or is refused with the file that is not as it was."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from _bundle import arrays, history_of, random_bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kgdistill.errors import ArtefactError
from kgdistill.serve import file as bundle_file
from kgdistill.serve.bundle import Bundle, load_bundle
from kgdistill.serve.history import History
from kgdistill.serve.items import Items

FILES = ("config.json", "items.arrow", "model.safetensors", "text_tower/tokenizer.json")


def small(seed: int = 0, items: int = 40) -> Bundle:
    return random_bundle(items, dim=4, neighbours=5, seed=seed, text=True)


def answers(bundle: Bundle) -> list[Any]:
    history = [bundle.keys[3], bundle.keys[7]]
    return [bundle.recommend(history, k=9), bundle.recommend(k=9), bundle.recommend(text="tea mug 17", k=9)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    small().save(folder)
    (folder / "stage.json").write_text("{}")  # a run marks its stages so
    return folder


def test_a_bundle_comes_back_as_it_was_made(folder: Path) -> None:
    loaded, made = load_bundle(folder), small()
    assert answers(loaded) == answers(made)
    assert (loaded.config, loaded.items.table) == (made.config, made.items.table)
    assert {name: array.tobytes() for name, array in arrays(loaded).items()} == {
        name: array.tobytes() for name, array in arrays(made).items()
    }
    assert loaded.text is not None
    assert made.text is not None
    texts = ["red tea 17", "", "unheard of"]
    np.testing.assert_array_equal(loaded.text.encode(texts), made.text.encode(texts))
    loaded.save(folder.parent / "again")
    for name in FILES:
        assert (folder.parent / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_every_file_has_the_mode_of_the_others(folder: Path) -> None:
    assert len({(folder / name).stat().st_mode for name in FILES}) == 1


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


def _unmeasured(folder: Path) -> None:
    told = json.loads((folder / "config.json").read_text())
    del told["sha256"], told["files"]["items.arrow"]["sha256"]
    _edited(folder, files=told["files"], sha256=bundle_file._digest(told))


def _rows(folder: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    file = folder / "items.arrow"
    table = change(pa.ipc.open_file(pa.BufferReader(file.read_bytes())).read_all())
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _of_another(folder: Path, name: str, **other: int) -> None:
    small(**other).save(folder.parent / "other")
    shutil.copy(folder.parent / "other" / name, folder / name)


_NOT_IT = "is not the file that the bundle was made with"


@pytest.mark.parametrize(
    ("damage", "file", "message"),
    [
        (lambda f: _of_another(f, "items.arrow", items=50), "items.arrow", _NOT_IT),
        (lambda f: _of_another(f, "model.safetensors", seed=1), "model.safetensors", _NOT_IT),
        (lambda f: _of_another(f, "config.json", items=50), "items.arrow", _NOT_IT),
        (lambda f: _rows(f, lambda table: table[::-1]), "items.arrow", _NOT_IT),
        (lambda f: _rows(f, lambda table: table.slice(1)), "items.arrow", _NOT_IT),
        (lambda f: _write(f / "items.arrow", "[]"), "items.arrow", _NOT_IT),
        (lambda f: (f / "model.safetensors").write_bytes(b""), "model.safetensors", _NOT_IT),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors", "is missing"),
        (lambda f: (f / "items.arrow").unlink(), "items.arrow", "is missing"),
        (lambda f: shutil.rmtree(f / "text_tower"), "text_tower/model.safetensors", "is missing"),
        (lambda f: (f / "config.json").unlink(), "config.json", "is no finished bundle"),
        (lambda f: _write(f / "config.json", "[]"), "config.json", "no JSON object"),
        (lambda f: _write(f / "config.json", "[" * 100_000), "config.json", "cannot be read"),
        (lambda f: _write(f / "config.json", '{"format": 5'), "config.json", "cannot be read"),
        (lambda f: (f / "config.json").write_bytes(b"\xff\xfe"), "config.json", "cannot be read"),
        (lambda f: _edited(f, parts={}), "config.json", "was changed"),
        (lambda f: _edited(f, files={}), "config.json", "was changed"),
        (lambda f: _edited(f, sha256=None), "config.json", "was changed"),
        (_unmeasured, "items.arrow", _NOT_IT),
        (lambda f: _edited(f, format=4), "config.json", "has format 4, this version reads 9"),
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


@pytest.mark.parametrize("name", ["config.json", "items.arrow"])
def test_what_is_no_file_is_not_waited_for(name: str, folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(folder, copy)
    (copy / name).unlink()
    os.mkfifo(copy / name)
    with pytest.raises(ArtefactError, match=r"is no file|is missing"):
        load_bundle(copy)


Damage = Callable[[dict[str, Any], dict[str, Any]], object]


def _with(name: str, change: Callable[[np.ndarray[Any, Any]], Any]) -> Damage:
    return lambda settings, held: held.update({name: change(held[name].copy())})


def _put(value: float) -> Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    def change(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        array.ravel()[-1] = value
        return array

    return change


def _setting(name: str, value: Any) -> Damage:
    return lambda settings, held: settings.update({name: value})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_with("vectors", _put(np.nan)), "history.vectors holds a number that is not finite"),
        (_with("blend.bias", _put(np.inf)), "blend.bias holds a number"),
        (_with("counts", _put(-1)), "counts holds a negative number"),
        (_with("recent", _put(-1)), "recent holds a negative number"),
        (_with("vectors", lambda a: a[:-1]), r"vectors is float32 \(39, 4\), not float32 \(40, 4\)"),
        (_with("blend.log_eps", lambda a: a[:-1]), "blend.log_eps is"),
        (_with("vectors", lambda a: a.astype(np.float64)), "vectors is float64"),
        (_with("blend.user", lambda a: a[:-1]), "blend.user is"),
        (lambda _, held: held.pop("vectors"), "'history.vectors' is missing"),
        (lambda _, held: held.update(more=np.zeros(1)), "'history.more' is unknown"),
        (_with("family0.indices", _put(10_000)), "family0 is no sparse table"),
        (_with("family0.indptr", _put(10_000)), "family0 is no sparse table"),
        (_with("neighbours1.indices", _put(-1)), "neighbours1 is no sparse table"),
        (_with("neighbours1.data", lambda a: a[:-1]), "neighbours1.data is"),
        (_with("neighbours0.factored", lambda a: a[::-1]), "neighbours0.factored holds no ascending"),
        (_with("neighbours0.factored", _put(10_000)), "neighbours0.factored holds no ascending"),
        (_with("neighbours1.left", lambda a: a[1:]), "neighbours1.left is"),
        (
            _with("neighbours0.indptr", lambda a: np.concatenate([a[:1], a[:0:-1]])),
            "neighbours0 is no sparse table",
        ),
        (_setting("min_count", "3"), "'min_count'"),
        (_setting("pool", "tepid"), "'pool'"),
        (_setting("families", "brand"), "'families'"),
        (_setting("families", [{"fields": [], "above": False}]), "'families'"),
        (_setting("neighbours", [1, 0]), "'neighbours'"),
        (_setting("neighbour_decay", None), "'neighbour_decay'"),
    ],
)
def test_settings_and_arrays_that_do_not_fit_together_make_no_history(damage: Damage, message: str) -> None:
    made = history_of(small())
    settings, held = made.settings(), dict(made.arrays())
    damage(settings, held)
    with pytest.raises(ArtefactError, match=message):
        History(settings, held, 40)


def test_an_item_with_two_values_in_a_field_makes_no_bundle() -> None:
    made = history_of(small())
    indptr = made.arrays()["family0.indptr"]
    one = int(np.flatnonzero(np.diff(indptr) == 1)[0])
    indptr[1 : one + 1] = indptr[one + 1] - 2 if indptr[one + 1] >= 2 else 0
    indptr[: one + 1] = 0
    indptr[one + 1 : one + 2] = 2
    indptr[one + 2 :] = np.maximum(indptr[one + 2 :], 2)
    with pytest.raises(ArtefactError, match="several values of brand"):
        History(made.settings(), made.arrays(), 40)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["a", "a"]}, "an id stands there twice"),
        ({"id": pa.array(["a", None])}, "an id is empty"),
        ({"id": [1, 2]}, "'id' holds no texts"),
        ({"title": None}, "'title' is missing"),
        ({"price": [[1], [2]]}, "'price' is of type list"),
    ],
)
def test_a_table_that_names_no_items_makes_none(columns: dict[str, Any], message: str) -> None:
    table = {"id": ["a", "b"], "title": ["x", "y"], "brand": ["", "z"], "category": ["", "z"], **columns}
    with pytest.raises(ArtefactError, match=message):
        Items(pa.table({name: values for name, values in table.items() if values is not None}))
