"""A teacher with the queries that it was asked, as one thing: what a comparison of search trains from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kgdistill.models.text.transformer import TextEncoder
from kgdistill.models.text_teacher import TextTargets, TextTeacher
from kgdistill.run.text_match import CatalogueVectors, encode_catalogue, training_queries
from kgdistill.tasks.lexical import lexical_index
from kgdistill.tasks.search_catalogue import SearchCatalogue
from kgdistill.tasks.synthetic import SyntheticQueries
from kgdistill.train.text_match import TextLessons


@dataclass(frozen=True)
class TextTeaching:
    """A teacher with the queries that it was asked, and what it says of them.

    Attributes:
        teacher: fused, or an ablation of it.
        vectors: of the catalogue's texts.
        queries: to learn from.
        targets: the teacher's lists for them.
    """

    teacher: TextTeacher
    vectors: CatalogueVectors
    queries: SyntheticQueries
    targets: TextTargets

    @property
    def catalogue(self) -> SearchCatalogue:
        """The items."""
        return self.teacher.catalogue

    @property
    def lessons(self) -> TextLessons:
        """What a student learns from."""
        return TextLessons(self.catalogue, self.queries, self.targets, self.vectors.items)


def teach(
    catalogue: SearchCatalogue, encoder: TextEncoder, *, count: int = 40_000, seed: int = 0
) -> TextTeaching:
    """Encodes a catalogue, makes up queries and asks the fused teacher about them."""
    vectors = encode_catalogue(catalogue, encoder)
    queries = training_queries(catalogue, vectors, count=count, seed=seed)
    teacher = TextTeacher(catalogue, lexical_index(catalogue.fields), encoder, vectors.items)
    return TextTeaching(teacher, vectors, queries, teacher.targets(queries.texts))


def with_facts(teaching: TextTeaching, catalogue: SearchCatalogue) -> TextTeaching:
    """The same teaching with another catalogue's facts: none, or shuffled ones (ablations)."""
    teacher = teaching.teacher.over(catalogue)
    targets = teacher.targets(teaching.queries.texts, teaching.targets.queries)
    return replace(teaching, teacher=teacher, targets=targets)


def titles_as_queries(teaching: TextTeaching) -> TextTeaching:
    """The same teaching with the titles in place of synthetic queries (ablation)."""
    titles = teaching.catalogue.titles
    place = {title: row for row, title in reversed(list(enumerate(titles))) if title}
    rows = np.array(sorted(place.values()), np.int64)
    queries = SyntheticQueries([titles[row] for row in rows], rows, ["title"] * len(rows))
    targets = teaching.teacher.targets(queries.texts, teaching.vectors.fields[0][rows])
    return replace(teaching, queries=queries, targets=targets)
