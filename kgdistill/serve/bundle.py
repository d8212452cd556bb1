"""The deployable part of a run: it loads alone and answers without graph, store, torch or GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from kgdistill.arrays import BoolArray, FloatArray, IntArray
from kgdistill.errors import ArtefactError, InputError
from kgdistill.ranking.topk import top_k
from kgdistill.serve.among import among
from kgdistill.serve.answer import Answer
from kgdistill.serve.answers import Answers, Reply
from kgdistill.serve.audience import Finder
from kgdistill.serve.audiences import AudienceAnswer, Audiences
from kgdistill.serve.classifier import Classifier, PastKeys, Prediction
from kgdistill.serve.complements import Complements
from kgdistill.serve.file import ITEMS, read_bundle, told_zone, write_bundle
from kgdistill.serve.history import History
from kgdistill.serve.items import Items, Where, new_rows
from kgdistill.serve.keys import at_most as _at_most
from kgdistill.serve.keys import check_count
from kgdistill.serve.keys import key_texts as _texts
from kgdistill.serve.known_nodes import Keys
from kgdistill.serve.layers import stored_tower
from kgdistill.serve.next_basket import next_baskets, with_habits
from kgdistill.serve.parts import BundlePart, refuse
from kgdistill.serve.past import Past, known_places, past_places, past_texts
from kgdistill.serve.personal import DEPTH, SHARE, personal
from kgdistill.serve.readings import Readings
from kgdistill.serve.recommending import Pools, by_words, check_histories, reasoned, recommended
from kgdistill.serve.repeats import Repeats
from kgdistill.serve.reply import reply
from kgdistill.serve.scores import Pool
from kgdistill.serve.search import SearchIndex
from kgdistill.serve.searching import FacetUse, Searching
from kgdistill.serve.tower import TextTower

_NONE = np.zeros(0, np.int64)
_Part = TypeVar("_Part")


class Bundle:
    """A student ready to serve.

    Args:
        config: what `config.json` says of the whole: `format`, `task` (what was declared), `reads` (what of
            an item is read; see `Readings`), `zone` (in which times are told; UTC without one).
        items: what is answered with.
        history: answers `recommend`, and `similar` by the student's vectors.
        text: the text tower; reads what is searched for, and new items.
        search: answers `search`, and a text in `recommend`.
        classifier: answers `classify`.
        audience: answers `audience`.
        answers: what is said to a class, or past answers; answers `answer`.

    Raises:
        ArtefactError: the parts do not fit together.
    """

    score_is: Literal["rank only"] = "rank only"
    """What a score is: it orders the items of one answer, and says no more."""

    def __init__(
        self,
        config: Mapping[str, Any],
        items: Items,
        *,
        history: History | None = None,
        text: TextTower | None = None,
        search: SearchIndex | None = None,
        classifier: Classifier | None = None,
        audience: Finder | None = None,
        answers: Answers | None = None,
    ) -> None:
        self.reads, width = Readings.from_settings(config.get("reads")), text.dim if text is not None else 0
        if search is not None and search.vectors.shape[1] != width:
            raise refuse(f"search.vectors have {search.vectors.shape[1]} numbers, the text tower {width}")
        self.config, self.items, self.zone = dict(config), items, told_zone(config)
        self.history, self.text, self.search_index = history, text, search
        self.classifier, self.finder, self.answers = classifier, audience, answers
        self.audiences = None if audience is None else Audiences(audience, items, text, self.zone)
        self.complements: Complements | None = None
        self.repeats: Repeats | None = None
        self._pools = None if history is None else Pools(history, items)

    @cached_property
    def _searching(self) -> Searching | None:
        bought = None if self.history is None else self.history.scorer.popularity[0]
        index = self.search_index
        return None if index is None else Searching(self.items, index, self.text, bought)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def task(self) -> dict[str, Any]:
        """The task as it was declared."""
        return dict(self.config.get("task") or {})

    @property
    def keys(self) -> list[str]:
        """The items' ids."""
        return self.items.keys

    @property
    def pool(self) -> str:
        """What `recommend` ranks unless told otherwise: what the student was trained and judged for."""
        return str(self._history("recommend").settings()["pool"])

    def _history(self, verb: str) -> History:
        return self._need(self.history, verb)

    def _need(self, part: _Part | None, verb: str) -> _Part:
        if part is None:
            name = self.task.get("name") or self.task.get("kind") or "another task"
            raise InputError(
                f"this bundle was made for {name!r}; it cannot {verb}",
                hint="train a bundle for a task that does: kgdistill task list",
            )
        return part

    @property
    def vectors(self) -> FloatArray | None:
        """Unit vectors of the items, float32 [N, D]: the student's, else the text tower's, else none."""
        if self.history is not None:
            return self.history.unit
        return None if self.search_index is None else self.search_index.vectors

    def index(self, keys: Past) -> tuple[IntArray, tuple[str, ...]]:
        """Positions of the known keys, as `HistoryScorer` reads them, and the unknown keys; each once.

        Raises:
            InputError: as `past_texts` and `past_places`.
        """
        return past_places(self.items, self.event, self.events, past_texts(keys))

    @property
    def event(self) -> str:
        """The event that is right, and whose items make up a history."""
        return str((self.task.get("positives") or {}).get("event") or "BOUGHT")

    @property
    def events(self) -> dict[str, float]:
        """Further events that a history may name, and what one weighs beside the one that is right."""
        return {} if self.history is None else dict(self.history.scorer.events)

    # Recommending -------------------------------------------------------------------------------

    def ranked(self, pool: str | None = None, where: Where | None = None) -> Pool:
        """What is ranked, laid out for scoring.

        Args:
            pool: `warm` (items with enough buyers), `cold` (the others), `all`; None as the bundle says.
            where: what must hold for an item; see `Items.mask`.

        Raises:
            InputError: no such pool; a filter that cannot be used.
        """
        self._history("recommend")
        assert self._pools is not None
        return self._pools.of(pool, where)

    def scores(self, history: IntArray, *, pool: str | None = None, where: Where | None = None) -> FloatArray:
        """Scores of the items `ranked(pool, where).items`, float32, for one history of positions.

        Args:
            history: int64 positions, the latest last.
            pool, where: as `ranked`.
        """
        ranked = self.ranked(pool, where)
        return self._history("recommend").scorer.scores(np.asarray(history, np.int64), ranked)

    def recommend(
        self,
        history: Past = (),
        k: int = 20,
        *,
        text: str = "",
        where: Where | None = None,
        pool: str | None = None,
        exclude_history: bool | None = None,
        exclude: Sequence[str | int] = (),
        reasons: bool = False,
    ) -> Answer:
        """The best items for a history of item keys, or for a text, or the most bought ones.

        Args:
            history: keys of items bought, the latest last; or keys by event, where the task weighs further
                ones: {"BOUGHT": [...], "VIEWED": [...]}; or where it ranks what is bought again, every
                purchase with its time; see `Past`. Unknown keys are reported and left out.
            k: how many; fewer where fewer are left.
            text: with a known history, only items are recommended that share at least half as much of the
                text as the one that shares most, if any shares a word. Without one, the items nearest in
                words stand in for the history.
            where: what must hold for an item, before ranking: the others are as if they were not there.
            pool: `warm`, `cold` or `all`; None as the bundle was trained for (`Bundle.pool`).
            exclude_history: never recommend what was bought; what was only viewed may be. None: so it is,
                but where the task ranks what is bought again.
            exclude: keys that are not to be recommended either; those that the bundle lacks do not matter.
            reasons: say for each item which term of the score raises it most, if one stands out.

        Raises:
            InputError: the bundle cannot recommend; k, the history or a filter cannot be used.
        """
        if self.repeats is not None:
            if text:
                raise InputError("a next basket is asked for by a history alone", where="text")
            answer = self.recommend_many(
                [history], k, where=where, pool=pool, exclude_history=exclude_history, exclude=[exclude]
            )[0]
            return with_habits(self, answer, history) if reasons else answer
        history, exclude = past_texts(history), _texts(exclude)
        known, unknown = self.index(history)
        ranked, scorer = self.ranked(pool, where), self._history("recommend").scorer
        basis, bought, ranked = by_words(self, scorer, known, text, ranked)
        if basis is None:
            answer = self.recommend_many(
                [history], k, where=where, pool=pool, exclude_history=exclude_history, exclude=[exclude]
            )[0]
        else:
            out = self.index(exclude)[0]
            if exclude_history is not False:
                out = np.concatenate([known[known < len(self)], out])
            items, best = scorer.best([bought], [out], _at_most(k, len(ranked.items)), ranked)
            answer = Answer(basis, self.items.hits(items[0], best[0]), unknown)
        return reasoned(answer, self.items, scorer, bought, ranked) if reasons else answer

    def recommend_many(
        self,
        histories: Sequence[Past],
        k: int = 20,
        *,
        where: Where | None = None,
        pool: str | None = None,
        exclude_history: bool | None = None,
        exclude: Sequence[Sequence[str | int]] | None = None,
    ) -> list[Answer]:
        """As `recommend` for every history, several times faster than one by one; memory does not grow.

        Args:
            histories: as `recommend`'s.
            k, where, pool, exclude_history: as `recommend`.
            exclude: for each history, keys that are not to be recommended either.

        Raises:
            InputError: as `recommend`, or there are not as many `exclude` as histories.
        """
        check_histories(histories, exclude)
        if self.repeats is not None:
            new = exclude_history is True
            return next_baskets(self, histories, k, where=where, pool=pool, new_only=new, exclude=exclude)
        ranked, scorer = self.ranked(pool, where), self._history("recommend").scorer
        k = _at_most(k, len(ranked.items))
        indexed = [self.index(history) for history in histories]
        out = [self.index(keys)[0] for keys in exclude] if exclude is not None else [_NONE] * len(indexed)
        if exclude_history is not False:
            bought = (known[known < len(self)] for known, _ in indexed)
            out = [np.concatenate([known, more]) for known, more in zip(bought, out, strict=True)]
        return recommended(self.items, scorer, ranked, indexed, out, k)

    def nearest(self, text: str, k: int = 10) -> IntArray:
        """Positions of the items whose words say most of `text`, of equals the most bought; maybe none."""
        return self._need(self._searching, "search").nearest(text, k)

    def fits(self, text: str, items: IntArray) -> BoolArray:
        """Which of some positions share enough words with a text; see `SearchIndex.fits`."""
        return self._need(self.search_index, "search").fits(text, items)

    # Finding ------------------------------------------------------------------------------------

    def search(
        self,
        text: str,
        k: int = 20,
        *,
        where: Where | None = None,
        spelling: bool = True,
        facets: FacetUse = "boost",
        history: Past = (),
        recommender: Bundle | None = None,
        share: float = SHARE,
    ) -> Answer:
        """The items that fit a text best, whoever buys them.

        Words find, what the text means to the tower and says of the items' fields reorders; `Answer.basis`
        says which spoke. Only a text without any word or token that the bundle knows, of a brand and a
        category neither, has no items. What follows its first 2,000 characters is not read, which
        `Answer.notes` tells.

        Args:
            text: what is searched for.
            k: how many; fewer where fewer fit.
            where: what must hold for an item, before ranking; see `Items.mask`.
            spelling: search for the nearest known word in the place of one that no item has
                (`Answer.corrections`); False takes every word as it is typed.
            facets: of what the text says of brand, category, price and further fields (`Answer.facets`):
                "boost" raises such items, "filter" leaves the others out where any is so, "off" reads none.
            history: as `recommend`'s: what it suggests is raised; see `personal`.
            recommender: a bundle that knows histories, where this one does not.
            share: the history's, from 0 to 1.

        Raises:
            InputError: the bundle cannot search, or knows no history where one is given; k is no whole number
                from 1 on; a filter or another argument cannot be used.
        """
        done = past_texts(history)
        check_count(k)
        among = max(k, DEPTH) if done else k
        answer = self.search_many([text], among, where=where, spelling=spelling, facets=facets)[0]
        return personal(answer, done, recommender or self, share).first(k) if done else answer

    def search_many(
        self,
        texts: Sequence[str],
        k: int = 20,
        *,
        where: Where | None = None,
        spelling: bool = True,
        facets: FacetUse = "boost",
    ) -> list[Answer]:
        """As `search` for every text; memory does not grow with their number."""
        searching = self._need(self._searching, "search")
        mask = self.items.mask(where) if where else None
        k = _at_most(k, len(self) if mask is None else int(mask.sum()))
        return searching.answers(_texts(texts), k, mask, spelling=spelling, facets=facets)

    def similar(self, item: str | int, k: int = 20, *, where: Where | None = None) -> Answer:
        """The items nearest to one in the student's vectors, by their cosine; itself not among them.

        Args:
            item: its key.
            k: how many; fewer where fewer are left.
            where: what must hold for an item, before ranking; see `Items.mask`.

        Raises:
            InputError: the bundle does not know the item, or has no vectors; k or a filter cannot be used.
        """
        vectors = self._need(self.vectors, "tell what is similar")
        known = known_places(self.items, [item])
        mask = self.items.mask(where) if where else np.ones(len(self), np.bool_)
        pool = np.flatnonzero(mask & (np.arange(len(self)) != known[0]))
        scores = (vectors @ vectors[known[0]])[pool]
        best, score = top_k(scores[None], pool, _at_most(k, len(pool)))
        return Answer("vectors", self.items.hits(best[0], score[0]))

    # New items ----------------------------------------------------------------------------------

    def add_items(
        self,
        items: Sequence[str | Mapping[str, Any]],
        *,
        ids: Sequence[str | int] | None = None,
        groups: Sequence[Mapping[str, str]] | None = None,
    ) -> None:
        """Takes in items that the student has not seen, by their text alone; nothing is trained.

        They are found at once, and recommended where cold items are (`pool="all"` or `"cold"`), as nobody has
        bought them yet; `save` keeps them. Either all of them are taken in or none. Not while another thread
        asks.

        Args:
            items: of each the title, or its properties by name: `title`, `brand`, `category`, …
            ids: their keys, unless the properties hold an `id`.
            groups: of each further properties, such as its brand and category.

        Raises:
            InputError: the bundle has no text tower; an item has no text, no id or one that is there; a
                property is unknown or its value of another kind, such as NaN.
        """
        tower = self._need(self.text, "take in new items")
        columns = list(dict.fromkeys([*self.reads.columns, *(self.history.columns if self.history else [])]))
        rows, texts = new_rows(self.items, columns, items, ids, groups)
        grown, history, search = self.items.with_rows(rows), self.history, self.search_index
        if history is not None:
            vectors = tower.encode(self.reads.tower[0].texts(texts))
            history = history.with_items(vectors, self.items.columns(history.columns), texts)
        if search is not None:
            search = search.extended(self.reads.texts(texts), self.reads.vectors(texts, tower))
        self.items, self.history, self.search_index = grown, history, search
        self._pools = None if history is None else Pools(history, grown)
        self.__dict__.pop("_searching", None)

    # Telling classes ------------------------------------------------------------------------------

    def classify(
        self,
        texts: Sequence[str] | None = None,
        histories: Sequence[PastKeys] | None = None,
        facts: Sequence[Mapping[str, Keys]] | None = None,
    ) -> list[Prediction]:
        """What is told of each subject, with probabilities; see `Classifier.classify`.

        Raises:
            InputError: the bundle was made for another task, or as `Classifier.classify`.
        """
        part = self._need(self.classifier, "tell classes")
        return part.classify(texts, histories, facts, tower=self.text)

    # Finding an audience --------------------------------------------------------------------------

    def audience(
        self,
        campaign: str | int | None = None,
        *,
        products: Sequence[str | int] | None = None,
        text: str | None = None,
        size: int = 100,
        exclude: Sequence[str | int] = (),
        where: Where | None = None,
        allow_sensitive: bool = False,
    ) -> AudienceAnswer:
        """Whom to reach: the users likeliest to redeem or click, how many of them will, and why each.

        Args:
            campaign: one that the bundle knows.
            products, text: of a new one, in its place.
            size: how many; fewer where fewer are left.
            exclude: users that are not to be chosen.
            where, allow_sensitive: what must hold for a user; see `kgdistill.serve.among.among`.

        Raises:
            InputError: the bundle finds no audience, or as `Audiences.of_new`, `Audiences.of_campaigns` and
                `among`.
        """
        asked, out = self._need(self.audiences, "find an audience"), _texts(exclude)
        if (campaign is None) == (products is None and text is None):
            raise InputError("give a campaign, or the products or the text of a new one")
        only = among(self, where, allow_sensitive=allow_sensitive) if where else None
        if campaign is not None:
            return asked.of_campaigns(_texts([campaign]), size, out, chosen=only)[0]
        return asked.of_new(None if products is None else _texts(products), text, size, out, only)

    def answer(
        self,
        text: str,
        k: int = 3,
        *,
        intents: Bundle | None = None,
        intent_from: float | None = None,
        answer_from: float | None = None,
    ) -> Reply:
        """What is answered to a text, or that a person is to answer; see `reply`.

        Args:
            text: what somebody wrote.
            k: how many past answers are told.
            intents: another bundle, which tells intents, where this one holds past answers.
            intent_from, answer_from: confidences; None as the bundles say.

        Raises:
            InputError: the bundle cannot answer, or as `reply`.
        """
        said = self._need(self.answers, "answer").said
        held = {"intents": intents, "answers": self} if said else {"intents": self}
        return reply(text, k=k, intent_from=intent_from, answer_from=answer_from, **held)

    def save(self, folder: str | Path) -> None:
        """Writes the bundle; `config.json`, with the checksum of every other file, comes last.

        Args:
            folder: made where it is not there.

        Raises:
            DiskError: the disk is full, or the folder cannot be written.
        """
        parts = self.history, self.text, self.search_index, self.classifier, self.finder, self.answers
        every = (*parts, self.complements, self.repeats)
        there: list[BundlePart] = [part for part in every if part is not None]
        write_bundle(Path(folder), self.config, self.items, there)


def load_bundle(folder: str | Path) -> Bundle:
    """Loads a bundle; nothing else of the run is needed.

    Every file is compared with the checksum in config.json first.

    Raises:
        ArtefactError: a file is missing, damaged, of another copy or of another format.
    """
    stored = read_bundle(Path(folder))
    try:
        items = Items.from_bytes(stored[ITEMS])
        if len(items) != stored.size:
            raise refuse(f"holds {len(items):,} items, not {stored.size:,}", ITEMS)
        arrays, parts = stored.arrays(), {}
        for kind in (History, TextTower, SearchIndex, Classifier, Finder, Answers, Complements, Repeats):
            if (settings := stored.parts.get(kind.name)) is not None:
                load = stored_tower if kind is TextTower else kind.from_arrays
                parts[kind.name] = load(settings, arrays[kind.name], stored, len(items))
        beside: list[Any] = [parts.pop(kind.name, None) for kind in (Complements, Repeats)]
        bundle = Bundle(stored.config, items, **parts)  # type: ignore[arg-type]
        bundle.complements, bundle.repeats = beside
        return bundle
    except ArtefactError as error:
        raise ArtefactError(error.message, where=str(Path(folder) / error.where), hint=error.hint) from error
