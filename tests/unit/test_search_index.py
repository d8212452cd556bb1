"""The part of a bundle that finds by text: it says what the models say, without torch."""

from __future__ import annotations

import numpy as np
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
from kgdistill.serve.search import SearchIndex, search_index
from kgdistill.serve.tower import TextTower, unit
from kgdistill.tasks.lexical import lexical_index, mix_fields

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


def test_a_query_that_means_nothing_and_shares_no_word_scores_all_alike(table: TokenTable) -> None:
    packed = search_index(FIELDS, items_of(table), FUSION)
    scores = packed.scores(["zebra"], np.zeros((1, 6), np.float32))
    assert not scores.any()
    assert top_k(scores, np.arange(len(TITLES)), 3)[0].tolist() == [[0, 1, 2]]
