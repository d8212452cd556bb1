"""The transformer student of search: some of the text teacher's layers, trained on titles and queries."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.errors import InputError
from kgdistill.models.text.cut import cut_student
from kgdistill.models.text.transformer import PooledText, Precision
from kgdistill.progress import step
from kgdistill.tasks.search_catalogue import SearchCatalogue
from kgdistill.tasks.synthetic import SyntheticQueries
from kgdistill.train.losses import combine, list_distillation, margin_mse, relational_cosine
from kgdistill.train.search_student import teacher_list
from kgdistill.train.search_teacher import SearchTargets


@dataclass(frozen=True)
class SearchTransformerConfig:
    """How the transformer student is cut and trained.

    Attributes:
        layers, width: see `cut_student`.
        epochs: passes over the titles and the queries.
        titles, queries: of each, how many at a time.
        lr: Adam's, rising over a twentieth of the steps and then falling to 0.
        candidates: of each query's candidates, how many are drawn into a batch.
        others: random products in a batch.
        temperature: of the cosines on both sides of the list loss.
        fused_share: of the teacher's fused score in the list loss; the rest is the text teacher's cosine.
        vector_weight, list_weight, margin_weight: of the losses.
        precision: in which it encodes.
    """

    layers: int = 3
    width: int | None = 192
    epochs: int = 4
    titles: int = 64
    queries: int = 128
    lr: float = 2e-3
    candidates: int = 4
    others: int = 512
    temperature: float = 0.05
    fused_share: float = 0.1
    vector_weight: float = 1.0
    list_weight: float = 0.3
    margin_weight: float = 1.0
    precision: Precision = "float32"


@dataclass
class TrainedSearchTransformer:
    """A student with each epoch's mean losses, and the seconds that training took.

    `student.save` writes what `SentenceTransformer(folder)` and `TransformerText(folder)` load.
    """

    student: PooledText
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0

    def products(self, catalogue: SearchCatalogue) -> FloatArray:
        """Unit vectors of the products' titles, float32 [products, E]."""
        return self.student.encode(catalogue.titles)


