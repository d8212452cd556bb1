"""The student of search: a table of token and phrase vectors; no graph, no transformer."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.errors import ArtefactError
from kgdistill.models.terms.lexical import TITLE_WEIGHT
from kgdistill.models.text.static import save_static
from kgdistill.models.text.transformer import TransformerText
from kgdistill.models.text.vocabulary import first_table, principal_axes
from kgdistill.progress import step
from kgdistill.tasks.search_catalogue import SearchCatalogue
from kgdistill.tasks.synthetic import SyntheticQueries
from kgdistill.train.losses import combine, list_distillation, margin_mse, relational_cosine, sampled_softmax
from kgdistill.train.search_teacher import SearchTargets, mix_fields, prose_fields


@dataclass(frozen=True)
class SearchStudentConfig:
    """How the student is trained.

    Attributes:
        dim: width of its vectors.
        epochs: passes over the queries.
        batch: queries at a time, and random products beside theirs.
        lr: Adam's, falling to 0.
        negatives: of each query's candidates, how many are drawn into a batch.
        temperature: of the cosines on both sides of the list loss.
        fused_share: of the teacher's fused score in the list loss; the rest is the text teacher's cosine.
        vector_weight, list_weight, margin_weight: of the losses.
    """

    dim: int = 240
    epochs: int = 8
    batch: int = 512
    lr: float = 3e-3
    negatives: int = 1
    temperature: float = 0.05
    fused_share: float = 0.1
    vector_weight: float = 1.0
    list_weight: float = 3.0
    margin_weight: float = 1.0


class SearchStudent(nn.Module):
    """A token table: a text is the mean of its tokens' vectors, at unit length.

    Args:
        tokenizer: whose ids are the rows of the table; no text may be truncated or padded by it.
        table: float32 [vocabulary, D].
        fields: the catalogue's fields that make up a product's vector, the title first.
    """

    def __init__(self, tokenizer: Tokenizer, table: Tensor, fields: Sequence[str]) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.fields = list(fields)
        self.table = nn.EmbeddingBag.from_pretrained(table.clone(), mode="mean", freeze=False)

    @property
    def parameters_count(self) -> int:
        """How many numbers the student is."""
        return sum(p.numel() for p in self.parameters())

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The rows of the table that each text is."""
        return [e.ids for e in self.tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def vectors(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """Unit vectors, float32 [N, D]; a text without tokens is 0."""
        flat = torch.tensor([i for row in ids for i in row], dtype=torch.long)
        ends = np.cumsum([0, *map(len, ids)])[:-1]
        vectors: Tensor = F.normalize(self.table(flat, torch.from_numpy(ends)), dim=-1)
        return vectors

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Unit vectors, float32 [N, D]."""
        out = np.zeros((len(texts), self.table.embedding_dim), np.float32)
        with torch.inference_mode():
            for start in range(0, len(texts), 4096):
                part = self.token_ids(texts[start : start + 4096])
                out[start : start + 4096] = self.vectors(part).numpy()
        return out

    def products(self, catalogue: SearchCatalogue) -> FloatArray:
        """Unit vectors of the products, float32 [products, D]."""
        return mix_fields([self.encode(catalogue.fields[name]) for name in self.fields])

    def save(self, folder: Path) -> None:
        """Writes a folder that `SentenceTransformer(folder)` and `load_search_student` read."""
        save_static(folder, self.tokenizer, self.table.weight.detach().numpy())
        text = json.dumps({"fields": self.fields}, indent=1)
        (Path(folder) / "search.json").write_text(text + "\n", encoding="utf-8")


def load_search_student(folder: Path) -> SearchStudent:
    """What `SearchStudent.save` wrote.

    Raises:
        ArtefactError: a file is missing or cannot be read.
    """
    from safetensors.numpy import load_file

    folder = Path(folder)
    try:
        fields = json.loads((folder / "search.json").read_text(encoding="utf-8"))["fields"]
        place = next(p for p in (folder, folder / "0_StaticEmbedding") if (p / "tokenizer.json").exists())
        tokenizer = Tokenizer.from_file(str(place / "tokenizer.json"))
        table = next(iter(load_file(place / "model.safetensors").values()))
    except (OSError, ValueError, KeyError, StopIteration) as error:
        raise ArtefactError("holds no search student", where=str(folder)) from error
    return SearchStudent(tokenizer, torch.from_numpy(table), fields)


def first_student(
    catalogue: SearchCatalogue,
    queries: Sequence[str],
    phrases: Sequence[str],
    encoder: TransformerText,
    vectors: FloatArray,
    *,
    dim: int,
    phrase_vectors: FloatArray | None = None,
) -> tuple[SearchStudent, FloatArray]:
    """A student before training (`first_table`), and the projection from the encoder's space into its own.

    Args:
        catalogue: the products.
        queries: the queries to be trained on.
        phrases: what may become a token.
        encoder: the text teacher.
        vectors: what the axes are taken from, float32 [N, E].
        dim: D, at most E.
        phrase_vectors: the encoder's of the phrases, where they are known already.

    Returns:
        The student, and float32 [E, D].
    """
    fields = prose_fields(catalogue)
    texts = [t for name in fields for t in catalogue.fields[name]]
    projection = principal_axes(vectors, dim)
    tokenizer, table = first_table(
        encoder, [*texts, *queries], phrases, projection,
        counted=catalogue.titles, phrase_vectors=phrase_vectors,
    )  # fmt: skip
    return SearchStudent(tokenizer, torch.from_numpy(table), fields), projection


@dataclass
class TrainedSearchStudent:
    """A student with each epoch's mean losses, and the seconds that training took."""

    student: SearchStudent
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


def train_search_student(
    student: SearchStudent,
    projection: FloatArray,
    catalogue: SearchCatalogue,
    queries: SyntheticQueries,
    targets: SearchTargets,
    vectors: FloatArray,
    *,
    config: SearchStudentConfig,
    seed: int,
    distil: bool = True,
) -> TrainedSearchStudent:
    """Trains a student in place.

    Each batch holds queries, the product that each was made from, products drawn from the teacher's first
    ones, and random ones. The student's vectors follow the text teacher's (relational cosine), its list
    over the batch's products follows the teacher's (list distillation), and its margins follow the
    teacher's between the query's own product and the others (margin-MSE). The teacher's list is a mixture
    of the softmax of its cosines and that of its fused scores.

    Args:
        student, projection: from `first_student`.
        catalogue: the products.
        queries: synthetic.
        targets: the teacher's, of these queries.
        vectors: the text teacher's of the products, float32 [products, E].
        config: how.
        seed: of the batches.
        distil: False learns from the queries' own products alone (sampled softmax), the ablation.
    """
    began = time.monotonic()
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    asked = student.token_ids(queries.texts)
    shown = [student.token_ids(catalogue.fields[name]) for name in student.fields]
    wanted = F.normalize(torch.from_numpy(targets.queries @ projection), dim=-1)
    products = F.normalize(torch.from_numpy(vectors @ projection), dim=-1)
    optimizer = torch.optim.Adam(student.parameters(), lr=config.lr)
    count = max(len(queries) // config.batch, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: max(1 - s / (config.epochs * count), 0.0)
    )
    trained = TrainedSearchStudent(student)
    with step("Training the search student", total=config.epochs) as work:
        for epoch in range(config.epochs):
            sums: dict[str, float] = {}
            for rows in np.array_split(rng.permutation(len(queries)), count):
                pick = rng.integers(targets.candidates.shape[1], size=(len(rows), config.negatives))
                drawn = np.take_along_axis(targets.candidates[rows], pick, axis=1)
                other = rng.integers(len(catalogue), size=min(config.batch, len(catalogue)))
                batch = np.unique(np.concatenate([queries.sources[rows], drawn.ravel(), other]))
                q = student.vectors([asked[i] for i in rows])
                d = _mixed([student.vectors([ids[i] for i in batch]) for ids in shown])
                cosines = q @ d.T
                own = torch.from_numpy(np.searchsorted(batch, queries.sources[rows]))
                terms: dict[str, tuple[float, Tensor]] = {}
                if distil:
                    at = torch.from_numpy(rows)
                    teacher = wanted[at] @ products[torch.from_numpy(batch)].T
                    mixed = teacher_list(
                        targets, rows, batch, teacher, config.temperature, config.fused_share
                    )
                    terms["query"] = (config.vector_weight, relational_cosine(q, wanted[at]))
                    terms["product"] = (
                        config.vector_weight,
                        relational_cosine(d, products[torch.from_numpy(batch)]),
                    )
                    terms["list"] = (
                        config.list_weight,
                        list_distillation(cosines / config.temperature, mixed, 1.0),
                    )
                    terms["margin"] = (config.margin_weight, margin_mse(cosines, teacher, own))
                else:
                    positive = F.one_hot(own, len(batch)).bool()
                    terms["task"] = (1.0, sampled_softmax(cosines / config.temperature, positive))
                loss, logged = combine(terms)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                for name, value in (("loss", loss.detach()), *logged.items()):
                    sums[name] = sums.get(name, 0.0) + float(value) / count
            trained.history.append({"epoch": float(epoch), **sums})
            work.advance()
            work.note(f"loss {sums['loss']:.4f}")
    trained.seconds = time.monotonic() - began
    return trained


def _mixed(fields: list[Tensor]) -> Tensor:
    return F.normalize(fields[0] * TITLE_WEIGHT + sum(fields[1:], torch.zeros_like(fields[0])), dim=-1)


def teacher_list(
    targets: SearchTargets, rows: IntArray, batch: IntArray, cosines: Tensor, temperature: float, share: float
) -> Tensor:
    """What the teacher says of some queries over the same products, as logarithms, float32 [B, C].

    A mixture of the softmax of its cosines and that of its fused scores.

    Args:
        targets: of all queries.
        rows: the queries, int64 [B].
        batch: the products, int64 [C], ascending.
        cosines: the text teacher's, float32 [B, C].
        temperature: of both.
        share: of the fused scores, from 0 to 1.
    """
    fused = _fused(targets, rows, batch).to(cosines.device)
    return torch.logaddexp(
        F.log_softmax(cosines / temperature, 1) + np.log(max(1 - share, 1e-9)),
        F.log_softmax(fused / temperature, 1) + np.log(max(share, 1e-9)),
    )


def _fused(targets: SearchTargets, rows: IntArray, batch: IntArray) -> Tensor:
    """The teacher's fused scores of a batch's products, float32 [B, C]; below its last where it gave none."""
    low = targets.scores[rows].min(axis=1)
    out = np.repeat(low[:, None] - 0.1, len(batch), axis=1).astype(np.float32)
    at = np.searchsorted(batch, targets.candidates[rows]).clip(max=len(batch) - 1)
    found = batch[at] == targets.candidates[rows]
    line, column = np.nonzero(found)
    out[line, at[line, column]] = targets.scores[rows][line, column]
    return torch.from_numpy(out)
