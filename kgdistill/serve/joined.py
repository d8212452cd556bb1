"""Bundles of several tasks as one: each question goes to the one that was made for it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kgdistill.errors import ArtefactError, DiskError, InputError, UnknownNameError
from kgdistill.nearest import nearest
from kgdistill.serve.answer import Answer
from kgdistill.serve.answers import Reply
from kgdistill.serve.audiences import AudienceAnswer
from kgdistill.serve.bundle import Bundle, load_bundle
from kgdistill.serve.classifier import Prediction
from kgdistill.serve.file import SHARED, share_files
from kgdistill.serve.parts import ANEW
from kgdistill.serve.past import Past, past_texts
from kgdistill.whole_file import whole_file

BUNDLES, RUNS = "bundles.json", "runs.json"
"""Name the tasks of a folder that holds several bundles, or several runs, and the folder of each."""
_FORMAT = 1
_PARTS = {
    "recommend": "history",
    "why": "history",
    "explain": "history",
    "goes_with": "complements",
    "similar": "history",
    "search": "search",
    "classify": "classifier",
    "profile": "classifier",
    "watch": "classifier",
    "audience": "audience",
    "answer": "answers",
}
"""The part of a bundle that answers, by what is asked."""


@dataclass(frozen=True)
class HeldBundle:
    """What the config.json of a bundle says of it: enough to know what it answers.

    Attributes:
        parts: the settings of each part.
        task: as it was declared.
    """

    parts: Mapping[str, Any]
    task: Mapping[str, Any]

    def answers(self, asked: str) -> bool:
        """Whether it answers what is asked, such as `recommend`."""
        if _PARTS[asked] not in self.parts:
            return False
        if asked == "why":
            return "repeats" not in self.parts
        if asked == "watch":
            return bool(self.task.get("alerts"))
        if asked == "profile":
            by = (self.task.get("subjects") or {}).get("by", ())
            return "history" in ([by] if isinstance(by, str) else by)
        return True

    @property
    def says_past_answers(self) -> bool:
        """Whether it holds answers of the past, not templates of intents alone."""
        return bool((self.parts.get("answers") or {}).get("said"))

    @property
    def can_hold_templates(self) -> bool:
        """Whether a class of it can be a node, which alone has a template."""
        return any(target.get("relationship") for target in (self.task.get("targets") or {}).values())


class Joined(Mapping[str, Bundle]):
    """Bundles by the names of their tasks; each is loaded when it is first asked.

    What a `Bundle` answers, this answers, by the one whose task it is; `joined["intent"]` is one of them.

    Args:
        folder: holds a bundle for each task.
        names: of the tasks, with the folder of each.

    Raises:
        ArtefactError: a bundle's config.json is missing or cannot be read.
    """

    def __init__(self, folder: Path, names: Mapping[str, str]) -> None:
        self.folder, self._loaded = folder, dict[str, Bundle]()
        self._inside = dict(names)
        self._told = {name: _told(folder / inside) for name, inside in names.items()}

    def __getitem__(self, name: str) -> Bundle:
        if name not in self._loaded:
            if name not in self._told:
                raise no_task("bundle", name, self)
            loaded = load_bundle(self.folder / self._inside[name])
            towers = [other.text for other in self._loaded.values() if other.text is not None]
            if loaded.text is not None and towers:
                loaded.text.share(towers)
            self._loaded[name] = loaded
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._told)

    def __len__(self) -> int:
        return len(self._told)

    def __contains__(self, name: object) -> bool:
        return name in self._told

    def of(self, asked: str, task: str | None = None) -> str:
        """The name of the task whose bundle answers.

        Args:
            asked: what is asked, such as `recommend`.
            task: the task's name; None where one bundle alone can answer, or one for nothing else.

        Raises:
            InputError: none can, several can and no task was named, or there is no such task.
        """
        if task is not None:
            if task not in self._told:
                raise no_task("bundle", task, self)
            return task
        able = [name for name, told in self._told.items() if told.answers(asked)]
        if asked == "search":
            # A bundle that recommends finds words too; one made to search does it better.
            able = [name for name in able if "history" not in self._told[name].parts] or able
            able = [name for name in able if "answers" not in self._told[name].parts] or able
        if asked == "answer":
            # Classes that are no nodes, such as moods, have nothing to say.
            speaks = [self._told[n].says_past_answers or self._told[n].can_hold_templates for n in able]
            able = [name for name, can in zip(able, speaks, strict=True) if can] or able
        if len(able) == 1:
            return able[0]
        if able:
            told = f"{' and '.join(able)} {'both' if len(able) == 2 else 'all'} answer {asked!r}"
            raise InputError(told, hint="name one: --task, task=")
        raise InputError(f"no bundle here answers {asked!r}", hint=f"they were made for {', '.join(self)}")

    # What a bundle answers; `task` names whose, where several could ------------------------------------

    def recommend(self, history: Past = (), k: int = 20, *, task: str | None = None, **more: Any) -> Answer:
        """As `Bundle.recommend`."""
        return self[self.of("recommend", task)].recommend(history, k, **more)

    def recommend_many(
        self, histories: Sequence[Past], k: int = 20, *, task: str | None = None, **more: Any
    ) -> list[Answer]:
        """As `Bundle.recommend_many`."""
        return self[self.of("recommend", task)].recommend_many(histories, k, **more)

    def search(
        self, text: str, k: int = 20, *, history: Past = (), task: str | None = None, **more: Any
    ) -> Answer:
        """As `Bundle.search`; what a history suggests is told by the bundle that recommends."""
        bundle, done = self[self.of("search", task)], past_texts(history)
        if done and bundle.history is None:
            more = {"recommender": self[self.of("recommend")], **more}
        return bundle.search(text, k, history=done, **more)

    def search_many(
        self, texts: Sequence[str], k: int = 20, *, task: str | None = None, **more: Any
    ) -> list[Answer]:
        """As `Bundle.search_many`."""
        return self[self.of("search", task)].search_many(texts, k, **more)

    def similar(self, item: str | int, k: int = 20, *, task: str | None = None, **more: Any) -> Answer:
        """As `Bundle.similar`."""
        return self[self.of("similar", task)].similar(item, k, **more)

    def classify(
        self, texts: Sequence[str] | None = None, *, task: str | None = None, **more: Any
    ) -> list[Prediction]:
        """As `Bundle.classify`."""
        return self[self.of("classify", task)].classify(texts, **more)

    def audience(
        self, campaign: str | int | None = None, *, task: str | None = None, **more: Any
    ) -> AudienceAnswer:
        """As `Bundle.audience`."""
        return self[self.of("audience", task)].audience(campaign, **more)

    def answer(self, text: str, k: int = 3, *, task: str | None = None, **more: Any) -> Reply:
        """As `Bundle.answer`: past answers beside the templates of intents, where both are there."""
        past, templates = self.answering(past=True), self.answering(past=False)
        if task is None and past is not None and templates is not None:
            return past.answer(text, k, intents=templates, **more)
        return self[self.of("answer", task)].answer(text, k, **more)

    def answering(self, *, past: bool) -> Bundle | None:
        """The one bundle with past answers, or with templates alone; None of none and of several."""
        held = {n: t for n, t in self._told.items() if t.answers("answer") and t.says_past_answers == past}
        able = [n for n, t in held.items() if past or t.can_hold_templates]
        return self[able[0]] if len(able) == 1 else None


def no_task(what: str, name: str, held: Iterable[str]) -> UnknownNameError:
    """Says that no bundle or run was made for a task, with the nearest that one was made for."""
    known = list(held)
    hint = f"{nearest(name, known)}known: {', '.join(known)}"
    return UnknownNameError(f"no {what} here was made for {name[:40]!r}", hint=hint)


def _told(folder: Path) -> HeldBundle:
    file = folder / "config.json"
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
        return HeldBundle(dict(held["parts"]), dict(held.get("task") or {}))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"cannot be read: {error}", where=str(file), hint=ANEW) from error


def load(folder: str | Path) -> Bundle | Joined:
    """Loads a bundle, or those of several tasks; nothing else of a run is needed.

    Args:
        folder: of a bundle, of several that were joined, or of the run or runs that they are of.

    Raises:
        ArtefactError: a file is missing, damaged, of another copy or of another format.
    """
    place = Path(folder)
    if runs_in(place) is not None or (place / "bundle" / "config.json").is_file():
        place /= "bundle"
    names = bundles_in(place)
    return load_bundle(place) if names is None else Joined(place, names)


def bundles_in(folder: Path) -> dict[str, str] | None:
    """The tasks of a folder that holds several bundles, with the folder of each; None of any other folder.

    Raises:
        ArtefactError: the file that names them cannot be read.
    """
    return _read(folder / BUNDLES)


def runs_in(folder: Path) -> dict[str, str] | None:
    """The same of several runs."""
    return _read(folder / RUNS)


def name_runs(folder: Path, names: Mapping[str, str]) -> None:
    """Writes down which runs a folder holds, and where; DiskError where it cannot be written."""
    _write(folder / RUNS, names)


def join(folder: str | Path, bundles: Mapping[str, str | Path]) -> Joined:
    """Puts bundles of several tasks into one folder, in place of those that it held.

    Args:
        folder: made where it is not there.
        bundles: by the name of the task, the folder of each.

    Raises:
        ArtefactError: a bundle is damaged, or the folder holds something else.
        DiskError: the folder cannot be written.
        InputError: no bundle, or a name that is none of a folder.
    """
    whole = Path(folder)
    if not bundles or (bad := [name for name in bundles if not _is_name(name)]):
        raise InputError(f"{bad[0][:40]!r} cannot name a folder" if bundles else "no bundle was given")
    loaded = {name: load_bundle(of) for name, of in bundles.items()}
    known = {BUNDLES, SHARED, *(bundles_in(whole) or {}).values()}
    if whole.exists() and (not whole.is_dir() or any(p.name not in known for p in whole.iterdir())):
        message = "holds something else than joined bundles"
        raise ArtefactError(message, where=str(whole), hint="name a new folder")
    new, old = (whole.with_name(f".{whole.name}.{end}") for end in ("new", "old"))
    try:
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)
        new.mkdir(parents=True)
        for name, bundle in loaded.items():
            bundle.save(new / name)
        share_files(new, list(loaded))
        _write(new / BUNDLES, {name: name for name in loaded})
        if whole.exists():
            os.replace(whole, old)
        os.replace(new, whole)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise DiskError(f"cannot be written: {error.strerror or error}", where=str(whole)) from error
    return Joined(whole, {name: name for name in loaded})


def _read(file: Path) -> dict[str, str] | None:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        names = told["tasks"]
        if told["format"] != _FORMAT or not names or not all(map(_is_name, [*names, *names.values()])):
            raise ValueError("it names no tasks that this version reads")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtefactError(f"cannot be read: {error}", where=str(file), hint=ANEW) from error
    return dict(names)


def _write(file: Path, names: Mapping[str, str]) -> None:
    with whole_file(file) as partial:
        partial.write_text(json.dumps({"format": _FORMAT, "tasks": dict(names)}, indent=2), encoding="utf-8")


def _is_name(name: object) -> bool:
    return (
        isinstance(name, str) and name not in ("", ".", "..", BUNDLES, SHARED) and not {"/", "\\"} & set(name)
    )
