"""Makes the sample of a small shop's past dialogues; the sentences are the project's own (Apache-2.0).

    python data/sample_dialogues/make.py [FOLDER]

Writes `dialogues-2024.csv` (question, answer, intent, product, split), `dialogues-2025.jsonl` (the same of a
later export, whose answers repeat former ones in other letters), `intents.csv` (intent, template, product)
and `products.csv` (product, title) into FOLDER, by default this one.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

PRODUCTS = {"P1": "Oak desk lamp", "P2": "Folding chair", "P3": "Steel kettle", "P4": "Wool blanket"}
INTENTS = {
    "track_order": ("Your parcel {tracking_number} is on its way and comes on {date}.", ""),
    "return_item": ("Put it back into its box; we pay back within 14 days of {order_id} reaching us.", ""),
    "lamp_bulb": ("The oak desk lamp takes a bulb with an E27 socket, 40 watts at most.", "P1"),
    "chair_load": ("The folding chair carries 120 kg.", "P2"),
    "kettle_descale": ("Fill the kettle with one part vinegar and four of water, and boil it twice.", "P3"),
    "blanket_wash": ("The wool blanket is washed by hand, in cold water.", "P4"),
    "invoice": ("The invoice is in your account, under Orders, as a PDF.", ""),
    "voucher": ("A voucher is entered at the checkout, before you pay.", ""),
}
THINGS = {
    "track_order": ["parcel", "delivery", "order that i placed", "package"],
    "return_item": ["return", "refund", "way to send it back", "money back"],
    "lamp_bulb": ["bulb of the lamp", "lamp bulb", "socket of the desk lamp", "light bulb"],
    "chair_load": ["weight the chair carries", "load of the chair", "chair limit", "folding chair load"],
    "kettle_descale": ["lime in the kettle", "kettle descaling", "scale in my kettle", "kettle cleaning"],
    "blanket_wash": ["washing of the blanket", "blanket in the machine", "wool blanket wash", "blanket care"],
    "invoice": ["invoice", "bill for my taxes", "receipt", "proof of purchase"],
    "voucher": ["voucher", "discount code", "gift card", "promo code"],
}
FRAMES = [
    "where do i find the {}?", "i have a question about the {}", "can you help me with the {}",
    "what about the {}", "hello, the {} please", "please tell me about the {}", "i do not understand the {}",
    "is there anything on the {}?", "my problem is the {}", "how does it work with the {}?",
]  # fmt: skip
BESIDE = {
    "opening": ("when is your shop open?", "We are open from 9 to 6, Monday to Saturday."),
    "parking": ("can i park at your shop?", "There are twelve places behind the house."),
    "jobs": ("do you have a job for me?", "Open positions are on the page Jobs."),
}
"""Answered before, but nobody gave the question an intent."""


def rows() -> list[dict[str, str]]:
    """Every dialogue: question, answer, intent, product, split."""
    out = []
    for intent, (answer, product) in INTENTS.items():
        for t, thing in enumerate(THINGS[intent]):
            for f, frame in enumerate(FRAMES):
                split = ("test", "validation")[(t + f) % 5] if (t + f) % 5 < 2 else "train"
                out.append({
                    "question": frame.format(thing), "answer": answer, "intent": intent, "product": product,
                    "split": split,
                })  # fmt: skip
    for question, answer in BESIDE.values():
        for before in ("", "hello, ", "good morning, ", "tell me, ", "one more question: "):
            out.append({
                "question": before + question, "answer": answer, "intent": "", "product": "", "split": "train"
            })  # fmt: skip
    return out


def make(folder: Path) -> list[Path]:
    """Writes the files; returns them."""
    folder.mkdir(parents=True, exist_ok=True)
    dialogues = rows()
    first, later = dialogues[::2], dialogues[1::2]
    names = ("dialogues-2024.csv", "dialogues-2025.jsonl", "intents.csv", "products.csv")
    written = [folder / name for name in names]
    _csv(written[0], first)
    with written[1].open("w", encoding="utf-8", newline="\n") as out:
        for n, row in enumerate(later):
            # Another clerk writes the same answers otherwise; they are one answer all the same.
            answer = row["answer"]
            text = f" {answer} " if n % 3 else answer[:1].lower() + answer[1:]
            out.write(json.dumps({**row, "answer": text}) + "\n")
    _csv(written[2], [{"intent": i, "template": t, "product": p} for i, (t, p) in INTENTS.items()])
    _csv(written[3], [{"product": p, "title": t} for p, t in PRODUCTS.items()])
    return written


def _csv(file: Path, lines: list[dict[str, str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


if __name__ == "__main__":
    for made in make(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent):
        print(made)
