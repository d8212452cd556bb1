"""Matching by text: what the stages of such a run make of a catalogue, and the arms that are judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.errors import InputError
from kgdistill.evaluate.graded import Parts
from kgdistill.models.terms import Term
from kgdistill.models.terms.near import NearTerm
from kgdistill.models.terms.words import CoverageTerm, WordsTerm
from kgdistill.models.text.token_table import TokenTable
from kgdistill.models.text.transformer import PooledText, TextEncoder
from kgdistill.models.text.vocabulary import Splitting, first_table, principal_axes
from kgdistill.models.text_teacher import TextTeacher, term_parts
from kgdistill.run.artefacts import load_part, save_part
from kgdistill.tasks.lexical import LexicalIndex, mix_fields
from kgdistill.tasks.search_catalogue import SearchCatalogue
from kgdistill.tasks.synthetic import SyntheticQueries, head_phrases, synthesise, title_phrases
from kgdistill.train.text_match import TextLessons


@dataclass(frozen=True)
class CatalogueVectors:
    """What the text teacher says of a catalogue.

    Attributes:
        fields: of the fields of running text, the title first, each float32 [items, E].
        phrases: the title phrases.
        phrase_vectors: theirs, float32 [phrases, E].
    """

    fields: list[FloatArray]
    phrases: list[str]
    phrase_vectors: FloatArray

    @cached_property
    def items(self) -> FloatArray:
        """Of the items, float32 [items, E]."""
        return mix_fields(self.fields)

    def save(self, folder: Path) -> None:
        """Writes arrays.safetensors and config.json."""
        fields = {f"field{i}": vectors for i, vectors in enumerate(self.fields)}
        save_part(folder, {**fields, "phrases": self.phrase_vectors}, {"phrases": self.phrases})

    @classmethod
    def load(cls, folder: Path) -> CatalogueVectors:
        """What `save` wrote; ArtefactError where it is not there or cannot be read."""
        arrays, config = load_part(folder)
        phrases = arrays.pop("phrases")
        return cls([arrays[f"field{i}"] for i in range(len(arrays))], config["phrases"], phrases)


def encode_catalogue(catalogue: SearchCatalogue, encoder: TextEncoder) -> CatalogueVectors:
    """Encodes the catalogue's running text, each distinct text once, and its title phrases."""
    place: dict[str, int] = {}
    names = catalogue.prose
    for text in (text for name in names for text in catalogue.fields[name] if text):
        place.setdefault(text, len(place))
    encoded = encoder.encode(list(place))
    # The last row stands for an empty field.
    table = np.concatenate([encoded, np.zeros((1, encoded.shape[1]), np.float32)])
    fields = [table[[place.get(text, len(place)) for text in catalogue.fields[name]]] for name in names]
    phrases = title_phrases(catalogue)
    vectors = encoder.encode(phrases) if phrases else np.zeros((0, encoded.shape[1]), np.float32)
    return CatalogueVectors(fields, phrases, vectors)


def training_queries(
    catalogue: SearchCatalogue,
    vectors: CatalogueVectors,
    *,
    count: int,
    seed: int,
    clicked: SyntheticQueries | None = None,
) -> SyntheticQueries:
    """What was clicked, and beside it queries that are made up from the catalogue; see `synthesise`.

    Raises:
        InputError: nothing was clicked, and the catalogue has no words to make queries of.
    """
    heads = head_phrases(catalogue, vectors.phrases, vectors.phrase_vectors, vectors.fields[0])
    made = synthesise(catalogue, vectors.phrases, heads, count=count, seed=seed)
    queries = made if clicked is None else clicked.beside(made)
    if not len(queries):
        raise InputError("no query can be made up: no text of the catalogue has a word with a letter")
    return queries


def start_student(
    lessons: TextLessons, vectors: CatalogueVectors, encoder: Splitting, dim: int
) -> tuple[TokenTable, FloatArray]:
    """A token table before training, and float32 [E, D]: the way from the encoder's space into its own."""
    both = np.concatenate([lessons.vectors, lessons.targets.queries])
    axes = principal_axes(both, min(dim, both.shape[1]))
    fields = lessons.catalogue.prose
    texts = [t for name in fields for t in lessons.catalogue.fields[name]]
    tokenizer, table = first_table(
        encoder, [*texts, *lessons.queries.texts], vectors.phrases, axes,
        counted=lessons.catalogue.titles, phrase_vectors=vectors.phrase_vectors,
    )  # fmt: skip
    return TokenTable(tokenizer, torch.from_numpy(table), fields), axes


def query_parts(teacher: TextTeacher, queries: list[str], names: tuple[str, ...]) -> Parts:
    """What some of the teacher's terms say of queries."""
    terms = [term for term in teacher.terms(queries) if term.name in names]
    return _parts(terms, len(teacher.catalogue))


def student_parts(
    student: TokenTable | PooledText, items: FloatArray, queries: list[str], index: LexicalIndex | None
) -> Parts:
    """What a student says of queries, beside words where there is an index of them."""
    terms: list[Term] = [NearTerm(student.encode(queries), items)]
    if index is not None:
        terms += [WordsTerm(queries, index), CoverageTerm(queries, index)]
    return _parts(terms, len(items))


def _parts(terms: list[Term], items: int) -> Parts:
    def of(queries: IntArray) -> Mapping[str, FloatArray]:
        return term_parts(terms, queries, items)

    return of
