"""Answers that keep places for new items."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from _bundle import history_of, random_bundle
from hypothesis import given
from hypothesis import strategies as st

from kgdistill.cli import main
from kgdistill.errors import InputError
from kgdistill.serve.answer import Answer
from kgdistill.serve.bundle import Bundle
from kgdistill.serve.fresh import with_new


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return random_bundle(300, dim=6, text=True, pool="warm")


@pytest.fixture(scope="module")
def cold(bundle: Bundle) -> set[str]:
    return {bundle.keys[n] for n in history_of(bundle).positions("cold")}


HISTORY = (3, 50, 200)


def asked(bundle: Bundle, k: int, pool: str) -> Answer:
    return bundle.recommend([bundle.keys[n] for n in HISTORY], k, pool=pool)


@given(pool=st.sampled_from(["warm", "all"]), k=st.integers(1, 30), places=st.integers(0, 30))
def test_so_many_are_new_and_the_others_are_the_first(
    bundle: Bundle, cold: set[str], pool: str, k: int, places: int
) -> None:
    answer, newcomers, places = asked(bundle, k, pool), asked(bundle, k, "cold"), min(places, k)
    found = with_new(bundle, answer, newcomers, k, places)
    ids, before = [hit.id for hit in found], [hit.id for hit in answer]
    assert len(ids) == len(set(ids)) == k
    assert [hit.rank for hit in found] == list(range(1, k + 1))
    new = [i for i in ids if i in cold]
    assert found.new == tuple(new)
    had = [i for i in before if i in cold]
    assert len(new) == max(places, len(had))
    # What stays does so in order, the last that are not new have gone, no better newcomer was passed over.
    stays = [i for i in ids if i in before]
    assert stays == [i for i in before if i in stays]
    gone = [i for i in before if i not in ids]
    assert gone == [i for i in before if i not in cold][len(before) - len(had) - len(gone) :]
    came = [i for i in ids if i not in before]
    assert came == [hit.id for hit in newcomers if hit.id not in had][: len(came)]
    assert ids == stays + came


def test_none_asked_for_changes_nothing_but_says_which_are_new(bundle: Bundle, cold: set[str]) -> None:
    answer = asked(bundle, 20, "all")
    found = with_new(bundle, answer, asked(bundle, 20, "cold"), 20, 0)
    assert found.hits == answer.hits
    assert set(found.new) == {hit.id for hit in answer} & cold


def test_free_places_are_taken_first(bundle: Bundle) -> None:
    answer = Answer("history", asked(bundle, 3, "warm").hits)
    found = with_new(bundle, answer, asked(bundle, 9, "cold"), 5, 2)
    assert [hit.id for hit in found[:3]] == [hit.id for hit in answer]
    assert len(found) == 5
    assert len(found.new) == 2


@pytest.mark.parametrize("places", [-1, 6])
def test_other_numbers_of_places_are_refused(bundle: Bundle, places: int) -> None:
    with pytest.raises(InputError, match="from 0 to 5"):
        with_new(bundle, asked(bundle, 5, "warm"), asked(bundle, 5, "cold"), 5, places)


def test_the_command_says_which_are_new(
    bundle: Bundle, cold: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle.save(tmp_path / "b")
    history = ",".join(bundle.keys[n] for n in HISTORY)
    words = ["recommend", "--bundle", str(tmp_path / "b"), "--history", history, "-k", "5"]

    def told(*more: str) -> dict[str, object]:
        assert main([*words, *more, "--json"]) == 0
        answer: dict[str, object] = json.loads(capsys.readouterr().out)
        return answer

    plain, fresh = told(), told("--new", "2")
    assert plain["new"] == []
    assert fresh["new"] == [hit["id"] for hit in fresh["hits"] if hit["id"] in cold]  # type: ignore[attr-defined]
    assert len(fresh["new"]) == 2  # type: ignore[arg-type]
    assert fresh["notes"] == [f"new, with few buyers yet: {', '.join(fresh['new'])}"]  # type: ignore[arg-type]
    key = next(key for key in bundle.keys if key in cold and key not in history)
    few = told("--new", "2", "--where", f"title={bundle.items.titles[bundle.items.places[key]]}")
    assert "there are no more of the 2 that --new asks for" in few["notes"][0]  # type: ignore[index]
    assert "how unlike" in str(told("--new", "2", "--diversity", "0.3")["rests_on"])
    assert main([*words, "--new", "6"]) == 2
    assert "6 of 5 places are to be new" in capsys.readouterr().err
