"""Tells what mood the values of a column say."""

from __future__ import annotations

from kgdistill.ingest.propose.headings import has_word, is_id
from kgdistill.ingest.propose.profile import ColumnProfile
from kgdistill.ingest.propose.words import RATING, SENTIMENT, STATEMENT, word_set

_MOODS = {
    "negative": word_set("negative neg negativ bad schlecht 负面 負面 消极 消極 差评 差評 ネガティブ 부정"),
    "neutral": word_set("neutral 中性 中立 中评 中評 ニュートラル 중립"),
    "positive": word_set("positive pos positiv good gut 正面 积极 積極 好评 好評 ポジティブ 긍정"),
}


def named_moods(column: ColumnProfile) -> dict[str, str]:
    """By value of a column the mood that it names; empty where not all name one."""
    seen = sorted(set(column.values))
    moods = {value: mood for value in seen for mood, known in _MOODS.items() if value.lower() in known}
    return moods if len(moods) == len(seen) else {}


def is_mood(column: ColumnProfile) -> bool:
    """Whether it says the mood of a text, by its values: several moods, or one under a heading of ratings."""
    told = len({*named_moods(column).values()})
    return not is_id(column) and told > (0 if has_word(column, f"{RATING} {STATEMENT} {SENTIMENT}") else 1)
