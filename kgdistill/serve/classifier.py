"""The part of a bundle that tells classes: token means, words, histories and facts in one head, by NumPy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np

from kgdistill.arrays import FloatArray
from kgdistill.errors import InputError
from kgdistill.nearest import nearest
from kgdistill.ranking.calibration import Calibration
from kgdistill.ranking.centres import stored_centres
from kgdistill.ranking.confidence import Confidence
from kgdistill.serve.known_nodes import Keys, KnownNodes, counts_arrays, stored_counts
from kgdistill.serve.parts import Arrays, all_of, check_arrays, check_settings, is_confidence, number, refuse
from kgdistill.serve.tower import TextTower, unit
from kgdistill.tasks.word_features import WordFeatures, WordTable

_NODES, _WORDS = "classifier/nodes.json", "classifier/words.json"
_ROWS = 1024
PastKeys: TypeAlias = Keys | Mapping[str, Keys]
"""Keys of what a subject did something with: of the first event that is read, or by event."""


@dataclass(frozen=True)
class TargetClasses:
    """What a target can be.

    Attributes:
        names: the classes, in the order of the head's outputs.
        several: whether several can hold at once.
        calibration: what makes logits of them a decision.
    """

    names: tuple[str, ...]
    several: bool
    calibration: Calibration


@dataclass(frozen=True)
class Told:
    """What is told of one target.

    Attributes:
        classes: those that hold, the likeliest first; none where it is out of scope.
        probabilities: of every class, the likeliest first; with one class a subject they sum to 1.
        out_of_scope: whether it is said to be none of the classes.
        confidence: how probably `first` is right, by what is familiar where "none of them" is an answer.
    """

    classes: tuple[str, ...]
    probabilities: dict[str, float]
    out_of_scope: bool
    confidence: float

    @property
    def first(self) -> str:
        """The first class that holds; where none does, the likeliest."""
        return self.classes[0] if self.classes else next(iter(self.probabilities))


@dataclass(frozen=True)
class Prediction:
    """What is told of one subject.

    Attributes:
        targets: by the target's name.
        known: whether anything of what was given is known to the model; if not, it tells what is common.
        unknown: keys of the history or the facts that are not known.
    """

    targets: dict[str, Told]
    known: bool
    unknown: tuple[str, ...] = ()

    @property
    def told(self) -> Told:
        """The only target; InputError where there are several."""
        if len(self.targets) > 1:
            raise InputError(f"there are several targets: {', '.join(self.targets)}")
        return next(iter(self.targets.values()))


class Classifier:
    """Tells classes from text vectors, histories and facts.

    Args:
        targets: by name.
        layers: the head: `hidden.weight` float32 [H, W] and `hidden.bias` [H] where there is a shared layer,
            for each target `target.NAME.weight` and `target.NAME.bias`, and `centre_arrays` of those that can
            be none of their classes; and `words`, what each word adds to the classes of all targets, float32
            [words, classes], where texts are read.
        nodes: what subjects can be tied to.
        dim: width of the text vectors; 0 where texts are not read.
        words: the exact words that are read; None, or none, where texts are not or share none.
    """

    name: ClassVar[str] = "classifier"

    def __init__(
        self,
        targets: Mapping[str, TargetClasses],
        layers: Mapping[str, FloatArray],
        nodes: Sequence[KnownNodes],
        dim: int,
        words: WordFeatures | None = None,
    ) -> None:
        self.targets, self.nodes, self.dim = dict(targets), tuple(nodes), dim
        self.words = words if words is not None and words.words else None
        self._layers = dict(layers)
        unsure = [name for name, target in self.targets.items() if target.calibration.familiar is not None]
        self._centres = stored_centres(unsure, self._layers)

    @property
    def relationships(self) -> list[str]:
        """What facts and histories can be given of a subject."""
        return list(dict.fromkeys(n.relationship for n in self.nodes))

    @property
    def events(self) -> list[str]:
        """What histories can hold, the task's first event first."""
        return list(dict.fromkeys(n.relationship for n in self.nodes if n.history))

    def classify(
        self,
        texts: Sequence[str] | None = None,
        histories: Sequence[PastKeys] | None = None,
        facts: Sequence[Mapping[str, Keys]] | None = None,
        *,
        tower: TextTower | None = None,
    ) -> list[Prediction]:
        """What is told of each subject; those of `texts`, `histories` and `facts` are the same, in one order.

        Args:
            texts: on each subject.
            histories: what each subject did something with.
            facts: of each subject, by relationship the keys of the nodes that it leads to.
            tower: of the same bundle.

        Raises:
            InputError: nothing is given, or something that these classes are not told from; their lengths
                differ; a relationship that is not known; one text or one key instead of several.
        """
        count = self._check(texts, histories, facts, tower)
        vectors, words, known = None, None, np.zeros(count, np.bool_)
        if self.dim:
            vectors = np.zeros((count, self.dim), np.float32)
            if texts is not None and tower is not None:
                vectors = tower.encode(texts, known=True)
                words = None if self.words is None else self.words.read(texts)
                known |= vectors.any(axis=1)
        given, unknown = self._ties(count, histories, facts)
        beside = [n.of(keys) for n, keys in zip(self.nodes, given, strict=True)]
        for nodes, keys in zip(self.nodes, given, strict=True):
            known |= np.array([any(key in nodes.places for key in mine) for mine in keys], np.bool_)
        dense = self.dense(vectors, beside)
        told = {name: self._told(name, x, dense) for name, x in self.logits(dense, words).items()}
        return [
            Prediction({name: parts[i] for name, parts in told.items()}, bool(known[i]), unknown[i])
            for i in range(count)
        ]

    def dense(self, vectors: FloatArray | None, beside: Sequence[FloatArray]) -> FloatArray:
        """What the head reads beside words, float32 [subjects, features].

        Args:
            vectors: of the texts, of any length, float32 [subjects, dim]; None where texts are not read.
            beside: what each of `nodes` gives.
        """
        parts = [] if vectors is None else [unit(vectors) * np.float32(self.dim**0.5)]
        return np.concatenate([*parts, *beside], axis=1)

    def logits(self, dense: FloatArray, words: WordTable | None = None) -> dict[str, FloatArray]:
        """Of each target, float32 [subjects, classes].

        Args:
            dense: see `dense`.
            words: of the texts; None where there is none.
        """
        x = dense
        if "hidden.weight" in self._layers:
            x = np.maximum(x @ self._layers["hidden.weight"].T + self._layers["hidden.bias"], 0)
        logits = {
            name: np.asarray(
                x @ self._layers[f"target.{name}.weight"].T + self._layers[f"target.{name}.bias"], np.float32
            )
            for name in self.targets
        }
        if words is None:
            return logits
        ends = np.cumsum([len(target.names) for target in self.targets.values()])[:-1]
        for start in range(0, len(x), _ROWS):
            rows = np.arange(start, min(start + _ROWS, len(x)))
            said = np.split(words.rows(rows).total(self._layers["words"]), ends, axis=1)
            for name, part in zip(self.targets, said, strict=True):
                logits[name][rows] += part
        return logits

    def _told(self, name: str, logits: FloatArray, dense: FloatArray) -> list[Told]:
        target = self.targets[name]
        near = self._centres[name].near(dense) if name in self._centres else None
        p, chosen = target.calibration.told(logits, near, several=target.several)
        order = np.argsort(-p, axis=1, kind="stable")
        out = []
        believed = p.max(axis=1) if target.several else target.calibration.believed(p, near)
        for row, ranks, holds, sure in zip(
            p.tolist(), order.tolist(), chosen, believed.tolist(), strict=True
        ):
            names = {target.names[c]: row[c] for c in ranks}
            held = tuple(target.names[c] for c in ranks if holds[c])
            out.append(Told(held, names, not held and not target.several, sure))
        return out

    def _check(
        self,
        texts: Sequence[str] | None,
        histories: Sequence[PastKeys] | None,
        facts: Sequence[Mapping[str, Keys]] | None,
        tower: TextTower | None,
    ) -> int:
        reads = {
            "texts": bool(self.dim),
            "histories": any(n.history for n in self.nodes),
            "facts": any(not n.history for n in self.nodes),
        }
        known = " and ".join(name for name, read in reads.items() if read)
        given = {"texts": texts, "histories": histories, "facts": facts}
        there = {name: values for name, values in given.items() if values is not None}
        for name in there:
            if not reads[name]:
                raise InputError(f"these classes are told from {known}, not from {name}")
        if not there:
            raise InputError(f"nothing to tell classes from; give {known}")
        if any(
            isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable)
            for values in there.values()
        ):
            raise InputError("give a list of subjects, not one alone")
        lengths = {name: len(values) for name, values in there.items()}
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{count:,} {name}" for name, count in lengths.items())
            raise InputError(f"there are {shown}: one of each a subject")
        if any(not isinstance(text, str) for text in texts or ()):
            raise InputError("a text is no string")
        if self.dim and texts is not None and tower is None:
            raise InputError("the bundle holds no text tower; it cannot classify texts")
        return next(iter(lengths.values()))

    def _ties(
        self, count: int, histories: Sequence[PastKeys] | None, facts: Sequence[Mapping[str, Keys]] | None
    ) -> tuple[list[list[list[str]]], list[tuple[str, ...]]]:
        """The keys of every subject for each of `nodes`, and those of which none is known."""
        done = [h if isinstance(h, Mapping) else {self.events[0]: h} for h in histories or [{}] * count]
        ties = [n.relationship for n in self.nodes if not n.history]
        held = {
            True: _named(done, self.events, "event"),
            False: _named(facts or [{}] * count, ties, "relationship"),
        }
        out = [[mine.get(n.relationship, []) for mine in held[n.history]] for n in self.nodes]
        places: dict[tuple[bool, str], list[dict[str, int]]] = {}
        for nodes in self.nodes:
            places.setdefault((nodes.history, nodes.relationship), []).append(nodes.places)
        unknown = [
            dict.fromkeys(
                key
                for kind in (True, False)
                for name, keys in held[kind][i].items()
                for key in keys
                if not any(key in known for known in places[kind, name])
            )
            for i in range(count)
        ]
        return out, [tuple(keys) for keys in unknown]

    # On disk --------------------------------------------------------------------------------------

    def settings(self) -> dict[str, Any]:
        """See `BundlePart`."""
        return {
            "dim": self.dim,
            "targets": {
                name: {
                    "classes": list(t.names), "several": t.several, "temperature": c.temperature,
                    "threshold": c.threshold, "weights": list(c.weights),
                    "familiar": None if c.familiar is None else asdict(c.familiar),
                }
                for name, t in self.targets.items()
                for c in [t.calibration]
            },
            "nodes": [
                [n.relationship, n.label, n.history, n.middle, n.spread, len(n.counts)] for n in self.nodes
            ],
        }  # fmt: skip

    def arrays(self) -> Arrays:
        """See `BundlePart`."""
        out = {**self._layers, **{f"nodes.{i}": n.rows for i, n in enumerate(self.nodes)}}
        if self.words is not None:
            out["idf"] = self.words.idf
        for i, nodes in enumerate(self.nodes):
            for j, block in enumerate(nodes.counts):
                out |= block.arrays(f"nodes.{i}.{j}")
        return out

    def files(self) -> dict[str, bytes]:
        """See `BundlePart`."""
        held: dict[str, Any] = {_NODES: [list(n.keys) for n in self.nodes]}
        held[_WORDS] = [] if self.words is None else list(self.words.words)
        return {name: json.dumps(told, ensure_ascii=False).encode() for name, told in held.items() if told}

    @classmethod
    def from_arrays(
        cls, settings: Mapping[str, Any], arrays: Arrays, files: Mapping[str, bytes], items: int
    ) -> Classifier:
        """See `BundlePart`."""
        targets, nodes, dim = _read_settings(settings)
        keys, words = _told(files, _NODES) if nodes else [], []
        fits = isinstance(keys, list) and len(keys) == len(nodes) and all(all_of(k, str) for k in keys)
        if not fits:
            raise refuse("does not hold the keys of the nodes", _NODES)
        if "words" in arrays and (not all_of(words := _told(files, _WORDS), str) or not words):
            raise refuse("does not hold the words", _WORDS)
        wanted: dict[str, tuple[str, tuple[int, ...]]] = {
            f"nodes.{i}": ("float32", (len(mine), -1)) for i, mine in enumerate(keys)
        }
        width = dim + sum(arrays[n].shape[1] + 1 for n in wanted if n in arrays and arrays[n].ndim == 2)
        for i, ((*_, count), mine) in enumerate(zip(nodes, keys, strict=True)):
            for j in range(count):
                more = counts_arrays(f"nodes.{i}.{j}", arrays, len(mine))
                wanted |= more
                width += more[f"nodes.{i}.{j}.middle"][1][0]
        features = width
        if "hidden.weight" in arrays:
            hidden = len(arrays["hidden.weight"])
            wanted |= {"hidden.weight": ("float32", (hidden, width)), "hidden.bias": ("float32", (hidden,))}
            width = hidden
        for name, target in targets.items():
            count = len(target.names)
            wanted |= {
                f"target.{name}.weight": ("float32", (count, width)),
                f"target.{name}.bias": ("float32", (count,)),
            }
            if target.calibration.familiar is not None:
                wanted |= {
                    f"centres.{name}.middle": ("float32", (features,)),
                    f"centres.{name}.rows": ("float32", (-1, features)),
                }
        if words:
            classes = sum(len(target.names) for target in targets.values())
            wanted |= {"words": ("float32", (len(words), classes)), "idf": ("float32", (len(words),))}
        check_arrays("classifier", arrays, wanted)
        known = [
            KnownNodes(
                relationship, label, history, tuple(mine), arrays[f"nodes.{i}"], middle, spread,
                tuple(stored_counts(f"nodes.{i}.{j}", arrays) for j in range(count)),
            )
            for i, ((relationship, label, history, middle, spread, count), mine) in enumerate(
                zip(nodes, keys, strict=True)
            )
        ]  # fmt: skip
        layers = {k: array for k, array in arrays.items() if not k.startswith("nodes.") and k != "idf"}
        read = WordFeatures(tuple(words), arrays["idf"]) if words else None
        return cls(targets, layers, known, dim, read)


