"""A small shop's past dialogues with planted structure: what tells an answer is one word of its question."""

from __future__ import annotations

from typing import Any

from _tables import write_rows

from kgdistill.store import GraphStore, load_schema

TOPICS = {
    "parcel": "Parcel {order_id} is on its way.",
    "refund": "We pay back within a week.",
    "invoice": "The invoice is in your account.",
    "lamp": "The lamp takes a bulb E27.",
    "chair": "The chair carries 120 kg.",
    "voucher": "A voucher is entered at the checkout.",
}
FRAMES = [
    "where is my {}", "tell me about the {}", "i have a question on the {}", "{} please", "what of the {}",
    "my {} is a problem", "help me with the {}", "how does the {} work", "when do i get the {}", "no {} yet",
]  # fmt: skip
SPLITS = ["train"] * 6 + ["validation"] * 2 + ["test"] * 2


def fill_dialogues(store: GraphStore, *, topics: dict[str, str] = TOPICS) -> None:
    """Ten questions of each topic; of the first answer two nodes say the same in other letters."""
    schema = load_schema()
    asked = [(t, f, topic) for t, topic in enumerate(topics) for f in range(len(FRAMES))]
    questions = [
        {"question_id": f"q{t}-{f}", "text": FRAMES[f].format(topic), "split": SPLITS[f]}
        for t, f, topic in asked
    ]
    answers = [{"answer_id": f"a{t}", "text": text} for t, text in enumerate(topics.values())]
    first = answers[0]["text"]
    again = first.upper().replace("{ORDER_ID}", "{order_id}")
    answers.append({"answer_id": "a0-again", "text": f"  {again} "})
    given = [
        {"source": f"q{t}-{f}", "target": "a0-again" if t == 0 and f % 2 else f"a{t}"} for t, f, _ in asked
    ]
    tables: dict[Any, list[dict[str, Any]]] = {
        "Question": questions,
        "Answer": answers,
        "Utterance": [
            {"utterance_id": q["question_id"], "text": q["text"], "split": q["split"]} for q in questions
        ],
        "Intent": [
            {"intent_id": t, "name": t, "template": None if t == "voucher" else f"{t}: {{name}}"}
            for t in topics
        ],
        ("Utterance", "HAS_INTENT", "Intent"): [
            {"source": f"q{t}-{f}", "target": topic} for t, f, topic in asked
        ],
        "Product": [{"product_id": "p1", "title": "desk lamp"}, {"product_id": "p2", "title": "oak chair"}],
        ("Intent", "ABOUT", "Product"): [{"source": "chair", "target": "p2"}],
        ("Question", "ANSWERED_BY", "Answer"): given,
        ("Answer", "ABOUT", "Product"): [
            {"source": "a3", "target": "p1"}, {"source": "a4", "target": "p2"},
        ],
    }  # fmt: skip
    store.apply_schema(schema)
    write_rows(store, schema, tables)
