"""Search from a catalogue alone: what the teacher needs, and the students that it teaches."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kgdistill.arrays import FloatArray
from kgdistill.models.terms.lexical import LexicalIndex
from kgdistill.models.text.transformer import TransformerText
from kgdistill.tasks.search_catalogue import SearchCatalogue
from kgdistill.tasks.synthetic import SyntheticQueries, head_phrases, synthesise, title_phrases
from kgdistill.train.search_student import (
    SearchStudent,
    SearchStudentConfig,
    TrainedSearchStudent,
    first_student,
    train_search_student,
)
from kgdistill.train.search_teacher import (
    Fusion,
    Parts,
    SearchTargets,
    SearchTeacher,
    encode_fields,
    fuse,
    mix_fields,
    prose_fields,
)
from kgdistill.train.search_transformer import (
    SearchTransformerConfig,
    TrainedSearchTransformer,
    train_search_transformer,
)

# Words find, meaning reorders: what a shop would serve.
SERVING = Fusion(depth=100)
# Where the candidates are given, all of them are reordered.
WHOLE = Fusion()


@dataclass(frozen=True)
class SearchTeaching:
    """A teacher with its synthetic queries and what it says of them.

    Attributes:
        catalogue: the products.
        encoder: the text teacher.
        fields: the vectors of the fields of running text, the title first.
        vectors: of the products.
        phrases, phrase_vectors: the title phrases.
        queries: synthetic.
        teacher: the fused teacher.
        targets: its lists for the queries.
    """

    catalogue: SearchCatalogue
    encoder: TransformerText
    fields: list[FloatArray]
    vectors: FloatArray
    phrases: list[str]
    phrase_vectors: FloatArray
    queries: SyntheticQueries
    teacher: SearchTeacher
    targets: SearchTargets


def teach_search(
    catalogue: SearchCatalogue,
    encoder: TransformerText,
    *,
    count: int = 40_000,
    seed: int = 0,
    fusion: Fusion | None = None,
    lexical: LexicalIndex | None = None,
) -> SearchTeaching:
    """Encodes a catalogue, makes up queries and asks the fused teacher about them.

    Args:
        catalogue: the products.
        encoder: the text teacher.
        count: products that queries are drawn from; see `synthesise`.
        seed: of the queries.
        fusion: the teacher's weights.
        lexical: an index over the catalogue, where there is one already.
    """
    lexical = lexical if lexical is not None else LexicalIndex(catalogue.fields)
    fields = encode_fields(catalogue, encoder, prose_fields(catalogue))
    vectors = mix_fields(fields)
    phrases = title_phrases(catalogue)
    phrase_vectors = encoder.encode(phrases)
    heads = head_phrases(catalogue, phrases, phrase_vectors, fields[0])
    queries = synthesise(catalogue, phrases, heads, count=count, seed=seed)
    teacher = SearchTeacher(catalogue, lexical, encoder, vectors, fusion)
    targets = teacher.targets(queries.texts)
    return SearchTeaching(
        catalogue, encoder, fields, vectors, phrases, phrase_vectors, queries, teacher, targets
    )


def with_facts(teaching: SearchTeaching, catalogue: SearchCatalogue) -> SearchTeaching:
    """The same teaching with another catalogue's facts: none, or shuffled ones (ablations)."""
    teacher = SearchTeacher(
        catalogue, teaching.teacher.lexical, teaching.encoder, teaching.vectors, teaching.teacher.fusion
    )
    targets = teacher.targets(teaching.queries.texts, teaching.targets.queries)
    return replace(teaching, catalogue=catalogue, teacher=teacher, targets=targets)


def titles_as_queries(teaching: SearchTeaching) -> SearchTeaching:
    """The same teaching with the titles in place of synthetic queries (ablation)."""
    place = {title: row for row, title in reversed(list(enumerate(teaching.catalogue.titles))) if title}
    rows = np.array(sorted(place.values()), np.int64)
    texts = [teaching.catalogue.titles[row] for row in rows]
    queries = SyntheticQueries(texts, rows, ["title"] * len(texts))
    return replace(
        teaching, queries=queries, targets=teaching.teacher.targets(texts, teaching.fields[0][rows])
    )


def start_student(teaching: SearchTeaching, dim: int) -> tuple[SearchStudent, FloatArray]:
    """A student before training, with the projection into its space; see `first_student`."""
    both = np.concatenate([teaching.vectors, teaching.targets.queries])
    return first_student(
        teaching.catalogue,
        teaching.queries.texts,
        teaching.phrases,
        teaching.encoder,
        both,
        dim=min(dim, both.shape[1]),
        phrase_vectors=teaching.phrase_vectors,
    )


def learn_search(
    teaching: SearchTeaching,
    *,
    config: SearchStudentConfig | None = None,
    seed: int,
    distil: bool = True,
    first: tuple[SearchStudent, FloatArray] | None = None,
) -> TrainedSearchStudent:
    """Trains one student.

    Args:
        teaching: what it learns from.
        config: how.
        seed: of its training.
        distil: False trains it without the teacher, from the queries' own products.
        first: from `start_student`, to be trained in place; None begins here.
    """
    config = config if config is not None else SearchStudentConfig()
    student, projection = first if first is not None else start_student(teaching, config.dim)
    return train_search_student(
        student,
        projection,
        teaching.catalogue,
        teaching.queries,
        teaching.targets,
        teaching.vectors,
        config=config,
        seed=seed,
        distil=distil,
    )


def learn_transformer(
    teaching: SearchTeaching, *, config: SearchTransformerConfig | None = None, seed: int
) -> TrainedSearchTransformer:
    """Trains one transformer student; see `train_search_transformer`."""
    return train_search_transformer(
        teaching.encoder,
        teaching.catalogue,
        teaching.queries,
        teaching.targets,
        teaching.vectors,
        config=config if config is not None else SearchTransformerConfig(),
        seed=seed,
    )


def hybrid_scores(
    lexical: LexicalIndex,
    queries: list[str],
    meaning: FloatArray,
    fusion: Fusion | None = None,
) -> FloatArray:
    """BM25 and a student's cosines in one score, float32 [Q, products]; needs no graph.

    Args:
        lexical: an index over the catalogue.
        queries: the texts.
        meaning: the student's cosines, float32 [Q, products].
        fusion: the weights, by default `SERVING`; that of facts is not used.
    """
    parts = Parts(lexical.scores(queries), lexical.coverage(queries), meaning)
    return fuse(parts, fusion if fusion is not None else SERVING)