def _told(files: Mapping[str, bytes], name: str) -> Any:
    try:
        return json.loads(files[name])
    except (KeyError, ValueError) as error:
        raise refuse("cannot be read", name) from error


def _read_settings(
    settings: Mapping[str, Any],
) -> tuple[dict[str, TargetClasses], list[tuple[str, str, bool, float, float, int]], int]:
    dim, nodes, raw = settings.get("dim"), settings.get("nodes"), settings.get("targets")
    check_settings(
        settings,
        {
            "dim": isinstance(dim, int) and not isinstance(dim, bool) and dim >= 0,
            "targets": isinstance(raw, dict) and bool(raw) and all(_is_target(t) for t in raw.values()),
            "nodes": isinstance(nodes, list) and all(_is_node(n) for n in nodes),
        },
    )
    assert isinstance(raw, dict)
    assert isinstance(nodes, list)
    assert isinstance(dim, int)
    targets = {
        name: TargetClasses(
            tuple(t["classes"]),
            t["several"],
            Calibration(
                float(t["temperature"]),
                float(t["threshold"]),
                weights=tuple(t["weights"]),
                familiar=None if t["familiar"] is None else Confidence.stored(t["familiar"]),
            ),
        )
        for name, t in raw.items()
    }
    # Bundles that were made before counts were read say nothing of them.
    told = [(n[0], n[1], n[2], float(n[3]), float(n[4]), n[5] if len(n) > 5 else 0) for n in nodes]
    return targets, told, dim


