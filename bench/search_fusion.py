"""How much words, meaning and depth weigh in search, tried on queries of our own: none of them is judged.

Three kinds of queries, with everything that answers them known, so that no ranking is favoured for what it
was judged by: rules for titles on Chorus and on Amazon Office, and Chorus's kinds of products, whose
attributes nobody reads there. `python bench/search_fusion.py --data FOLDER` prints what each setting is
worth to the teacher, with `--students` to the student too (mean of three seeds), and writes
results/search-fusion.json.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import re
import tempfile
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench._office_queries import RULES as OFFICE_RULES
from bench.chorus_development import RULES, catalogue_of, firsts, relevant
from bench.suites.data import data_folder, graph_of, suite_tables
from bench.suites.search_teaching import TextTeaching
from bench.suites.spec import load_suite
from kgdistill.arrays import DoubleArray, FloatArray, IntArray
from kgdistill.config import SearchConfig
from kgdistill.errors import ArtefactError
from kgdistill.models.text.transformer import TransformerText
from kgdistill.models.text_teacher import TextTeacher
from kgdistill.ranking.bootstrap import paired_bootstrap
from kgdistill.ranking.fusion import SERVING, Fusion, fuse
from kgdistill.run.text_match import CatalogueVectors, encode_catalogue, start_student, training_queries
from kgdistill.snapshot import take_snapshot
from kgdistill.tasks.lexical import lexical_index
from kgdistill.tasks.search_catalogue import SearchCatalogue, search_catalogue
from kgdistill.train.loop import Context
from kgdistill.train.text_match import train_token_table

OUT = Path(__file__).with_name("results") / "search-fusion.json"
SEEDS = (0, 1, 2)
FUSIONS = [
    *(
        Fusion(meaning, depth=depth)
        for depth in (50, 100, 200, None)
        for meaning in (0.3, 0.5, 0.6, 0.7, 0.9)
    ),
    *(replace(SERVING, coverage=coverage) for coverage in (0.25, 1.0)),
]
# Values of an attribute that name no kind of product.
_NO_KINDS = {"original", "compatible", "on-site", "pick-up&return", "system", "open", "dynamic", "roller"}
_KIND = re.compile(r"[a-z][a-z+/& \-0-9]+")
_LEAST = 5


@dataclass(frozen=True)
class Asked:
    """Queries over one catalogue.

    Attributes:
        name: of their kind.
        catalogue: without whatever tells the answers.
        vectors: the text teacher's, of it.
        texts: the queries.
        answers: what answers each, int64.
    """

    name: str
    catalogue: SearchCatalogue
    vectors: CatalogueVectors
    texts: list[str]
    answers: list[IntArray]


def by_rules(
    name: str,
    catalogue: SearchCatalogue,
    vectors: CatalogueVectors,
    rules: dict[str, tuple[str, str]],
) -> Asked:
    """Queries whose answers are told by patterns for titles; those with too few are left out."""
    answers = relevant([title.lower() for title in catalogue.titles], rules)
    held = {query: right for query, right in zip(rules, answers, strict=True) if len(right) >= _LEAST}
    return Asked(name, catalogue, vectors, list(held), list(held.values()))


def by_kinds(catalogue: SearchCatalogue, vectors: CatalogueVectors, folder: Path) -> Asked:
    """Queries for the kinds that attributes tell, over the catalogue without attributes and categories.

    Every other one-word kind is asked for in the plural. What is judged anywhere is not asked.
    """
    with (folder / "judgements.csv").open(encoding="utf-8", newline="") as lines:
        judged = {row["query"].strip().lower().rstrip("s") for row in csv.DictReader(lines)}
    kinds: dict[str, set[str]] = defaultdict(set)
    with gzip.open(folder / "products.jsonl.gz", "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            told = (row.get(name) for name in ("attr_t_product_type", "attr_t_type"))
            kinds[row["title"]] |= {kind.lower() for kind in told if isinstance(kind, str)}
    held: dict[str, list[int]] = defaultdict(list)
    for item, title in enumerate(catalogue.titles):
        for kind in kinds.get(title, ()):
            held[kind].append(item)
    wanted = [
        kind
        for kind, items in sorted(held.items())
        if len(items) >= _LEAST
        and _KIND.fullmatch(kind)
        and kind not in _NO_KINDS
        and kind.rstrip("s") not in judged
    ]
    texts = [k + "s" if n % 2 and k[-1].isalpha() and k[-1] != "s" else k for n, k in enumerate(wanted)]
    fields = {n: values for n, values in catalogue.fields.items() if n not in ("attributes", "category_text")}
    short = SearchCatalogue(fields, [fact for fact in catalogue.facts if fact.label != "Category"])
    of_prose = dict(zip(catalogue.prose, vectors.fields, strict=True))
    kept = replace(vectors, fields=[of_prose[name] for name in short.prose])
    return Asked("kinds", short, kept, texts, [np.array(held[kind], np.int64) for kind in wanted])


def asked_of(data: Path | None, encoder: TransformerText, work: Path | None) -> list[Asked]:
    """The three kinds of queries."""
    chorus, office = catalogue_of(data), _office(data)
    of_chorus = _vectors(chorus, encoder, work and work / "chorus")
    of_office = _vectors(office, encoder, work and work / "office")
    return [
        by_rules("rules", chorus, of_chorus, RULES),
        by_kinds(chorus, of_chorus, data_folder(load_suite("chorus").data, data)),
        by_rules("office", office, of_office, OFFICE_RULES),
    ]


def _office(data: Path | None) -> SearchCatalogue:
    suite = load_suite("office").data
    with (
        tempfile.TemporaryDirectory() as place,
        graph_of(*suite_tables(suite, data_folder(suite, data))) as store,
    ):
        return search_catalogue(take_snapshot(store, Path(place) / "s", cut=None, needed=("Product",)))


def _vectors(catalogue: SearchCatalogue, encoder: TransformerText, kept: Path | None) -> CatalogueVectors:
    """The text teacher's, from an earlier start where a folder keeps them."""
    if kept is not None:
        try:
            return CatalogueVectors.load(kept)
        except ArtefactError:
            kept.mkdir(parents=True)
    vectors = encode_catalogue(catalogue, encoder)
    if kept is not None:
        vectors.save(kept)
    return vectors


