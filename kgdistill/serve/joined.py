"""Bundles of several tasks as one: each question goes to the one that was made for it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kgdistill.errors import ArtefactError, DiskError, InputError
from kgdistill.nearest import nearest
from kgdistill.serve.answer import Answer
from kgdistill.serve.answers import Reply
from kgdistill.serve.audiences import AudienceAnswer
from kgdistill.serve.bundle import Bundle, load_bundle
from kgdistill.serve.classifier import Prediction
from kgdistill.serve.parts import ANEW
from kgdistill.serve.past import Past, past_texts

TASKS = "tasks.json"
"""Names the tasks of a folder that holds several bundles, or several runs, each in a folder of its own."""
_FORMAT = 1
_PARTS = {
    "recommend": "history",
    "why": "history",
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


class Joined(Mapping[str, Bundle]):
    """Bundles by the names of their tasks; each is loaded when it is first asked.

    What a `Bundle` answers, this answers, by the one whose task it is; `joined["intent"]` is one of them.

    Args:
        folder: holds a bundle for each task, in a folder of that name.
        names: of the tasks.

    Raises:
        ArtefactError: a bundle's config.json is missing or cannot be read.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder, self._loaded = folder, dict[str, Bundle]()
        self._told = {name: _told(folder / name) for name in names}

    def __getitem__(self, name: str) -> Bundle:
        if name not in self._loaded:
            if name not in self._told:
                raise KeyError(name)
            self._loaded[name] = load_bundle(self.folder / name)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._told)

    def __len__(self) -> int:
        return len(self._told)

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
                hint = f"{nearest(task, list(self))}known: {', '.join(self)}"
                raise InputError(f"no bundle here was made for {task[:40]!r}", hint=hint)
            return task
        able = [name for name, told in self._told.items() if told.answers(asked)]
        if asked == "search":
            # A bundle that recommends finds words too; one made to search does it better.
            able = [name for name in able if "history" not in self._told[name].parts] or able
            able = [name for name in able if "answers" not in self._told[name].parts] or able
        if len(able) == 1:
            return able[0]
        if able:
            raise InputError(f"{' and '.join(able)} could {asked}", hint="name one: --task, task=")
        raise InputError(f"no bundle here can {asked}", hint=f"they were made for {', '.join(self)}")

    # What a bundle answers ------------------------------------------------------------------------

    def recommend(self, history: Past = (), k: int = 20, **more: Any) -> Answer:
        """As `Bundle.recommend`."""
        return self[self.of("recommend")].recommend(history, k, **more)

    def recommend_many(self, histories: Sequence[Past], k: int = 20, **more: Any) -> list[Answer]:
        """As `Bundle.recommend_many`."""
        return self[self.of("recommend")].recommend_many(histories, k, **more)

    def search(self, text: str, k: int = 20, *, history: Past = (), **more: Any) -> Answer:
        """As `Bundle.search`; what a history suggests is told by the bundle that recommends."""
        bundle, done = self[self.of("search")], past_texts(history)
        if done and bundle.history is None:
            more = {"recommender": self[self.of("recommend")], **more}
        return bundle.search(text, k, history=done, **more)

    def search_many(self, texts: Sequence[str], k: int = 20, **more: Any) -> list[Answer]:
        """As `Bundle.search_many`."""
        return self[self.of("search")].search_many(texts, k, **more)

    def similar(self, item: str | int, k: int = 20, **more: Any) -> Answer:
        """As `Bundle.similar`."""
        return self[self.of("similar")].similar(item, k, **more)

    def classify(
        self, texts: Sequence[str] | None = None, *, task: str | None = None, **more: Any
    ) -> list[Prediction]:
        """As `Bundle.classify`; `task` names which, where several tell classes."""
        return self[self.of("classify", task)].classify(texts, **more)

    def audience(self, campaign: str | int | None = None, **more: Any) -> AudienceAnswer:
        """As `Bundle.audience`."""
        return self[self.of("audience")].audience(campaign, **more)

    def answer(self, text: str, k: int = 3, **more: Any) -> Reply:
        """As `Bundle.answer`: past answers beside the templates of intents, where both are there."""
        told = {name: told for name, told in self._told.items() if told.answers("answer")}
        past = [name for name in told if told[name].says_past_answers]
        templates = [name for name in told if not told[name].says_past_answers]
        if len(past) == 1 and len(templates) == 1:
            return self[past[0]].answer(text, k, intents=self[templates[0]], **more)
        return self[self.of("answer")].answer(text, k, **more)


def _told(folder: Path) -> HeldBundle:
    file = folder / "config.json"
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
        return HeldBundle(dict(held["parts"]), dict(held.get("task") or {}))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"cannot be read: {error}", where=str(file), hint=ANEW) from error


def load(folder: str | Path) -> Bundle | Joined:
    """Loads a bundle, or those of several tasks; nothing else of a run is needed.

    Raises:
        ArtefactError: a file is missing, damaged, of another copy or of another format.
    """
    names = tasks_in(Path(folder))
    if names is None:
        return load_bundle(folder)
    return Joined(Path(folder), names)


def tasks_in(folder: Path) -> list[str] | None:
    """The tasks of a folder that holds several, in order; None where it holds none or one.

    Raises:
        ArtefactError: the file that names them cannot be read.
    """
    file = folder / TASKS
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        names = told["tasks"]
        if told["format"] != _FORMAT or not names or not all(_is_name(name) for name in names):
            raise ValueError("it names no tasks that this version reads")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"cannot be read: {error}", where=str(file), hint=ANEW) from error
    return list(names)


def _is_name(name: object) -> bool:
    return isinstance(name, str) and name not in ("", ".", "..") and not {"/", "\\"} & set(name)


def name_tasks(folder: Path, names: Sequence[str]) -> None:
    """Writes down which tasks a folder holds; without that nothing is read of it as several.

    Raises:
        DiskError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"format": _FORMAT, "tasks": list(names)}, indent=2)
        (folder / f"{TASKS}.part").write_text(text, encoding="utf-8")
        os.replace(folder / f"{TASKS}.part", folder / TASKS)
    except OSError as error:
        raise DiskError(f"cannot be written: {error.strerror or error}", where=str(folder)) from error


def join(folder: str | Path, bundles: Mapping[str, str | Path]) -> Joined:
    """Puts bundles of several tasks into one folder, in place of what it held.

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
    former = tasks_in(whole)
    if former is None and whole.exists() and any(whole.iterdir()):
        raise ArtefactError("holds something else", where=str(whole), hint="name a new folder")
    new = whole.with_name(f".{whole.name}.new")
    try:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        for name, bundle in loaded.items():
            bundle.save(new / name)
        name_tasks(new, list(loaded))
        if former is not None:
            shutil.rmtree(whole)
        elif whole.exists():
            whole.rmdir()
        os.replace(new, whole)
    except OSError as error:
        raise DiskError(f"cannot be written: {error.strerror or error}", where=str(whole)) from error
    return Joined(whole, list(loaded))