def _is_target(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all_of(value.get("classes"), str)
        and bool(value["classes"])
        and isinstance(value.get("several"), bool)
        and number(value.get("temperature"))
        and value["temperature"] > 0
        and number(value.get("threshold"))
        and (value.get("familiar", 0) is None or is_confidence(value.get("familiar"), numbers=2))
        and isinstance(held := value.get("weights"), list)
        and all(number(w) and w > 0 for w in held)
        and len(held) in (0, len(value["classes"]))
    )


def _is_node(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) in (5, 6)
        and all_of(value[:2], str)
        and isinstance(value[2], bool)
        and all(number(v) for v in value[3:])
        and value[4] > 0
        and all(isinstance(count, int) and count >= 0 for count in value[5:])
    )


def _named(
    given: Sequence[Mapping[str, Keys]], names: Sequence[str], what: str
) -> list[dict[str, list[str]]]:
    """What each subject has of each relationship, as texts."""
    for name in (name for mine in given for name in mine):
        if name not in names:
            raise InputError(
                f"no {what} {str(name)!r:.60} is known to these classes",
                hint=f"{nearest(str(name), names)}known: {', '.join(sorted(set(names)))}",
            )
    return [{name: _texts(keys) for name, keys in mine.items()} for mine in given]


def _texts(keys: Keys) -> list[str]:
    if isinstance(keys, str | bytes):
        raise InputError(f"{keys!r} is one key; give a list of keys")
    return [str(key) for key in keys]
