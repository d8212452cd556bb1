"""The bookkeeping that every training shares: history, validation and the best epoch."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping

import numpy as np
from torch import nn

from kgdistill.progress import Step


class Epochs:
    """Records epochs, validates some of them and keeps the weights that validate best, or nearly (`slack`).

    Args:
        model: what is trained.
        validate: validation metrics of the model as it is; their sum decides.
        history: gets one record per epoch.
        begin: when training began, by `time.monotonic`.
        last: the last epoch, always validated.
        every: how many epochs lie between validations.
        slack: a later epoch may be worse by this share and is still preferred.
    """

    def __init__(
        self,
        model: nn.Module,
        validate: Callable[[], Mapping[str, float]],
        history: list[dict[str, float]],
        *,
        begin: float,
        last: int,
        every: int,
        slack: float = 0.0,
    ) -> None:
        self._model = model
        self._validate = validate
        self._history = history
        self._begin = begin
        self._last = last
        self._every = every
        self._slack = slack
        self._best = -np.inf
        self._best_epoch = 0
        self._state = copy.deepcopy(model.state_dict())

    def end(self, epoch: int, losses: Mapping[str, list[float]], work: Step) -> None:
        """Ends an epoch (0: before training) with the losses of its steps, by name."""
        record = {"epoch": float(epoch), **{k: float(np.mean(v)) for k, v in losses.items()}}
        if epoch:
            work.note(f"loss {record.get('loss', float('nan')):.4f}")
        if (epoch and epoch % self._every == 0) or epoch == self._last:
            metrics = self._validate()
            self._model.train()
            record |= {f"valid/{k}": v for k, v in metrics.items()}
            reached = sum(metrics.values())
            if reached > self._best - self._slack * abs(self._best) or not self._best_epoch:
                self._best_epoch = epoch
                self._state = copy.deepcopy(self._model.state_dict())
            self._best = max(self._best, reached)
        self._history.append({**record, "seconds": time.monotonic() - self._begin})
        work.advance()

    def restore_best(self) -> int:
        """Puts the weights of the epoch that is kept back; returns which it was."""
        self._model.load_state_dict(self._state)
        return self._best_epoch
