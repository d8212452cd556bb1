"""What every kind of task shares as it makes its stages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from kgdistill.errors import ArtefactError
from kgdistill.models.text.transformer import TextModel
from kgdistill.run import artefacts
from kgdistill.train.loop import Context
from kgdistill.train.tower import TowerTexts

if TYPE_CHECKING:
    from kgdistill.run.run import Run


@dataclass
class Maker(ABC):
    """What a kind of task makes at each stage of a run, and its models.

    Attributes:
        run: its folder and configuration.
        device: where training runs.
    """

    run: Run
    device: torch.device

    @abstractmethod
    def make(self, name: str, folder: Path) -> None:
        """Makes what a stage leaves, in an empty folder."""

    def stale(self, name: str) -> bool:
        """Whether a former version made a stage from the same inputs, but so that this one cannot read it."""
        return False

    def renew(self, name: str) -> None:
        """Lets a stage that is `stale` be made again, and with it all that stands on it."""
        if self.stale(name):
            with self.run.lock():
                artefacts.unfinish(self.run.folder / name)

    def leave(self, name: str, folder: Path) -> None:
        """As `make`; of texts also which encoder read them."""
        self.make(name, folder)
        if name == "text" and "encoder" in vars(self):
            artefacts.save_encoder(folder, self.encoder.name)

    @cached_property
    def void(self) -> dict[str, str]:
        """The controls that can show nothing on this graph or with these settings, and why.

        Known from what stands before them.
        """
        return {}

    def absent(self) -> dict[str, dict[str, str]]:
        """What an evaluation tells of arms that are not there: `void`, and `left_out` for another reason."""
        left_out = {name: why for name, why in self.run.judged()[1].items() if name not in self.void}
        return {"left_out": left_out, "void": self.void}

    def tower_texts(self) -> TowerTexts:
        """What a text tower learns from that several tasks share."""
        raise NotImplementedError(f"a run of {self.run.config.kind} reads no shared text tower")

    @property
    def context(self) -> Context:
        """Where training runs, and what it draws from."""
        return Context(self.device, self.run.config.seed)

    @cached_property
    def encoder(self) -> TextModel:
        """The text teacher, as it was published; once texts are read, the one that they were read by."""
        settings = self.run.config.text
        if not settings.encoder:
            settings = settings.model_copy(update={"encoder": self._read_by_encoder()})
        return artefacts.text_encoder(settings, self.device, self.run.texts())

    def _read_by_encoder(self) -> str:
        """Which encoder the run's texts were read by; empty where they are not, or no longer fit."""
        try:
            folder = self.run.read("text")
        except ArtefactError:
            return ""
        return artefacts.former_choice(folder, self.run.texts())
