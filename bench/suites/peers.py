"""The suites' peers: what people would use instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, hstack

from bench import baselines
from bench.baselines import Grid, RecboleModel, RectoolsModel
from bench.suites.choose import Chooser, Fit, Known, Peer, among, times_among
from kgdistill.snapshot import Snapshot
from kgdistill.tasks.match import Scorer, Setting

_PATIENCE = 3
_SEQUENCE_EPOCHS = 40


@dataclass(frozen=True)
class Content:
    """What content peers read.

    Attributes:
        vectors: float32 [all items, E], the text teacher's.
        brand: float32 CSR [all items, brands]; None where there are none.
        category: float32 CSR [all items, categories], likewise.
    """

    vectors: npt.NDArray[np.float32]
    brand: csr_array | None
    category: csr_array | None

    @property
    def facts(self) -> dict[str, csr_array]:
        """By relation."""
        known = {"brand": self.brand, "category": self.category}
        return {name: groups for name, groups in known.items() if groups is not None}


def groups(snapshot: Snapshot, relation: str, label: str) -> csr_array | None:
    """float32 CSR [products, nodes of `label`], 1 for a relation; None where there is none."""
    edge = ("Product", relation, label)
    if edge not in snapshot.edge_types or not snapshot.num_edges(edge):
        return None
    source, target = snapshot.edge_index(edge)
    shape = (snapshot.num_nodes("Product"), snapshot.num_nodes(label))
    made = csr_array((np.ones(len(source), np.float32), (source, target)), shape=shape)
    made.data[:] = 1.0
    return made


def brand_of(brand: csr_array) -> npt.NDArray[np.int64]:
    """int64 [all items]: the first brand of each; -1 for none."""
    first = np.full(brand.shape[0], -1, dtype=np.int64)
    some = np.diff(brand.indptr) > 0
    first[some] = brand.indices[brand.indptr[:-1][some]]
    return first


def collaborative(settings: tuple[Setting, ...]) -> list[Peer]:
    """Peers that know purchases alone, and rank what enough users bought."""

    def on(make: Callable[..., Scorer]) -> Fit:
        return lambda now, values: among(now.items, lambda h: make(h, **values), now.history)

    def recent(now: Known, values: Mapping[str, Any]) -> Scorer:
        return among(
            now.items,
            lambda h: baselines.recent_popularity(
                h, times_among(now.items, now), until_us=now.until_us, **values
            ),
            now.history,
        )

    return [
        Peer("recent_popularity", "recent popularity", recent, baselines.RECENT_GRID, settings),
        Peer("ease", "EASE", on(baselines.ease), baselines.EASE_GRID, settings),
        Peer("als", "implicit ALS", on(baselines.implicit_als), baselines.ALS_GRID, settings),
        Peer("bpr", "implicit BPR", on(baselines.implicit_bpr), baselines.BPR_GRID, settings),
        Peer("item_knn", "ItemKNN", on(baselines.item_knn), baselines.ITEM_KNN_GRID, settings),
        Peer("rp3beta", "RP3β", on(baselines.rp3beta), _walks(), settings),
    ]


def popular() -> Peer:
    """Popularity, everywhere."""
    return Peer("popularity", "popularity", lambda now, values: baselines.popularity(now.history))


def lightgcn(
    chooser: Chooser,
    seeds: tuple[int, ...],
    by: tuple[Setting, str],
    settings: tuple[Setting, ...],
) -> Peer:
    """LightGCN; its epochs are chosen on validation by that setting and metric."""

    def fit(now: Known, values: Mapping[str, Any]) -> Scorer:
        return among(now.items, lambda h: baselines.lightgcn(h, **values), now.history)

    def finish(now: Known, values: Mapping[str, Any]) -> dict[str, Any]:
        best = [0.0, 0.0]

        def watch(epoch: int, scorer: Scorer) -> bool:
            value = chooser.validate(among(now.items, lambda h: scorer, now.history), *by)
            if value > best[0]:
                best[:] = [value, epoch]
            return epoch - best[1] >= _PATIENCE * 10

        among(now.items, lambda h: baselines.lightgcn(h, epochs=300, watch=watch, **values), now.history)
        return {**values, "epochs": int(best[1]) or 10}

    return Peer("lightgcn", "LightGCN", fit, baselines.LIGHTGCN_GRID, settings, seeds, finish)


def content(what: Content, *, powers: bool) -> list[Peer]:
    """Peers that know what a product is, and can therefore rank what nobody bought."""

    def text(now: Known, values: Mapping[str, Any]) -> Scorer:
        return baselines.text_knn(now.history, what.vectors, **values)

    grid = baselines.TEXT_GRID if powers else ({},)
    found = [Peer("text_knn", "text kNN (MiniLM)", text, grid)]
    if what.brand is not None:
        brand = what.brand
        found.append(
            Peer("brand_knn", "brand kNN", lambda now, values: baselines.group_knn(now.history, brand))
        )
    if what.category is not None:
        category = what.category
        both = csr_array(hstack(list(what.facts.values())))
        found += [
            Peer(
                "category_popularity",
                "personal category popularity",
                lambda now, values: baselines.category_popularity(now.history, category, **values),
                baselines.CATEGORY_GRID,
            ),
            Peer(
                "metadata_knn",
                "metadata kNN (one-hot TF-IDF)",
                lambda now, values: baselines.metadata_knn(now.history, both),
            ),
        ]
    return found


def blends(
    chooser: Chooser, experts: Mapping[str, Peer], made: Mapping[str, tuple[str, tuple[str, ...]]]
) -> list[Peer]:
    """Tuned blends of peers: weights found on validation, experts fitted again for the test.

    Args:
        chooser: has the experts' arguments.
        experts: by arm.
        made: the blend's arm -> its title and its experts.
    """

    def peer(arm: str, title: str, names: tuple[str, ...]) -> Peer:
        def finish(now: Known, values: Mapping[str, Any]) -> dict[str, Any]:
            setting: Setting = values["by"]
            metric = next(m for s, m in chooser.choose.values() if s == setting)
            held = {n: chooser.fitted(experts[n], "validation", setting)[0] for n in names}
            weights, _ = baselines.tuned_blend(held, lambda s: chooser.validate(s, setting, metric))
            return {"by": setting, **weights}

        def fit(now: Known, values: Mapping[str, Any]) -> Scorer:
            held = {n: chooser.fitted(experts[n], now.split, values["by"])[0] for n in names}
            return baselines.blend(held, {n: values[n] for n in names})

        by: Grid = tuple({"by": setting} for setting in dict.fromkeys(s for s, _ in chooser.choose.values()))
        return Peer(arm, title, fit, by, None, finish=finish)

    return [peer(arm, title, names) for arm, (title, names) in made.items()]


def recboles(
    models: tuple[RecboleModel, ...],
    facts: Mapping[str, csr_array],
    folder: Path,
    seconds: float,
    settings: tuple[Setting, ...] | None,
) -> list[Peer]:
    """RecBole's models with their defaults, stopped after so many seconds: lower bounds."""

    def peer(model: RecboleModel) -> Peer:
        def fit(now: Known, values: Mapping[str, Any]) -> Scorer:
            mine = {name: csr_array(groups[now.items]) for name, groups in facts.items()}
            inner: list[Any] = []

            def train(history: csr_array) -> Scorer:
                inner.append(
                    baselines.recbole(history, mine, model=model, workdir=folder, budget_seconds=seconds)
                )
                scorer: Scorer = inner[0].scorer
                return scorer

            whole = among(now.items, train, now.history)
            return baselines.LentScorer(whole, inner[0].epochs, inner[0].seconds, inner[0].parameters)

        return Peer(f"recbole_{model.lower()}", f"RecBole {model} †", fit, settings=settings)

    return [peer(model) for model in models]


