"""What the text teacher says of a classify task's texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.models.text.transformer import TextEncoder
from kgdistill.tasks.classify import ClassifyTask


@dataclass(frozen=True)
class SubjectVectors:
    """What the text teacher says of a task's texts.

    Attributes:
        subjects: of the subjects' texts, float32 [subjects, E]; None where they are not known by text.
        nodes: of the nodes beside them, by label, float32 [nodes, E].
        classes: of what is written on the classes, by target, float32 [texts, E].
    """

    subjects: FloatArray | None
    nodes: Mapping[str, FloatArray]
    classes: Mapping[str, FloatArray] = field(default_factory=dict)


def encode_each(encoder: TextEncoder, texts: Sequence[str]) -> FloatArray:
    """Unit vectors, float32 [texts, E]; each distinct text is encoded once."""
    distinct, rows = np.unique(np.array(texts, object), return_inverse=True)
    return encoder.encode([str(text) for text in distinct])[rows]


def encode_task(
    task: ClassifyTask, encoder: TextEncoder, *, subjects: FloatArray | None = None
) -> SubjectVectors:
    """Encodes a task's texts; those of its subjects where they are not given, float32 [subjects, E]."""
    if subjects is None and task.texts is not None:
        subjects = encode_each(encoder, task.texts)

    def placed_at(rows: IntArray, vectors: FloatArray) -> FloatArray:
        # Where those of some classes are left out, the others keep their places.
        out = np.zeros((int(rows.max()) + 1, vectors.shape[1]), np.float32)
        out[rows] = vectors
        return out

    labels = {beside.label: beside.texts for beside in task.neighbours if any(beside.texts)}
    written = {name: held for name, held in task.class_texts.items() if held.texts}
    return SubjectVectors(
        subjects,
        {label: encode_each(encoder, texts) for label, texts in labels.items()},
        {name: placed_at(held.rows, encode_each(encoder, held.texts)) for name, held in written.items()},
    )


def middle_and_size(vectors: FloatArray) -> tuple[FloatArray, float]:
    """The mean of some vectors, float32 [E], and the root of the mean square of what they differ by."""
    seen = vectors.astype(np.float64)
    middle = seen.mean(axis=0).astype(np.float32)
    return middle, max(float(np.sqrt(((seen - middle) ** 2).mean())), 1e-6)


def with_classes(task: ClassifyTask, vectors: SubjectVectors) -> tuple[ClassifyTask, SubjectVectors]:
    """A task with what is written on its classes as training subjects behind its own, and their vectors."""
    if vectors.subjects is None or not vectors.classes:
        return task, vectors
    longer = task.with_class_texts()
    read = [vectors.classes[name][w.rows] for name, w in task.class_texts.items() if name in vectors.classes]
    return longer, replace(vectors, subjects=np.concatenate([vectors.subjects, *read]), classes={})
