"""What of a history speaks for the class that is told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from kgdistill.serve.bundle import Bundle
from kgdistill.serve.classifier import Prediction
from kgdistill.tasks.written import WrittenText, as_one_text

_MOST = 200


class Attribution(NamedTuple):
    """One item of a history, or a text: by how much less probable the told class would be without it."""

    event: str
    key: str
    less: float


class KnownSubject(NamedTuple):
    """What is known of a subject.

    Attributes:
        done: keys by event, each once, the latest last.
        wrote: texts by event.
        own: the subject's own text.
    """

    done: Mapping[str, Sequence[str]]
    wrote: Mapping[str, Sequence[WrittenText]] = {}
    own: str = ""

    @property
    def text(self) -> str:
        """All its text, as it was learned from."""
        said = as_one_text(one for some in self.wrote.values() for one in some)
        return "\n".join(filter(None, (self.own, said)))

    def without(self, event: str, key: str) -> KnownSubject:
        """The same without one item or text."""
        return self._replace(
            done={n: [k for k in keys if (n, k) != (event, key)] for n, keys in self.done.items()},
            wrote={n: [w for w in some if (n, w.key) != (event, key)] for n, some in self.wrote.items()},
        )


def told_of(bundle: Bundle, known: Iterable[KnownSubject]) -> list[Prediction]:
    """What a bundle tells of subjects, by as much of what is known as it reads.

    Raises:
        InputError: as `Bundle.classify`.
    """
    subjects = list(known)
    part = bundle.classifier
    reads = part is not None and part.dim > 0
    histories = [one.done for one in subjects] if part is None or part.events else None
    return bundle.classify([one.text for one in subjects] if reads else None, histories)


def attributions(bundle: Bundle, known: KnownSubject, *, limit: int = 3) -> dict[str, list[Attribution]]:
    """By target what speaks most for the class that is told, by taking each item and text away in turn.

    Args:
        bundle: that tells classes of histories.
        known: of the subject; of more items or texts of an event the last 200 are taken away.
        limit: at most so many, none that speaks against.

    Raises:
        InputError: as `Bundle.classify`.
    """
    parts = {
        **known.done,
        **{name: [one.key for one in sorted(some)] for name, some in known.wrote.items()},
    }
    asked = [(event, key) for event, keys in parts.items() for key in list(keys)[-_MOST:]]
    whole, *without = told_of(bundle, [known, *(known.without(*one) for one in asked)])
    found = {}
    for name, told in whole.targets.items():
        held = told.first
        less = [
            Attribution(*one, told.probabilities[held] - other.targets[name].probabilities[held])
            for one, other in zip(asked, without, strict=True)
        ]
        found[name] = sorted((e for e in less if e.less > 0), key=lambda e: (-e.less, e.key))[:limit]
    return found
