"""What a student of classes is taught: its teacher's word on the subjects, and on further texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kgdistill.arrays import FloatArray
from kgdistill.config import ClassifyConfig
from kgdistill.models.text.vocabulary import TokenSource, common_words
from kgdistill.tasks.classify import ClassifyTask
from kgdistill.train.class_lesson import Logits
from kgdistill.train.classify import ClassTeacher
from kgdistill.train.subject_vectors import SubjectVectors, with_classes
from kgdistill.words import unspaced

_REPLACED, _LEFT_OUT, _NEAREST, _BLOCK, _TIMES = 0.3, 0.1, 10, 1024, 20


@dataclass(frozen=True)
class Taught:
    """What a student learns from.

    Attributes:
        task: what is told, with what is written on classes as training subjects behind its own, and the
            made-up texts as unlabelled ones behind these.
        vectors: of the text teacher, of all of these.
        soft: the teacher's logits of all of these; None is the student without distillation.
    """

    task: ClassifyTask
    vectors: SubjectVectors
    soft: Logits | None


def taught(
    teacher: ClassTeacher | None,
    task: ClassifyTask,
    encoder: TokenSource | None,
    vectors: SubjectVectors,
    config: ClassifyConfig,
    seed: int,
) -> Taught:
    """What a teacher tells a student of a task.

    Labelled texts show a student little of what its teacher knows: of `config.made_up` texts in all
    (`config.tower_texts` where layers read them), at most twenty for each labelled one, those that are
    missing are made up of the training texts (`made_up`), read by the text teacher and told by the teacher.
    Only where texts are all that is known of a subject.

    Args:
        teacher: trained; None is the student without distillation.
        task: what is told.
        encoder: the text teacher; None where texts are not read.
        vectors: of the text teacher.
        config: how many.
        seed: of what is made up.
    """
    if teacher is None:
        return Taught(*with_classes(task, vectors), None)
    own, said = len(task), teacher.told(task, vectors)
    task, vectors = with_classes(task, vectors)
    soft, rows = _behind(said, teacher, task, vectors, own), task.subjects("train")
    most = config.made_up if config.tower == "table" else config.tower_texts
    wanted = min(most, _TIMES * len(rows)) - len(rows) - len(task.unlabelled)
    if task.texts is None or encoder is None or vectors.subjects is None or task.neighbours or wanted <= 0:
        return Taught(task, vectors, soft)
    made = made_up([task.texts[i] for i in rows], encoder, wanted, np.random.default_rng(seed))
    if not made:
        return Taught(task, vectors, soft)
    read = SubjectVectors(np.concatenate([vectors.subjects, encoder.encode(made)]), vectors.nodes)
    longer = task.with_texts(made)
    return Taught(longer, read, _behind(soft, teacher, longer, read, len(task)))


def _behind(
    said: Logits, teacher: ClassTeacher, task: ClassifyTask, vectors: SubjectVectors, own: int
) -> Logits:
    """What a teacher says of the first `own` subjects, and behind it what it says of the others."""
    if len(task) == own:
        return said
    more = teacher.logits(task, vectors)
    return {name: np.concatenate([logits, more[name][own:]]) for name, logits in said.items()}


def made_up(texts: Sequence[str], encoder: TokenSource, count: int, rng: np.random.Generator) -> list[str]:
    """Texts like some others: words are left out, and near ones stand for others (Jiao et al. 2020, 4.1).

    Each word is left out by a chance of 0.1, or by one of 0.3 replaced by one of the ten common words of the
    encoder's vocabulary whose vectors are nearest to its own.

    Args:
        texts: what they are made of, each as often as the others; not those without blanks between words.
        encoder: of the words.
        count: how many of as many texts as these; fewer where nothing is left of some.
        rng: draws them.

    Returns:
        The texts; none where the encoder shows no words.
    """
    split = [text.split() for text in texts if not any(map(unspaced, text))]
    near = _near_words(split, encoder)
    out = []
    for number in range(count * len(split) // len(texts) if near else 0):
        words = split[number % len(split)]
        chance, which = rng.random(len(words)), rng.integers(_NEAREST, size=len(words))
        text = " ".join(
            near[core][place % len(near[core])]
            if drawn < _LEFT_OUT + _REPLACED and (core := _letters(word)) in near
            else word
            for word, drawn, place in zip(words, chance, which, strict=True)
            if drawn >= _LEFT_OUT
        )
        out += [text] if text else []
    return out


def _letters(word: str) -> str:
    return "".join(filter(str.isalpha, word)).lower()


def _near_words(split: Sequence[Sequence[str]], encoder: TokenSource) -> dict[str, list[str]]:
    """What may stand for each word of some texts."""
    words = {_letters(word) for text in split for word in text}
    return _nearest(sorted(w for w in words if len(w) > 2), common_words(encoder), encoder)


def _nearest(words: Sequence[str], known: Sequence[str], encoder: TokenSource) -> dict[str, list[str]]:
    """The ten nearest of the known words to each word, itself left out."""
    if not words or len(known) < 2:
        return {}
    vectors: FloatArray = encoder.encode([*known])
    out = {}
    for start in range(0, len(words), _BLOCK):
        block = words[start : start + _BLOCK]
        order = np.argsort(-(encoder.encode([*block]) @ vectors.T), axis=1, kind="stable")
        for word, row in zip(block, order[:, : _NEAREST + 1].tolist(), strict=True):
            out[word] = [known[i] for i in row if known[i] != word][:_NEAREST]
    return out