def sequences(
    models: tuple[RectoolsModel, ...],
    chooser: Chooser,
    folder: Path,
    seconds: float,
    settings: tuple[Setting, ...],
) -> list[Peer]:
    """RecTools' sequential models; their epochs are chosen on validation by the first setting's metric.

    Each training has so many seconds. How many epochs came after the best one is told as `later_epochs`:
    few of them mean that the time was too short to tell.
    """
    by = chooser.choose[settings[0]]

    def peer(model: RectoolsModel) -> Peer:
        def train(now: Known, **values: Any) -> tuple[Scorer, baselines.LentScorer]:
            inner: list[baselines.LentScorer] = []

            def fit(history: csr_array) -> Scorer:
                times = times_among(now.items, now)
                made = baselines.rectools(
                    history, times, model=model, workdir=folder, budget_seconds=seconds, **values
                )
                inner.append(made)
                return made

            return among(now.items, fit, now.history), inner[0]

        def fit(now: Known, values: Mapping[str, Any]) -> Scorer:
            whole, own = train(now, **{name: v for name, v in values.items() if name != "later_epochs"})
            return baselines.LentScorer(whole, own.epochs, own.seconds, own.parameters)

        def finish(now: Known, values: Mapping[str, Any]) -> dict[str, Any]:
            figures: list[float] = []

            def watch(epoch: int, scorer: Scorer) -> bool:
                figures.append(chooser.validate(among(now.items, lambda h: scorer, now.history), *by))
                return False

            train(now, epochs=_SEQUENCE_EPOCHS, watch=watch, **values)
            best = int(np.argmax(figures))
            return {**values, "epochs": best + 1, "later_epochs": len(figures) - best - 1}

        grid = baselines.RECTOOLS_GRID
        return Peer(f"rectools_{model.lower()}", f"RecTools {model}", fit, grid, settings, finish=finish)

    return [peer(model) for model in models]


def _walks() -> Grid:
    return tuple(values for values in baselines.RP3BETA_GRID if values.get("neighbours") is not None)
