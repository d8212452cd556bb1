"""Sentiment and topic of texts, told by a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from kgdistill.errors import InputError
from kgdistill.tasks.alerts import Alerts
from kgdistill.watch.watcher import Labeller, Labels


class _Told(Protocol):
    @property
    def classes(self) -> tuple[str, ...]: ...


class _Prediction(Protocol):
    @property
    def targets(self) -> Mapping[str, _Told]: ...


class _Classifier(Protocol):
    @property
    def targets(self) -> Mapping[str, Any]: ...


class _Bundle(Protocol):
    @property
    def classifier(self) -> _Classifier | None: ...

    def classify(self, texts: Sequence[str]) -> Sequence[_Prediction]: ...


def labeller(bundle: _Bundle, alerts: Alerts, where: str) -> Labeller:
    """What tells sentiment and topic of texts.

    Args:
        bundle: such as `kgdistill.load` gives.
        alerts: name the targets.
        where: the bundle, for messages.

    Raises:
        InputError: the bundle does not tell the target whose class is counted, or not that class.
    """
    told = bundle.classifier.targets if bundle.classifier is not None else {}
    if alerts.target not in told:
        known = ", ".join(told) or "no classes"
        raise InputError(
            f"does not tell {alerts.target!r}, but {known}", where=where, hint="name another bundle"
        )
    classes = told[alerts.target].names
    if not set(alerts.every).intersection(classes):
        raise InputError(
            f"does not tell {alerts.said!r}, but {', '.join(classes)[:200]}",
            where=where,
            hint="say which by --bad",
        )

    def label(texts: Sequence[str]) -> Labels:
        return [
            (_first(one.targets, alerts.target), _first(one.targets, alerts.topic))
            for one in bundle.classify(texts)
        ]

    return label


def _first(targets: Mapping[str, _Told], name: str | None) -> str | None:
    told = targets.get(name) if name is not None else None
    return told.classes[0] if told is not None and told.classes else None
