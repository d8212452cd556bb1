"""What a query says of a price: "under 20", "bis 20 €", "moins de 20 €", "20元以下", "tussen 10 en 20"."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Literal, NamedTuple

from kgdistill.units import NUMBER, TIMES, number

_MONEY = r"(?:[€$£¥元円]|(?:eur|euros?|usd|dollars?|gbp|rmb|cny|yuan|jpy|pln|z[łl])(?![a-z])|块钱?|人民币)"
_TIMES = {"十": 10, **TIMES}
_ONES = "一二两三四五六七八九"
_DIGITS = str.maketrans(_ONES, "1223456789", "零〇")
# What a last digit counts that has no unit: 一百五 is 150.
_BELOW = {"百": "十", "千": "百", "万": "千"}
# 1万5千 is one number, and so are 一万五千 and, before a currency, 千.
_N = (
    rf"(?:{NUMBER}(?: ?[百千万亿](?:\d{{1,4}}[百千万])*)?|"
    rf"[{_ONES}十][零〇{_ONES}十百千万亿]*|[百千万](?= ?{_MONEY}))"
)
# With a currency anywhere; without one only where the query ends: "under 5 minutes" is no price.
_SOME = rf"(?:[€$£¥] ?(?P<A>{_N})|(?P<B>{_N}) ?{_MONEY}|(?P<C>{_N}) ?$)"
_PAID = rf"(?:[€$£¥] ?(?P<A>{_N})|(?P<B>{_N}) ?{_MONEY})"
# Where prices are written so, a point before three digits stands between thousands: 1.500 €.
_CONTINENTAL = re.compile(
    r"€|(?<![a-z])(?:eur|euros?|pln|z[łl]|zwischen|und|von|bis|unter|weniger als|billiger als|hochstens|"
    r"maximal|mindestens|mehr als|uber|ab|"
    r"entre|sous|moins de|menos de|plus de|mas de|jusqu['’]?a|hasta|a partir de|"
    r"desde|au plus|au moins|como maximo|como minimo|al menos|onder|tussen|tot|van|vanaf|boven|minder dan|"
    r"meer dan|goedkoper dan|hoogstens|maximaal|minstens|ponizej|powyzej|miedzy|pomiedzy|od|mniej niz|"
    r"wiecej niz|tansz[aey] niz|najwyzej|maksymalnie|co najmniej)(?![a-z])"
)
_SIGNS = f"零〇几数{_ONES}十百千万亿"
# 近百 and 上千 are vague, but not the 千 of 百元以上千元以下; and 一点五 is a decimal, but not 便宜一点100.
_ODD = rf"(?:(?<=[近约])|(?<=上)(?<!以上)(?=[百千万])|(?<=\d点)(?=\d)|(?<=[{_SIGNS}]点)(?=[{_SIGNS}]))"
_AHEAD = rf"(?:(?<![^\W_])|(?<=[\u3040-\u9fff])(?<![{_SIGNS}])(?!{_ODD}))"
# 一起 is together.
_NO_WORD = rf"(?![{_ONES}] ?(?:以|之|起))"
_TO = r"(?:[-\u2010-\u2015−~〜]{1,2}|到|至)"


def _pattern(text: str) -> re.Pattern[str]:
    """Each `SOME` and `PAID` of a text with names of its own."""
    parts = re.split("(SOME|PAID)", text)
    for n, part in enumerate(parts):
        if part in ("SOME", "PAID"):
            amount = _SOME if part == "SOME" else _PAID
            parts[n] = re.sub(r"\?P<([ABC])>", rf"?P<\g<1>{n}>", amount)
    return re.compile("".join(parts))


# 不低于 is no 低于.
_UNDER = (
    rf"(?:{_AHEAD}(?:under|below|(?<!no )less than|cheaper than|up to|at most|no more than|max\.?|maximum|"
    r"maximal|unter|weniger als|billiger als|hochstens|bis zu|"
    r"onder|(?<!niet )minder dan|goedkoper dan|hoogstens|niet meer dan|maximaal|ponizej|(?<!nie )mniej niz|"
    r"tansz[aey] niz|(?:co )?najwyzej|nie wiecej niz|maks\.?|maksymalnie|"
    r"sous|(?:(?:a|pour|por) )?(?<!pas )(?<!no )(?:moins|menos) de|(?:pas plus|no mas) de|jusqu['’ ]?a|hasta|"
    r"au (?:plus|maximum)|(?:como )?maximo)|<=?|≤|(?<!不)(?:低于|少于|小于)|"
    r"不超过|不到|不高于|不大于|不多于|至多|最多)"
)
_OVER = (
    rf"(?:{_AHEAD}(?:at least|(?<!no )more than|no less than|min\.?|minimum|mindestens|mehr als|"
    r"(?<!niet )meer dan|minstens|minimaal|niet minder dan|(?<!nie )wiecej niz|(?:co )?najmniej|"
    r"nie mniej niz|minimalnie|"
    r"(?<!pas )(?<!no )(?:plus|mas) de|(?:pas|no) (?:moins|menos) de|a partir de|au (?:moins|minimum)|"
    r"al menos|(?:como )?minimo)|>=?|≥|"
    r"(?<!不)(?:高于|大于|超过|多于)|不低于|不少于|不小于|至少|最少)"
)
_BARE = rf"(?:[€$£¥] ?)?({_N}) ?{_MONEY}?"
# 内 alone needs a currency, and begins no other word: 100元内衣 is underwear.
_UP_TO = (
    rf"{_AHEAD}{_NO_WORD}(?:({_N}) ?{_MONEY}? ?(?:以下|以内|之内|之下|未満|より安い)|"
    rf"({_N}) ?{_MONEY} ?まで|({_N}) ?{_MONEY} ?内(?![衣裤存胆搭饰置嵌六增墙部外径窥服蒙地页科丝螺容心]))"
)
_UPWARD = rf"{_AHEAD}{_NO_WORD}(?:({_N}) ?{_MONEY}? ?(?:以上|起|より高い)|({_N}) ?{_MONEY} ?から)"
_ALSO = (
    r" ?[,、;]? ?(?:并且|而且|同时|[且并但又和到至]|"
    r"(?:and|und|but|et|y|mais|pero|en|maar|i|a|ale) )? ?(?:价格)?在?"
)
_BOTH = (
    rf"(?:{_OVER} ?{_BARE}|{_UPWARD}){_ALSO}(?:{_UNDER} ?SOME|{_UP_TO})",
    rf"(?:{_UNDER} ?{_BARE}|{_UP_TO}){_ALSO}(?:{_OVER} ?SOME|{_UPWARD})",
    rf"{_AHEAD}(?:between|zwischen|entre|tussen|(?:po)?miedzy) ?{_BARE} (?:and|und|et|y|en|a|i) SOME",
    rf"{_AHEAD}(?:from|von|desde|de|van|od) ?{_BARE} (?:to|bis|hasta|a|tot|do) PAID",
    rf"{_AHEAD}[€$£¥]? ?({_N}) ?{_MONEY}? ?(?:{_TO}|to|bis|a|hasta|tot|do|から) ?PAID(?: ?まで)?",
)
# What stands behind a price, of which "au plus" is at most, and "et plus" at least.
_NO_MORE = (
    r"(?:max\.?|(?:au )?maximum|(?:como )?maximo|au plus|(?:ou|et) moins|o menos|or less|"
    r"oder weniger|of minder|(?:lub|albo) mniej)(?![a-z])"
)
_NO_LESS = (
    r"(?:min\.?|(?:au )?minimum|(?:como )?minimo|au moins|(?:ou|et) plus|[oy] mas|or more|"
    r"oder mehr|of meer|(?:lub|albo|i) wiecej)(?![a-z])"
)
_MOST = (rf"{_UNDER} ?SOME", rf"{_AHEAD}(?:bis|tot(?: en met)?|do) PAID", _UP_TO, rf"{_AHEAD}PAID {_NO_MORE}")
_LEAST = (
    rf"{_OVER} ?SOME",
    rf"{_AHEAD}(?:over|above|from|uber|ab|desde|boven|vanaf|od|powyzej) PAID",
    _UPWARD,
    rf"{_AHEAD}PAID {_NO_LESS}",
)
# 两三百 is 200 to 300.
_ABOUT = re.compile(f"[{_ONES}]{{2}}")
_PART = re.compile(rf"({NUMBER}) ?([十百千万亿]*)")
_RANGE = re.compile(rf" ?{_TO}")
_KINDS = [
    (_pattern(text), kind)
    for kind, texts in (("both", _BOTH), ("most", _MOST), ("least", _LEAST))
    for text in texts
]


class Price(NamedTuple):
    """A price that stands in a text.

    Attributes:
        start, end: where.
        least, most: one of which may be None.
    """

    start: int
    end: int
    least: float | None
    most: float | None


def priced(text: str) -> Price | None:
    """The first price that a folded text speaks of, if it does.

    A number that a unit follows is none, nor one without a currency in the midst of the text. Which currency
    it is does not matter: it is the catalogue's. With words of German, French, Spanish, Dutch or Polish,
    euros or złoty "1.500" is fifteen hundred.
    """
    for pattern, kind in _KINDS:
        for found in pattern.finditer(text):
            point: Literal["decimal", "thousands"] = (
                "thousands" if _CONTINENTAL.search(found[0]) else "decimal"
            )
            values = _values(found, point)
            if not values:
                continue
            low, high = float(values[0]), float(values[-1])
            least, most = {"both": (min(low, high), max(low, high)), "most": (None, high)}.get(
                kind, (low, None)
            )
            return Price(found.start(), found.end() + text.startswith(("的", "の"), found.end()), least, most)
    return None


def _values(found: re.Match[str], point: Literal["decimal", "thousands"]) -> list[Decimal]:
    """The numbers of a price; none where one cannot be read or is vague. In 1-2千元 both are thousands."""
    values: list[Decimal] = []
    groups = [group for group in found.groups() if group is not None]
    if any(map(_ABOUT.search, groups)):
        return []
    parts = [_PART.findall(_in_digits(group)) for group in groups]
    (face, times), (last, shared) = parts[0][0], parts[-1][0]
    if found[1] and not times and _RANGE.match(found.string, found.end(1)):
        (least, most) = (number(n, point=point) for n in (face, last))
        # But 500-1千元 begins at 500.
        parts[0] = [(face, shared if least is not None and most is not None and least <= most else "")]
    for part in parts:
        read = [(number(n, point=point), units) for n, units in part]
        if any(n is None for n, _ in read):
            return []
        values.append(_added([(n or Decimal(0), units) for n, units in read]))
    return values


def _in_digits(text: str) -> str:
    """一百零五 as 1百5, 一百五 as 1百5十, 十五 as 1十5, 千 as 1千."""
    last = re.search(rf"([百千万])[{_ONES}]\Z", text)
    text += _BELOW[last[1]] if last else ""
    return re.sub(r"\A[百千万]|(?<!\d)十", r"1\g<0>", text.translate(_DIGITS))


def _added(parts: list[tuple[Decimal, str]]) -> Decimal:
    """The sum of numbers with their units; 万 and 亿 count all before them: 1百2十万 is 1,200,000."""
    whole = below = Decimal(0)
    for n, units in parts:
        for unit in units:
            if unit == "亿":
                whole, below, n = (whole + below + n) * _TIMES[unit], Decimal(0), Decimal(0)
            elif unit == "万":
                whole, below, n = whole + (below + n) * _TIMES[unit], Decimal(0), Decimal(0)
            else:
                n *= _TIMES[unit]
        below += n
    return whole + below
