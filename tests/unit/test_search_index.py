"""The part of a bundle that finds by text: it says what the models say, without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace

from kgdistill.errors import ArtefactError
from kgdistill.models.terms.near import NearTerm
from kgdistill.models.terms.words import CoverageTerm, WordsTerm
from kgdistill.models.text.token_table import TokenTable
from kgdistill.models.text_teacher import term_parts
from kgdistill.ranking.fusion import Fusion, fuse
from kgdistill.ranking.topk import top_k
from kgdistill.serve.bundle import load_bundle
from kgdistill.serve.pack import pack_text_match
from kgdistill.serve.search import SearchIndex, search_index
from kgdistill.serve.tower import TextTower, unit
from kgdistill.snapshot import take_snapshot
from kgdistill.store import MemoryStore, load_schema
from kgdistill.tasks.lexical import lexical_index, mix_fields
from kgdistill.tasks.search_catalogue import search_catalogue
from kgdistill.tasks.spec import MatchSpec, parse_task

WORDS = ["[UNK]", "red", "blue", "lamp", "chair", "desk", "garden", "oak"]
TITLES = [f"{a} {b}" for a in ("red", "blue", "oak") for b in ("lamp", "chair", "desk lamp", "garden chair")]
ABOUT = [f"a {title.split()[-1]} of {title.split()[0]}" for title in TITLES]
FIELDS = {"title": TITLES, "about": ABOUT}
ASKED = ["red lamps", "garden", "oak desk zebra", "zebra"]
FUSION = Fusion(depth=5)


@pytest.fixture
def table() -> TokenTable:
    tokenizer = Tokenizer(WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    # A token of several words, as phrases are.
    tokenizer.add_tokens(["garden chair"])
    torch.manual_seed(0)
    return TokenTable(tokenizer, torch.randn(len(WORDS) + 1, 6), ["title", "about"])


def items_of(table: TokenTable) -> np.ndarray:
    return mix_fields([table.encode(FIELDS[name]) for name in table.fields])


def test_the_bundles_scores_are_those_of_the_terms(table: TokenTable) -> None:
    items = items_of(table)
    index = lexical_index(FIELDS)
    near = NearTerm(table.encode(ASKED), items)
    terms = [WordsTerm(ASKED, index), CoverageTerm(ASKED, index), near]
    wanted = fuse(term_parts(terms, np.arange(len(ASKED)), len(TITLES)), FUSION)

    tower = TextTower.of(table.tokenizer, table.table.weight.detach().numpy(), None, 64)
    assert tower.token_ids(ASKED) == table.token_ids(ASKED)
    packed = search_index(FIELDS, items, FUSION)
    again = SearchIndex.from_arrays(packed.settings(), packed.arrays(), {}, len(TITLES))
    assert again.fusion == FUSION
    found = again.scores(ASKED, unit(tower.encode(ASKED)))
    assert found == pytest.approx(wanted, abs=1e-5)
    assert TITLES[int(found[0].argmax())] == "red lamp"
    # What is filtered out is as if it were not there.
    some = np.array([0, 3, 7, 9])
    alone = search_index({n: [t[i] for i in some] for n, t in FIELDS.items()}, items[some], FUSION)
    ranked = again.scores(ASKED[:2], unit(tower.encode(ASKED[:2])), some)
    assert ranked.shape == (2, 4)
    assert (
        ranked[:, :].argmax(1).tolist()
        == alone.scores(ASKED[:2], unit(tower.encode(ASKED[:2]))).argmax(1).tolist()
    )


def test_an_item_that_came_later_is_found_as_if_it_had_been_there(table: TokenTable) -> None:
    items = items_of(table)
    first = search_index({name: texts[:9] for name, texts in FIELDS.items()}, items[:9], FUSION)
    grown = first.extended({name: texts[9:] for name, texts in FIELDS.items()}, items[9:])
    whole = search_index(FIELDS, items, FUSION)
    assert np.array_equal(grown.scores(ASKED, table.encode(ASKED)), whole.scores(ASKED, table.encode(ASKED)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"depth": 0}, "'depth' is of the wrong kind"),
        ({"size": 3}, "'size' is of the wrong kind"),
        ({"meaning": "much"}, "'meaning' is of the wrong kind"),
        ({"vectors": np.zeros((12, 6))}, "vectors is float64"),
        ({"starts": np.zeros(3, np.int64)}, "postings"),
        ({"counts": None}, "counts' is missing"),
        ({"words": "stems-0"}, "cut into words by 'stems-0', this version cuts by 'amounts-1'"),
    ],
)
def test_a_part_that_does_not_fit_is_refused(
    wrong: dict[str, object], message: str, table: TokenTable
) -> None:
    packed = search_index(FIELDS, items_of(table), FUSION)
    settings = {**packed.settings(), **{k: v for k, v in wrong.items() if k in packed.settings()}}
    arrays = {**packed.arrays(), **{k: v for k, v in wrong.items() if k in packed.arrays()}}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    with pytest.raises(ArtefactError, match=message):
        SearchIndex.from_arrays(settings, arrays, {}, len(TITLES))


def test_an_index_from_before_its_rule_had_a_name_is_refused(table: TokenTable) -> None:
    packed = search_index(FIELDS, items_of(table), FUSION)
    old = {name: value for name, value in packed.settings().items() if name != "words"}
    with pytest.raises(ArtefactError, match=r"cut into words by 's-stems-1'.*\n.*make it anew"):
        SearchIndex.from_arrays(old, packed.arrays(), {}, len(TITLES))


def test_a_query_that_means_nothing_and_shares_no_word_scores_all_alike(table: TokenTable) -> None:
    packed = search_index(FIELDS, items_of(table), FUSION)
    scores = packed.scores(["zebra"], np.zeros((1, 6), np.float32))
    assert not scores.any()
    assert top_k(scores, np.arange(len(TITLES)), 3)[0].tolist() == [[0, 1, 2]]


def test_fields_of_a_schema_of_ones_own_keep_their_names_apart(table: TokenTable, tmp_path: Path) -> None:
    texts = dict.fromkeys(("headline", "title", "id", "brand_text", "brand"), TITLES)
    properties = ", ".join(f"{name}: string" for name in texts)
    file = tmp_path / "schema.yaml"
    file.write_text(
        "version: 1\nnodes:\n  Article: {key: article_id, name: headline, "
        f"text: [{', '.join(texts)}], properties: {{{properties}}}}}\n"
        "  Ask: {key: ask_id, name: ask_id}\nrelationships:\n"
        "  RATED: {kind: judgement, endpoints: [[Ask, Article]], properties: {grade: double}}\n",
        encoding="utf-8",
    )
    schema = load_schema(file)
    with MemoryStore() as store:
        store.apply_schema(schema)
        rows = [{"article_id": f"x{i:02}", **{n: f"{t} {n}" for n in texts}} for i, t in enumerate(TITLES)]
        store.write_nodes("Article", pa.Table.from_pylist(rows, schema=schema.node_arrow_schema("Article")))
        snapshot = take_snapshot(store, tmp_path / "s", cut=None, needed=("Article",))
    spec = parse_task({
        "kind": "match", "name": "own", "anchors": {"label": "Ask", "by": "text"},
        "candidates": {"label": "Article", "by": "text"}, "positives": {"synthetic": "catalogue"},
        "judged_by": "RATED",
    })  # fmt: skip
    assert isinstance(spec, MatchSpec)
    fields = search_catalogue(snapshot, "Article").fields
    student = TokenTable(table.tokenizer, table.table.weight.detach(), ["headline"])
    vectors = student.encode(fields["headline"])
    bundle = pack_text_match(student, search_index(fields, vectors, FUSION), snapshot, spec, fields)
    assert bundle.items.table.column_names.count("title") == 1
    bundle.save(tmp_path / "bundle")
    again = load_bundle(tmp_path / "bundle")
    (hit,) = again.search("blue desk", k=1)
    assert (hit.id, hit.title) == ("x06", "blue desk lamp headline")
    assert again.search("brand", k=1)[0].brand == "red lamp brand_text"


def test_what_fits_a_price_alone_is_not_raised_where_words_find_something(table: TokenTable) -> None:
    packed, near = search_index(FIELDS, items_of(table), Fusion()), table.encode(["red"])
    fits = np.array([["red" not in title for title in TITLES]], np.float32)
    plain = packed.ranked(["red"], near)[0]
    assert np.array_equal(packed.ranked(["red"], near, said={"fits": fits})[0], plain)
    raised = packed.ranked(["red"], near, said={"fits": 1 - fits})[0]
    assert raised - plain == pytest.approx(0.5 * (1 - fits), abs=1e-6)