def students_of(asked: Asked, teacher: TextTeacher, encoder: TransformerText) -> list[FloatArray]:
    """Cosines of the static student of each seed, float32 [Q, items]."""
    config = SearchConfig()
    queries = training_queries(asked.catalogue, asked.vectors, count=config.queries, seed=0)
    lessons = TextTeaching(teacher, asked.vectors, queries, teacher.targets(queries.texts)).lessons
    found = []
    for seed in SEEDS:
        start = start_student(lessons, asked.vectors, encoder, config.dim)
        student = train_token_table(*start, lessons, config, Context(torch.device("cpu"), seed)).model
        found.append(np.asarray(student.encode(asked.texts) @ student.items(asked.catalogue).T, np.float32))
    return found


def ndcg(scores: FloatArray, answers: list[IntArray]) -> DoubleArray:
    """Binary nDCG@10 of each query, float64 [Q]."""
    discount = 1 / np.log2(np.arange(2, 12))
    return np.array([
        (np.isin(row, right) * discount).sum() / discount[: min(10, len(right))].sum()
        for row, right in zip(firsts(scores, 10), answers, strict=True)
    ])  # fmt: skip


def tried(
    parts: dict[str, list[dict[str, FloatArray]]], answers: dict[str, list[IntArray]]
) -> list[dict[str, Any]]:
    """What each fusion is worth, and how far from the one that serves.

    Args:
        parts: kind of queries → the parts of the score, of each seed.
        answers: kind of queries → what answers each.
    """

    def of(fusion: Fusion) -> dict[str, DoubleArray]:
        return {
            name: np.mean([ndcg(fuse(part, fusion), answers[name]) for part in seeds], axis=0)
            for name, seeds in parts.items()
        }

    served = of(SERVING)
    rows = []
    for fusion in FUSIONS:
        found = of(fusion)
        pooled = paired_bootstrap(np.concatenate(list(found.values())), np.concatenate(list(served.values())))
        means = {name: float(values.mean()) for name, values in found.items()}
        rows.append({"fusion": asdict(fusion), "ndcg@10": means, "less serving": pooled._asdict()})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument(
        "--students", action="store_true", help="train the students too (a quarter of an hour)"
    )
    parser.add_argument("--work", type=Path, help="where the text teacher's vectors are kept between starts")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    encoder = TransformerText(precision="float32")
    arms: dict[str, dict[str, list[dict[str, FloatArray]]]] = defaultdict(dict)
    kinds = asked_of(given.data, encoder, given.work)
    for asked in kinds:
        catalogue = asked.catalogue
        teacher = TextTeacher(catalogue, lexical_index(catalogue.fields), encoder, asked.vectors.items)
        parts = teacher.parts(asked.texts)
        arms["teacher"][asked.name] = [parts]
        if given.students:
            plain = {name: parts[name] for name in ("words", "coverage")}
            near = students_of(asked, teacher, encoder)
            arms["student"][asked.name] = [{**plain, "near": one} for one in near]
    answers = {asked.name: asked.answers for asked in kinds}
    told = {arm: tried(parts, answers) for arm, parts in arms.items()}
    queries = {name: len(right) for name, right in answers.items()}
    given.out.write_text(json.dumps({"queries": queries, "arms": told}, indent=1) + "\n", encoding="utf-8")
    print(f"nDCG@10 of queries of our own: {queries}; less what serves, over all of them")
    for arm, rows in told.items():
        for row in rows:
            fusion, less = row["fusion"], row["less serving"]
            named = f"meaning {fusion['meaning']}, coverage {fusion['coverage']}, depth {fusion['depth']}"
            means = " ".join(f"{value:.4f}" for value in row["ndcg@10"].values())
            print(
                f"{arm:8} {named:40} {means}  {less['mean']:+.4f} [{less['low']:+.4f}, {less['high']:+.4f}]"
            )


if __name__ == "__main__":
    main()
