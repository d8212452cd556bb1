"""A trained student of classes as parts of a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from tokenizers import Tokenizer

from kgdistill.arrays import FloatArray
from kgdistill.ranking.calibration import Calibration
from kgdistill.serve.bundle import Bundle
from kgdistill.serve.classifier import Classifier, TargetClasses
from kgdistill.serve.file import bundle_config
from kgdistill.serve.items import SHOWN, Items
from kgdistill.serve.known_nodes import KnownNodes
from kgdistill.serve.layers import LayeredTower
from kgdistill.serve.readings import Readings
from kgdistill.serve.tower import TextTower
from kgdistill.snapshot import Snapshot
from kgdistill.tasks.log_counts import LogCounts
from kgdistill.tasks.sensitive import sensitive_targets
from kgdistill.tasks.spec import ClassifySpec
from kgdistill.tasks.word_features import WordFeatures


class _Table(Protocol):
    @property
    def relationship(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def history(self) -> bool: ...
    @property
    def rows(self) -> FloatArray: ...
    @property
    def middle(self) -> float: ...
    @property
    def spread(self) -> float: ...
    @property
    def counts(self) -> tuple[LogCounts, ...]: ...


class _Manner(Protocol):
    @property
    def pooling(self) -> str: ...
    @property
    def prefixes(self) -> tuple[str, str]: ...


class _Layers(Protocol):
    """Layers that read texts, as far as a bundle needs them."""

    @property
    def max_tokens(self) -> int: ...
    @property
    def marks(self) -> tuple[Sequence[int], Sequence[int]]: ...
    @property
    def manner(self) -> _Manner: ...

    def save(self, folder: str) -> object: ...


class _Trained(Protocol):
    """A trained student of classes, as far as a bundle needs it."""

    @property
    def tokenizer(self) -> Tokenizer | None: ...
    @property
    def layers(self) -> _Layers | None: ...
    @property
    def max_tokens(self) -> int: ...
    @property
    def words(self) -> WordFeatures | None: ...
    @property
    def tables(self) -> Sequence[_Table]: ...
    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]: ...
    @property
    def several(self) -> frozenset[str]: ...
    @property
    def calibration(self) -> Mapping[str, Calibration]: ...

    def weights(self) -> dict[str, npt.NDArray[np.float32]]: ...


def packed_layers(layers: _Layers) -> LayeredTower:
    """Layers that read texts, as a bundle has them."""
    with TemporaryDirectory() as scratch:
        layers.save(scratch)
        saved = [path for path in Path(scratch).rglob("*") if path.is_file() and path.name != "README.md"]
        files = {path.relative_to(scratch).as_posix(): path.read_bytes() for path in sorted(saved)}
    manner = layers.manner
    return LayeredTower(
        files,
        max_tokens=layers.max_tokens,
        marks=layers.marks,
        prefix=manner.prefixes[0],
        pooling=manner.pooling,
    )


def pack_classifier(
    student: _Trained, keys: Mapping[str, Sequence[str]]
) -> tuple[TextTower | None, Classifier]:
    """The text tower and the classifier of a bundle.

    Args:
        student: trained.
        keys: of the nodes of each label that its tables are over, by id.
    """
    weights = student.weights()
    tower: TextTower | None = None if student.layers is None else packed_layers(student.layers)
    table = weights.pop("table", None)
    if table is not None and student.tokenizer is not None:
        tower = TextTower.of(student.tokenizer, table, None, student.max_tokens)
    targets = {
        name: TargetClasses(names, name in student.several, student.calibration[name])
        for name, names in student.classes.items()
    }
    nodes = [
        KnownNodes(
            t.relationship, t.label, t.history, tuple(keys[t.label]), t.rows, t.middle, t.spread, t.counts
        )
        for t in student.tables
    ]
    return tower, Classifier(targets, weights, nodes, 0 if tower is None else tower.dim, student.words)


def pack_classes(
    student: _Trained, keys: Mapping[str, Sequence[str]], snapshot: Snapshot, task: ClassifySpec
) -> Bundle:
    """A student of classes, as a bundle; it holds no items.

    Args:
        student, keys: as `pack_classifier`.
        snapshot: that it was trained on.
        task: the declared task.
    """
    tower, classifier = pack_classifier(student, keys)
    config = bundle_config(task.declared(), task.subjects.label, Readings.joined(["title"]), snapshot)
    config["sensitive"] = sensitive_targets(task, snapshot.schema)
    nothing = pa.table({name: pa.array([], pa.string()) for name in ("id", *SHOWN)})
    return Bundle(config, Items(nothing), text=tower, classifier=classifier)