def train_search_transformer(
    encoder: PooledText,
    catalogue: SearchCatalogue,
    queries: SyntheticQueries,
    targets: SearchTargets,
    vectors: FloatArray,
    *,
    config: SearchTransformerConfig,
    seed: int,
) -> TrainedSearchTransformer:
    """Cuts a student from the text teacher and trains it; no judgement and no click is read.

    A title is to say what the teacher says of all the product's running text. A query follows the
    teacher's vector (relational cosine), its list over products (list distillation) and its margins between
    the query's own product and the others (margin-MSE). Products stand there with the teacher's vectors, so
    that only short queries are encoded for a list.

    Args:
        encoder: the text teacher.
        catalogue: the products.
        queries: synthetic.
        targets: the teacher's, of these queries.
        vectors: the text teacher's of the products, float32 [products, E].
        config: how.
        seed: of the cut and the batches.

    Raises:
        InputError: the encoder cannot be cut so, or its vectors have another width than its layers.
    """
    began = time.monotonic()
    if encoder.dim != vectors.shape[1] or encoder.head is not None:
        raise InputError(
            "a transformer student is cut from an encoder without a head, whose vectors it follows"
        )
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    place = {title: row for row, title in reversed(list(enumerate(catalogue.titles))) if title}
    at: IntArray = np.array(sorted(place.values()), np.int64)
    titles = [catalogue.titles[row] for row in at]
    student = cut_student(
        encoder,
        [*titles, *queries.texts],
        layers=config.layers,
        width=config.width,
        precision=config.precision,
        seed=seed,
    ).student
    shown, asked = student.token_ids(titles), student.token_ids(queries.texts)
    products = torch.from_numpy(vectors).to(student.device)
    wanted = torch.from_numpy(targets.queries).to(student.device)
    moving = [*student.model.parameters(), *(student.head.parameters() if student.head is not None else ())]
    optimizer = torch.optim.AdamW(moving, lr=config.lr, weight_decay=0.01)
    count = max(-(-len(asked) // config.queries), -(-len(shown) // config.titles))
    steps = config.epochs * count
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(s / steps / 0.05 + 1e-3, (1 - s / steps) / 0.95, 1.0)
    )
    trained = TrainedSearchTransformer(student)
    with step("Training the transformer student of search", total=steps) as work:
        for epoch in range(config.epochs):
            sums: dict[str, float] = {}
            said: dict[str, int] = {}
            parts = (
                _spread(_alike(shown, config.titles, rng), count),
                _spread(_alike(asked, config.queries, rng), count),
            )
            for of_titles, of_queries in zip(*parts, strict=True):
                terms: dict[str, tuple[float, Tensor]] = {}
                if of_titles is not None:
                    found = student.vectors([shown[i] for i in of_titles])
                    theirs = products[torch.from_numpy(at[of_titles])]
                    terms["product"] = (config.vector_weight, relational_cosine(found, theirs))
                if of_queries is not None:
                    q = student.vectors([asked[i] for i in of_queries])
                    terms |= _of_queries(q, wanted, products, of_queries, queries, targets, config, rng)
                loss, logged = combine(terms)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(moving, 1.0)
                optimizer.step()
                schedule.step()
                for name, value in logged.items():
                    sums[name] = sums.get(name, 0.0) + float(value)
                    said[name] = said.get(name, 0) + 1
                work.advance()
            means = {name: value / said[name] for name, value in sums.items()}
            trained.history.append({"epoch": float(epoch), **means})
            work.note(f"list {means['list']:.4f}")
    student.model.requires_grad_(False).eval()
    trained.seconds = time.monotonic() - began
    return trained


def _of_queries(
    q: Tensor,
    wanted: Tensor,
    products: Tensor,
    rows: IntArray,
    queries: SyntheticQueries,
    targets: SearchTargets,
    config: SearchTransformerConfig,
    rng: np.random.Generator,
) -> dict[str, tuple[float, Tensor]]:
    """The losses of a batch of queries, whose vectors are `q`, float32 [B, E]."""
    pick = rng.integers(targets.candidates.shape[1], size=(len(rows), config.candidates))
    drawn = np.take_along_axis(targets.candidates[rows], pick, axis=1)
    other = rng.integers(len(products), size=min(config.others, len(products)))
    batch = np.unique(np.concatenate([queries.sources[rows], drawn.ravel(), other]))
    mine = wanted[torch.from_numpy(rows)]
    shown = products[torch.from_numpy(batch)]
    cosines, teacher = q @ shown.T, mine @ shown.T
    wish = teacher_list(targets, rows, batch, teacher, config.temperature, config.fused_share)
    own = torch.from_numpy(np.searchsorted(batch, queries.sources[rows])).to(q.device)
    return {
        "query": (config.vector_weight, relational_cosine(q, mine)),
        "list": (config.list_weight, list_distillation(cosines / config.temperature, wish, 1.0)),
        "margin": (config.margin_weight, margin_mse(cosines, teacher, own)),
    }


def _alike(ids: Sequence[Sequence[int]], size: int, rng: np.random.Generator) -> list[IntArray]:
    """Batches in random order, of texts of like length."""
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    order = rng.permutation(len(ids))
    found = []
    for start in range(0, len(order), 16 * size):
        pool = order[start : start + 16 * size]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        found += [pool[s : s + size] for s in range(0, len(pool), size)]
    return [found[i] for i in rng.permutation(len(found))]


def _spread(batches: Sequence[IntArray], count: int) -> Iterator[IntArray | None]:
    """The batches evenly over `count` places, at least as many; None where there is none."""
    last = -1
    for i in range(count):
        at = i * len(batches) // count
        yield batches[at] if at != last else None
        last = at
