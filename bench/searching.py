"""Measures searching with all that reads a query: milliseconds, what slips cost, what a history is worth.

    python bench/searching.py                 how long one query takes, on catalogues drawn at random
    python bench/searching.py --work FOLDER   nDCG@10 of Chorus's judged queries as typed and with a slip in
                                              each, by students of three seeds, which are kept in FOLDER
                                              (twenty minutes)
    python bench/searching.py --shop RUN      what a history is worth in the invented Chinese shop, of which
                                              RUN is the run of `kgdistill demo --lang zh`

Writes bench/results/searching.json, in which what was not asked for stays. A query is timed by what it takes
of the processor, so that others on the machine do not count, in a warm process; titles hold 40,000 invented
words beside the usual ones, among all of which a word that was mistyped is looked for.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bench.serving import random_bundle
from kgdistill.arrays import DoubleArray, FloatArray
from kgdistill.ranking.bootstrap import paired_bootstrap
from kgdistill.serve.bundle import Bundle, load_bundle
from kgdistill.serve.items import Items
from kgdistill.serve.personal import DEPTH
from kgdistill.serve.search import search_index

OUT = Path(__file__).parent / "results" / "searching.json"
SIZES = [2_500, 20_000, 200_000]
QUERIES = 300
SEEDS = [0, 1, 2]
SHARES = (0.0, 0.05, 0.1, 0.2, 0.4)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def slip(text: str, draw: np.random.Generator) -> str:
    """The text with a slip of the keyboard in one of its words of four letters or more, if there is one."""
    words = text.split()
    long = [n for n, word in enumerate(words) if len(word) >= 4 and word.isalpha()]
    if not long:
        return text
    n = int(draw.choice(long))
    word, at = words[n], int(draw.integers(1, len(words[n]) - 1))
    letter = str(draw.choice(list(_LETTERS)))
    ways = [word[:at] + word[at + 1 :], word[:at] + letter + word[at:], word[:at] + letter + word[at + 1 :]]
    ways.append(word[:at] + word[at + 1] + word[at] + word[at + 2 :])
    words[n] = ways[int(draw.integers(4))]
    return " ".join(words)


# How long ----------------------------------------------------------------------------------------


def worded(items: int, draw: np.random.Generator) -> Bundle:
    """A random bundle whose titles hold many words."""
    made = random_bundle(items, neighbours=100 if items <= 6000 else 0, text=True)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    words = ["".join(draw.choice(syllables, int(n))) for n in draw.integers(2, 6, 40_000)]
    ranks = np.minimum((draw.pareto(0.6, (items, 3)) * 5).astype(np.int64), len(words) - 1)
    amounts = draw.choice([50, 100, 250, 500, 1000], items)
    titles = [
        f"{title} {' '.join(words[r] for r in row)} {amount} g"
        for title, row, amount in zip(made.items.titles, ranks, amounts, strict=True)
    ]
    table = made.items.table.set_column(1, "title", pa.array(titles))
    catalogue = Items(table)
    columns = catalogue.columns(made.reads.columns)
    index = search_index(made.reads.texts(columns), made.reads.vectors(columns, made.text))
    return Bundle(made.config, catalogue, history=made.history, text=made.text, search=index)


def times(bundle: Bundle, draw: np.random.Generator) -> dict[str, Any]:
    """Milliseconds of a query by kind, the median and the 99th percentile of 300, and of the very first."""
    titles = [bundle.items.titles[i].split() for i in draw.integers(0, len(bundle), QUERIES)]
    plain = [f"{row[0]} {row[-5]} {row[-4]}" for row in titles]
    slips = [slip(text, draw) for text in plain]
    brands = [bundle.items.shown[1][i] for i in draw.integers(0, len(bundle), QUERIES)]
    histories = [[bundle.keys[i] for i in draw.integers(0, len(bundle), 30)] for _ in range(QUERIES)]
    kinds: dict[str, Callable[[int], object]] = {
        "nothing read": lambda n: bundle.search(plain[n], spelling=False, facets="off"),
        "words": lambda n: bundle.search(plain[n]),
        "a slip": lambda n: bundle.search(slips[n]),
        "an amount": lambda n: bundle.search(f"{plain[n]} 0.5 kg"),
        "a brand": lambda n: bundle.search(f"{plain[n]} {brands[n]}"),
        "a price": lambda n: bundle.search(f"{plain[n]} under 9"),
        "a price, filtered": lambda n: bundle.search(f"{plain[n]} under 9", facets="filter"),
        "a history": lambda n: bundle.search(plain[n], history=histories[n]),
        "all of it": lambda n: bundle.search(f"{slips[n]} 0.5 kg {brands[n]} under 9", history=histories[n]),
    }
    start = time.process_time()
    kinds["all of it"](0)
    found: dict[str, Any] = {"first_ms": round(1e3 * (time.process_time() - start), 1)}
    for name, ask in kinds.items():
        ask(0)
        taken = []
        for n in range(QUERIES):
            start = time.process_time()
            ask(n)
            taken.append(1e3 * (time.process_time() - start))
        found[name] = {
            "p50_ms": round(float(np.median(taken)), 2),
            "p99_ms": round(float(np.quantile(taken, 0.99)), 2),
        }
    return found


# What slips cost ---------------------------------------------------------------------------------


def chorus_bundles(data: Path | None, work: Path, seeds: list[int]) -> tuple[list[Bundle], Any]:
    """A bundle for each seed over Chorus, and the judgements; nothing is trained on what is judged."""
    import torch

    from bench.search_fusion import TextTeaching
    from bench.suites.data import data_folder
    from bench.suites.search import search_task
    from bench.suites.spec import SearchSuite, load_suite
    from kgdistill.config import SearchConfig
    from kgdistill.errors import ArtefactError
    from kgdistill.models.text.token_table import load_token_table
    from kgdistill.models.text.transformer import TransformerText
    from kgdistill.models.text_teacher import TextTeacher
    from kgdistill.ranking.fusion import SERVING
    from kgdistill.run.text_match import CatalogueVectors, encode_catalogue, start_student, training_queries
    from kgdistill.serve.pack import pack_text_match
    from kgdistill.serve.search import SearchIndex
    from kgdistill.tasks.lexical import lexical_index
    from kgdistill.train.loop import Context
    from kgdistill.train.text_match import train_token_table

    suite, bundles = load_suite("chorus"), []
    assert isinstance(suite, SearchSuite)
    with tempfile.TemporaryDirectory() as place:
        task = search_task(suite, data_folder(suite.data, data), Path(place) / "snapshot")
        encoder, catalogue, config = TransformerText(precision="float32"), task.catalogue, SearchConfig()
        try:
            vectors = CatalogueVectors.load(work / "vectors")
        except ArtefactError:
            vectors = encode_catalogue(catalogue, encoder)
            (work / "vectors").mkdir(parents=True, exist_ok=True)
            vectors.save(work / "vectors")
        index = lexical_index(catalogue.fields)
        folders = {seed: work / f"student-{seed}" for seed in seeds}
        if not all(folder.is_dir() for folder in folders.values()):
            teacher = TextTeacher(catalogue, index, encoder, vectors.items)
            queries = training_queries(catalogue, vectors, count=config.queries, seed=0)
            lessons = TextTeaching(teacher, vectors, queries, teacher.targets(queries.texts)).lessons
        for seed, folder in folders.items():
            if not folder.is_dir():
                start = start_student(lessons, vectors, encoder, config.dim)
                context = Context(torch.device("cpu"), seed)
                train_token_table(*start, lessons, config, context).model.cpu().save(folder)
            student = load_token_table(folder)
            search = SearchIndex(index, student.items(catalogue), SERVING)
            bundles.append(pack_text_match(student, search, task.snapshot, task.spec, catalogue.fields))
        task.open_test()
        return bundles, task.judgements


def ranked(bundle: Bundle, texts: list[str], **how: Any) -> FloatArray:
    """What a bundle answers as scores, float32 [Q, N]: the first highest, what is not answered last."""
    out = np.full((len(texts), len(bundle)), -1e6, np.float32)
    for row, answer in enumerate(bundle.search_many(texts, 200, **how)):
        places = bundle.index([hit.id for hit in answer])[0]
        out[row, places] = -np.arange(len(places), dtype=np.float32)
    return out


def slips_cost(bundles: list[Bundle], judgements: Any, seeds: list[int]) -> dict[str, Any]:
    """nDCG@10 of the judged queries, as typed and with a slip each, by what is read.

    Means over the students, and over three draws of slips for each.
    """
    from kgdistill.ranking.graded import search_metrics

    off: dict[str, Any] = {"spelling": False, "facets": "off"}
    ways: dict[str, tuple[bool, dict[str, Any]]] = {
        "as typed, nothing read": (False, off),
        "as typed": (False, {}),
        "as typed, filtered by facets": (False, {"facets": "filter"}),
        "a slip each, not corrected": (True, {"spelling": False}),
        "a slip each": (True, {}),
    }
    found: dict[str, list[DoubleArray]] = {name: [] for name in ways}
    corrected = 0
    drawn = [
        [slip(query, draw) for query in judgements.queries] for draw in map(np.random.default_rng, SEEDS)
    ]
    for bundle in bundles:
        corrected += sum(bool(answer.corrections) for answer in bundle.search_many(judgements.queries, 1))
        for name, (wrong, how) in ways.items():
            for texts in drawn if wrong else [judgements.queries]:
                scores = ranked(bundle, texts, **how)
                found[name].append(search_metrics(scores, judgements)["full/ndcg@10"])
    means = {name: np.mean(values, axis=0) for name, values in found.items()}
    judged = np.isfinite(means["as typed"])

    def of(a: str, b: str | None = None) -> dict[str, float]:
        other = np.zeros(int(judged.sum())) if b is None else means[b][judged]
        return dict(paired_bootstrap(means[a][judged], other)._asdict())

    return {
        "queries": int(judged.sum()),
        "seeds": seeds,
        "queries corrected as typed": corrected,
        "ndcg@10": {name: of(name) for name in ways},
        "less": {
            "as typed, less nothing read": of("as typed", "as typed, nothing read"),
            "filtered, less as typed": of("as typed, filtered by facets", "as typed"),
            "a slip each, less not corrected": of("a slip each", "a slip each, not corrected"),
            "a slip each, less as typed": of("a slip each", "as typed"),
        },
    }


# What a history is worth -------------------------------------------------------------------------


def histories_worth(folder: Path) -> dict[str, Any]:
    """Reciprocal ranks of what was clicked after the cut, by how much a history weighs.

    The shop is invented: that customers keep to brands and looks was planted, and how much.
    """
    from kgdistill.datasets.chinese_shop import chinese_shop
    from kgdistill.run.run import Run
    from kgdistill.tasks.histories import histories

    run, bundle = Run.open(folder), load_bundle(folder / "bundle")
    bought, protocol = run.purchases(None), run.config.discovery
    before = pc.less(bought["at"], pa.scalar(protocol.cut, bought["at"].type))
    known = histories(bought.filter(before), bundle.keys)
    rows: dict[str, list[tuple[str, str, str]]] = {"validation": [], "test": []}
    for user, text, at, clicked in chinese_shop()["搜索日志.csv"][1:]:
        day = datetime(*map(int, re.findall(r"\d+", at)[:3]))
        if clicked and user in known and day > protocol.cut:
            rows["test" if day > protocol.test_start else "validation"].append((user, text, clicked))
    return {part: _worth(bundle, known, mine) for part, mine in rows.items()}


def _worth(bundle: Bundle, known: Any, rows: list[tuple[str, str, str]]) -> dict[str, Any]:
    ranks: dict[float, list[float]] = {share: [] for share in SHARES}
    for user, text, clicked in rows:
        for share in SHARES:
            answer = bundle.search(text, DEPTH, history=known[user].items, share=share)
            places = [hit.rank for hit in answer if hit.id == clicked]
            ranks[share].append(1 / places[0] if places else 0.0)
    plain = np.array(ranks[0.0])
    return {
        "searches": len(rows),
        "mrr": {str(share): round(float(np.mean(values)), 4) for share, values in ranks.items()},
        "less none": {
            str(share): dict(paired_bootstrap(np.array(values), plain)._asdict())
            for share, values in ranks.items()
            if share
        },
    }


def main() -> None:
    """Measures what is asked for and writes the figures down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--work", type=Path, help="where vectors and students are kept between starts")
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS)
    parser.add_argument("--shop", type=Path, metavar="RUN")
    parser.add_argument("--items", type=int, nargs="*", default=SIZES)
    given = parser.parse_args()
    found: dict[str, Any]
    if given.work is not None:
        bundles, judgements = chorus_bundles(given.data, given.work, given.seeds)
        found = {"chorus": slips_cost(bundles, judgements, given.seeds)}
    elif given.shop is not None:
        found = {"invented Chinese shop": histories_worth(given.shop)}
    else:
        draw = np.random.default_rng(1)
        found = {"times": [{"items": items, **times(worded(items, draw), draw)} for items in given.items]}
    told = (json.loads(OUT.read_text("utf-8")) if OUT.is_file() else {}) | found
    OUT.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
