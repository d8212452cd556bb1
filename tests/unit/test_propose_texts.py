"""Reviews, statements, questions with intents or answers, and search logs: what is proposed for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kgdistill.ingest.mapping.load import parse_mapping
from kgdistill.ingest.propose.propose import NothingFitsError, Preview, preview, propose
from kgdistill.store.schema import load_schema

SCHEMA = load_schema()


def tried(folder: Path, file: str, text: str) -> tuple[str, Preview]:
    """The proposal for a file, every row of which it takes, and what it makes."""
    (folder / file).write_text(text)
    yaml = propose([folder / file], SCHEMA)
    shown = preview(parse_mapping(yaml), SCHEMA, folder)
    assert shown.rejects.to_pylist() == [], yaml
    return yaml, shown


def rows_of(shown: Preview, label: str) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if v is not None} for row in shown.examples[label].to_pylist()]


@pytest.mark.parametrize(
    ("file", "head"),
    [
        ("a.csv", "question,answer,intent"),
        ("a.csv", "frage,antwort,absicht"),
        ("a.csv", "customer_message,agent_reply,intent"),
        ("a.csv", "问题,答案,意图"),
        ("a.csv", "客户提问,客服回复,意图"),
        ("a.csv", "質問,回答,意図"),
        ("a.csv", "질문,답변,의도"),
    ],
)
def test_questions_with_answers_and_intents(tmp_path: Path, file: str, head: str) -> None:
    body = "Where is it?,On its way.,track\nHow do I return it?,In its box.,return\nWhere?,on its way.,\n"
    yaml, shown = tried(tmp_path, file, f"{head},shelf,split\n" + body.replace("\n", ",x,train\n"))
    assert shown.counts == {
        "Question": 3, "Answer": 2, "Utterance": 3, "Intent": 2,
        ("Question", "ANSWERED_BY", "Answer"): 3, ("Utterance", "HAS_INTENT", "Intent"): 2,
    }  # fmt: skip
    assert rows_of(shown, "Question")[0] == {
        "question_id": "Where is it?",
        "text": "Where is it?",
        "split": "train",
    }
    assert rows_of(shown, "Intent")[0] == {"intent_id": "track", "name": "track"}
    assert "# not used: shelf" in yaml


@pytest.mark.parametrize(
    "head",
    [
        "question_number,question,answer,intent",
        "question_number,message,answer,intent",
        "Fragenummer,Frage,Antwort,Absicht",
        "質問番号,質問,回答,意図",
    ],
)
def test_the_number_of_a_question_is_its_key_and_not_its_text(tmp_path: Path, head: str) -> None:
    _, shown = tried(tmp_path, "a.csv", f"{head}\nV1,Where is it?,On its way.,track\nV2,Why?,So.,other\n")
    assert rows_of(shown, "Question") == [
        {"question_id": "V1", "text": "Where is it?"},
        {"question_id": "V2", "text": "Why?"},
    ]


@pytest.mark.parametrize(
    "head", ["question,answer,question_type", "Frage,Antwort,Kategorie", "咨询内容,客服回复,咨询类型"]
)
@pytest.mark.parametrize("product", ["", "product_id"])
def test_a_class_beside_question_and_answer_is_what_is_wanted(
    tmp_path: Path, head: str, product: str
) -> None:
    kinds = ("parcel", "size", "refund")
    rows = [f"why {i}?,so {i}.,{kinds[i % 3]}" + f",P{i % 7}" * bool(product) for i in range(42)]
    text = "\n".join([f"{head},{product}".rstrip(","), *rows]) + "\n"
    yaml, shown = tried(tmp_path, "a.csv", text)
    assert [row["intent_id"] for row in rows_of(shown, "Intent")] == [*kinds]
    assert "Category" not in shown.counts
    assert "what is wanted? it stands beside the answer" in yaml


def test_a_class_that_goes_with_the_product_or_each_question_is_none_of_what_is_wanted(
    tmp_path: Path,
) -> None:
    rows = [f"why {i}?,so {i}.,{'cup' if i % 7 < 3 else 'tea'},P{i % 7}" for i in range(42)]
    text = "\n".join(["question,answer,category,product_id", *rows]) + "\n"
    shown = tried(tmp_path, "a.csv", text)[1]
    assert ("Intent" in shown.counts, shown.counts["Category"]) == (False, 2)
    text = "\n".join(["question,answer,label", *(f"why {i}?,so {i}.,L{i}" for i in range(42))]) + "\n"
    assert "Intent" not in tried(tmp_path, "b.csv", text)[1].counts


@pytest.mark.parametrize(
    ("head", "asks", "replies"),
    [
        ("conversation_id,sender,sent_at,message", "customer", "agent"),
        ("Ticketnr,Wer,Datum,Nachricht", "Kunde", "Laden"),
        ("会话ID,发送方,发送时间,消息内容", "买家", "客服"),
    ],
)
def test_messages_by_turns_are_to_be_paired_first(tmp_path: Path, head: str, asks: str, replies: str) -> None:
    told = f"# ? rows are messages by turns of {head.split(',')[1]} ({asks}, {replies})"

    def proposed(who: Callable[[int], str], talk: Callable[[int], int]) -> str:
        rows = [f"T{talk(i)},{who(i)},2024-03-05 10:{i:02}:00,words {i}" for i in range(40)]
        (tmp_path / "log.csv").write_text("\n".join([head, *rows]) + "\n")
        try:
            return propose([tmp_path / "log.csv"], SCHEMA)
        except NothingFitsError as error:
            return error.skeleton

    assert told in proposed(lambda i: (asks, replies)[i % 2], lambda i: i // 2)
    # Neither monologues, nor rows of a talk each.
    assert "by turns" not in proposed(lambda i: (asks, replies)[i // 20], lambda i: i // 4)
    assert "by turns" not in proposed(lambda i: (asks, replies)[i % 2], lambda i: i)


def test_reviews_of_a_product_and_lines_of_orders_are_no_messages_by_turns(tmp_path: Path) -> None:
    rows = [f"P{i // 4},{('good', 'bad')[i % 2]},words {i},{('web', 'app')[i % 2]}" for i in range(40)]
    yaml, _ = tried(
        tmp_path, "reviews.csv", "\n".join(["product_id,verdict,review_text,source", *rows]) + "\n"
    )
    assert "by turns" not in yaml
    lines = [
        f"O{i // 2},C{i // 4},P{i % 7},1,{('box', 'bag')[i % 2]},words {i},2024-03-05" for i in range(40)
    ]
    head = "order_id,customer_id,product_id,quantity,wrapping,message,time"
    assert "by turns" not in tried(tmp_path, "orders.csv", "\n".join([head, *lines]) + "\n")[0]


def test_who_wrote_a_review_said_it(tmp_path: Path) -> None:
    said = ("User", "SAID", "Statement")
    rows = [
        ["review_id", "user_id", "product_id", "stars", "review_text", "time"],
        ["r1", "U1", "P1", "5", "lovely", "2024-03-05"],
        ["r2", "U2", "P1", "1", "", "2024-03-06"],
        ["r3", "U2", "P2", "2", "broke at once", "2024-03-07"],
    ]

    def made(without: set[str]) -> Preview:
        places = [i for i, name in enumerate(rows[0]) if name not in without]
        return tried(tmp_path, "r.csv", "".join(",".join(r[i] for i in places) + "\n" for r in rows))[1]

    for without in (set[str](), {"product_id", "stars"}):
        shown = made(without).examples[said].to_pylist()
        assert [(row["source"], row["target"]) for row in shown] == [("U1", "r1"), ("U2", "r3")]
    # Of nobody, or at no time, nothing is an event.
    assert said not in made({"user_id"}).counts
    assert said not in made({"time"}).counts


def test_of_a_question_what_stands_beside_it_is_made(tmp_path: Path) -> None:
    faq = "id,question,answer,product_id\n1,Where?,Here.,\n2,How?,So.,P1\n"
    _, shown = tried(tmp_path, "faq.csv", faq)
    assert rows_of(shown, "Question")[1] == {"question_id": "2", "text": "How?"}
    assert shown.counts["Answer", "ABOUT", "Product"] == 1
    for head in ("text,intent", "utterance,intent", "query,intent", "message,intent_id"):
        _, shown = tried(tmp_path, "u.csv", head + "\nWhere?,track\nHow?,return\n")
        assert shown.counts == {"Utterance": 2, "Intent": 2, ("Utterance", "HAS_INTENT", "Intent"): 2}
    _, shown = tried(
        tmp_path, "i.csv", "intent,template,product_id\ntrack,It comes.,P1\nreturn,Send it.,P2\n"
    )
    assert rows_of(shown, "Intent")[0] == {"intent_id": "track", "name": "track", "template": "It comes."}
    assert shown.counts["Intent", "ABOUT", "Product"] == 2
    _, shown = tried(tmp_path, "q.csv", "question,asked_at\nWhere?,2024-03-05\nHow?,2024-03-06\n")
    assert shown.counts == {"Question": 2}
    # Who asks about a product has not bought it.
    _, shown = tried(
        tmp_path, "p.csv", "user_id,product_id,question,answer,time\nU1,P1,Is it red?,Yes.,2024-03-05\n"
    )
    assert not [key for key in shown.counts if key[1] in ("BOUGHT", "VIEWED", "RATED")]


@pytest.mark.parametrize(
    ("file", "head"),
    [
        ("statements.csv", "id,text,sentiment,topic,date"),
        ("a.csv", "review_id,review,sentiment,topic,created_at"),
        ("a.csv", "id,kommentar,stimmung,thema,datum"),
        ("a.csv", "评论编号,评论内容,情感,话题,评论时间"),
        ("a.csv", "レビュー番号,レビュー,感情,トピック,日付"),
        ("a.csv", "리뷰번호,리뷰,감정,주제,날짜"),
    ],
)
def test_statements_with_what_they_say(tmp_path: Path, file: str, head: str) -> None:
    body = "S1,works well,positive,tea,2024-03-05\nS2,broke at once,negative,cups,2024-03-06\n"
    _, shown = tried(tmp_path, file, f"{head}\n{body}")
    assert shown.counts == {"Statement": 2}
    first = rows_of(shown, "Statement")[0]
    assert {
        "statement_id": "S1",
        "text": "works well",
        "sentiment": "positive",
        "topic": "tea",
    }.items() <= first.items()
    assert str(first["at"]) == "2024-03-05 00:00:00"


@pytest.mark.parametrize(
    ("bad", "good", "doubted"),
    [("0", "1", True), ("差评", "好评", False), ("Neg", "Pos", False), ("-1", "1", True)],
)
def test_moods_become_the_words_that_alerts_count(tmp_path: Path, bad: str, good: str, doubted: bool) -> None:
    yaml, shown = tried(tmp_path, "reviews.csv", f"review,label\nworks well,{good}\nbroke at once,{bad}\n")
    assert [row["sentiment"] for row in rows_of(shown, "Statement")] == ["positive", "negative"]
    assert (" # ? " in next(line for line in yaml.splitlines() if "sentiment:" in line)) is doubted
    assert "# ? statement: no column looks like its id" in yaml
    yaml, shown = tried(tmp_path, "reviews.csv", "review,label\nworks well,A\nbroke at once,B\n")
    assert [row["sentiment"] for row in rows_of(shown, "Statement")] == ["A", "B"]
    assert "# ? is it the mood? alerts count negative" in yaml


@pytest.mark.parametrize(
    ("head", "bad", "good"),
    [
        ("user_id,product_id,time,verdict,review_text", "bad", "good"),
        ("Kundennr,Artikelnr,Datum,Urteil,Kommentar", "schlecht", "gut"),
        ("用户ID,商品ID,时间,评价等级,评论内容", "差评", "好评"),
        ("고객번호,상품번호,날짜,구분,리뷰", "부정", "긍정"),
    ],
)
def test_a_column_of_moods_is_the_mood_whatever_its_heading(
    tmp_path: Path, head: str, bad: str, good: str
) -> None:
    body = f"U1,P1,2024-03-05,{good},works well\nU2,P1,2024-03-06,{bad},broke at once\n"
    yaml, shown = tried(tmp_path, "a.csv", f"{head}\n{body}")
    assert [row["sentiment"] for row in rows_of(shown, "Statement")] == ["positive", "negative"]
    assert shown.counts == {"User": 2, "Statement": 2, ("User", "SAID", "Statement"): 2}
    assert "# ? event: a review without a rating in numbers makes neither RATED nor BOUGHT" in yaml


def test_words_of_moods_that_are_of_no_text_are_no_mood(tmp_path: Path) -> None:
    goods = "product_id,title,price,condition,content\nP1,Old lamp,3.50,good,oak\nP2,Old cup,2,bad,clay\n"
    assert set(tried(tmp_path, "products.csv", goods)[1].counts) == {"Product"}
    # Under a heading that says it one mood is enough, under another it may be chance.
    for name, mood in (("评价", "positive"), ("verdict", None)):
        text = f"review,{name}\nworks well,good\nis fine,good\n"
        assert rows_of(tried(tmp_path, "reviews.csv", text)[1], "Statement")[0].get("sentiment") == mood


def test_a_review_is_a_statement_beside_its_rating_and_its_category_a_topic(tmp_path: Path) -> None:
    text = "review_id,user_id,product_id,rating,title,text,time\nR1,U1,P1,5,Fine,works well,2024-03-05\n"
    yaml, shown = tried(tmp_path, "reviews.csv", text + "R2,U1,P2,1,Bad,broke,2024-03-05\n")
    assert rows_of(shown, "Statement")[1]["text"] == "broke"
    assert shown.counts["User", "RATED", "Product"] == 2
    stars = 'values: {"1": negative, "2": negative, "3": neutral, "4": positive, "5": positive}'
    assert f"# ? sentiment: {{column: rating, {stars}}}" in yaml
    assert "Product" not in shown.counts or "title" not in rows_of(shown, "Product")[0]
    _, shown = tried(tmp_path, "评论.csv", "类目,标签,评论\n手机,1,很好用\n书籍,0,坏了\n")
    assert [row["topic"] for row in rows_of(shown, "Statement")] == ["手机", "书籍"]
    # A time in no known way is no text.
    text = "reviewerID,asin,reviewText,reviewTime,overall,at\nU1,P1,fine,09 13 2009 noon or so,5,2024-03-05\n"
    _, shown = tried(tmp_path, "reviews.csv", text)
    assert rows_of(shown, "Statement")[0]["text"] == "fine"
    # The code of a product tells no reviews apart, though each stands once.
    text = "user_id,product_id,sku,rating,text,time\nU1,P1,V1,5,fine,2024-03-05\n"
    text += "U2,P2,V2,1,bad,2024-03-05\n"
    _, shown = tried(tmp_path, "variants.csv", text)
    assert [row["statement_id"] for row in rows_of(shown, "Statement")] == ["fine", "bad"]
    # A review without a rating tells no purchase, nor how good it is.
    yaml, shown = tried(tmp_path, "x.csv", "user_id,product_id,comment,time\nU1,P1,works well,2024-03-05\n")
    assert shown.counts == {"User": 1, "Statement": 1, ("User", "SAID", "Statement"): 1}
    assert "# ? event: a review without a rating in numbers makes neither RATED nor BOUGHT" in yaml


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("products.csv", "product_id,title,text,content\nP1,Tea,A fine tea.,leaves\n"),
        (
            "orders.csv",
            "order_id,user_id,product_id,quantity,comment,time\nO1,U1,P1,2,ring twice,2024-03-05\n",
        ),
        ("products.csv", "product_id,title,reviews,review_count,editorial_review\nP1,Tea,12,12,Fine.\n"),
        ("users.csv", "user_id,comment\nU1,pays late\nU2,friendly\n"),
        ("ads.csv", "ad_id,campaign_id,headline\nA1,C1,Tea for two\n"),
        ("log.csv", "user_id,product_id,review_status,review_date\nU1,P1,approved,2024-03-05\n"),
    ],
)
def test_no_text_of_another_kind_is_a_statement(tmp_path: Path, file: str, text: str) -> None:
    _, shown = tried(tmp_path, file, text)
    assert not {"Statement", "Question", "Utterance"} & {key for key in shown.counts if isinstance(key, str)}


@pytest.mark.parametrize(
    "head", ["query,clicked_product_id,time", "suchbegriff,clicked_item,zeit", "搜索词,点击商品,时间"]
)
def test_what_a_query_found_is_clicked(tmp_path: Path, head: str) -> None:
    body = "red shoes,P1,2024-03-05\nblue hat,P2,2024-03-06\n"
    _, shown = tried(tmp_path, "searches.csv", f"{head}\n{body}")
    assert (shown.counts["Query"], shown.counts["Query", "CLICKED", "Product"]) == (2, 2)
    _, shown = tried(tmp_path, "s.csv", f"{head},user_id\n" + body.replace("\n", ",U1\n"))
    assert shown.counts["Query", "CLICKED", "Product"] == shown.counts["User", "VIEWED", "Product"] == 2


def test_of_a_log_with_kinds_the_clicks_alone_are_of_the_query(tmp_path: Path) -> None:
    log = "query,product_id,event,time\nhat,P1,impression,2024-03-05\nhat,P1,click,2024-03-05\n"
    _, shown = tried(tmp_path, "s.csv", log)
    assert shown.counts["Query", "CLICKED", "Product"] == 1
    log = "query,product_id,clicked,time\nhat,P1,0,2024-03-05\nhat,P1,1,2024-03-05\nhat,P2,0,2024-03-05\n"
    _, shown = tried(tmp_path, "s.csv", log)
    assert shown.counts["Query", "CLICKED", "Product"] == 1
    orders = "order_id,query,product_id,user_id,quantity,time\nO1,hat,P1,U1,2,2024-03-05\n"
    _, shown = tried(tmp_path, "orders.csv", orders)
    assert ("Query", "CLICKED", "Product") not in shown.counts
