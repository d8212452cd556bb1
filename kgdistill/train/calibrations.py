"""What validation says of a model of classes: what makes its logits probabilities."""

from __future__ import annotations

from dataclasses import replace

from kgdistill.ranking.calibration import Calibration, calibrate
from kgdistill.ranking.classes import rarity
from kgdistill.tasks.classify import ClassifyTask
from kgdistill.train.class_lesson import Logits


def calibrations(task: ClassifyTask, logits: Logits, balance: float) -> dict[str, Calibration]:
    """What makes the logits of every subject probabilities, chosen on the validation subjects.

    With one class a subject, rare ones are favoured as `balance` says; see `rarity`.
    """
    held = {
        name: calibrate(
            logits[name][task.subjects("validation", name)],
            task.truth(name, "validation"),
            several=task.several(name),
            reject=task.spec.targets[name].none_of_them is not None,
        )
        for name in task.class_names
    }
    return {
        name: known
        if task.several(name)
        else replace(known, weights=rarity(task.truth(name, "train").mean(axis=0), balance))
        for name, known in held.items()
    }
