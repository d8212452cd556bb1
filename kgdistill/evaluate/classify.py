"""Judging models that tell classes: each metric of each target with its interval, and paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kgdistill.arrays import FloatArray
from kgdistill.errors import InputError
from kgdistill.ranking.calibration import Calibration
from kgdistill.ranking.classes import Classified, classify_metrics, compare_classified, probabilities
from kgdistill.tasks.classify import ClassifyTask, SplitPart


@dataclass(frozen=True)
class ClassArm:
    """One model in a comparison.

    Attributes:
        title: what a reader calls it.
        logits: by target, of every subject of the task, float32 [subjects, classes].
        calibration: by target, chosen on validation.
        near: by target that can be none of its classes, `Centres.near` of every subject, float32 [subjects].
    """

    title: str
    logits: Mapping[str, FloatArray]
    calibration: Mapping[str, Calibration]
    near: Mapping[str, FloatArray] = field(default_factory=dict)

    def classified(self, task: ClassifyTask, target: str, part: SplitPart) -> Classified:
        """What it says of the subjects of a part; LeakError for the test before it was opened."""
        truth, several = task.truth(target, part), task.several(target)
        rows, near = task.subjects(part, target), self.near.get(target)
        p, chosen = self.calibration[target].told(
            self.logits[target][rows], None if near is None else near[rows], several=several
        )
        return Classified(truth, p, chosen, several)

    def believed(self, task: ClassifyTask, target: str, part: SplitPart) -> FloatArray:
        """How probably it is right on each subject of a part, `Calibration.believed`, float32 [subjects]."""
        rows, near, known = task.subjects(part, target), self.near.get(target), self.calibration[target]
        p = probabilities(self.logits[target][rows], known.temperature, several=False)
        return known.believed(p, None if near is None else near[rows])


def majority(task: ClassifyTask) -> ClassArm:
    """The baseline that looks at nothing: how common each class is among the training subjects."""
    logits, calibration = {}, {}
    for name in task.class_names:
        truth, several = task.truth(name, "train"), task.several(name)
        # Half a subject is added, so that no class is impossible.
        share = (truth.sum(axis=0) + 0.5) / (len(truth) + 1)
        x = np.log(share / (1 - share)) if several else np.log(share)
        logits[name] = np.tile(x.astype(np.float32), (len(task), 1))
        calibration[name] = Calibration(1.0, 0.5 if several else 0.0)
    return ClassArm("the commonest class", logits, calibration)


def judge_classes(
    task: ClassifyTask,
    arms: Mapping[str, ClassArm],
    *,
    part: SplitPart,
    compared: Sequence[tuple[str, str]] = (),
    samples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """The figures of a comparison as one document that JSON can hold.

    Args:
        task: its test must be opened for `part` "test".
        arms: by short name.
        part: what is judged.
        compared: pairs of arms; each gives the differences of the first from the second.
        samples, seed: of the bootstrap.

    Returns:
        `protocol` (sentences), `part`, and of each target under `targets`: `classes`, `subjects`, `arms`
        (title, and of each metric mean, low and high) and `compared` (arm, other, and the same).

    Raises:
        LeakError: the test, before `open_test` was called.
        InputError: a pair names an arm that is not there.
    """
    if missing := {name for pair in compared for name in pair} - set(arms):
        raise InputError(f"no arm {min(missing)!r} to compare", hint=f"known: {', '.join(arms)}")
    targets: dict[str, Any] = {}
    for target, names in task.class_names.items():
        said = {name: arm.classified(task, target, part) for name, arm in arms.items()}
        targets[target] = {
            "classes": len(names),
            "subjects": len(task.subjects(part, target)),
            "arms": {
                name: {
                    "title": arms[name].title,
                    **{
                        m: i._asdict() for m, i in classify_metrics(given, samples=samples, seed=seed).items()
                    },
                }
                for name, given in said.items()
            },
            "compared": [
                {
                    "arm": a,
                    "other": b,
                    **{
                        m: i._asdict()
                        for m, i in compare_classified(said[a], said[b], samples=samples, seed=seed).items()
                    },
                }
                for a, b in compared
            ],
        }
    return {"protocol": task.describe(), "part": part, "targets": targets}
