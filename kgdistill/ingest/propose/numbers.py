"""How the numbers of a column are written."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kgdistill.ingest.propose.times import FEW, SHARE
from kgdistill.ingest.propose.words import word_set
from kgdistill.units import TIMES_BEHIND

_POINT = re.compile(rf"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+|{TIMES_BEHIND})?\Z")
_COMMA = re.compile(rf"[-+]?(\d{{1,3}}(\.\d{{3}})+|\d+)(,\d+)?{TIMES_BEHIND}?\Z")
_GROUPED = re.compile(rf"[-+]?(?!0)\d{{1,3}}(,\d{{3}})+(\.\d+)?{TIMES_BEHIND}?\Z")
_MAY_GROUP = re.compile(r"[-+]?[1-9]\d{0,2}\.\d{3}\Z")
_NO_GROUP = re.compile(r"[-+]?(0|\d{4}|\.)")
_OPEN = re.compile(r"\d([.,])\d{3}(?!\d)")
# A rating on such a scale is 4/5; one in stars may have empty ones behind.
_SCALE = re.compile(r"/(5|10|100)\Z")
_STARS = re.compile("(?!\\Z)(?:[★⭐]\ufe0f?){0,5}☆{0,5}\\Z")
# Minus, what is before, the number, and what is after; blanks, and Swiss apostrophes, part thousands.
_AROUND = re.compile(
    r"([-+]?)([^\d.,+-]*\.?)\s*"
    rf"([-+]?\s?(?:\d{{1,3}}(?:[\s'’]\d{{3}})+(?:[.,]\d+)?|\d[\d.,]*|[.,]\d+)(?:\s?{TIMES_BEHIND})?)"
    r"([^\d]*|\s?/\s?\d+)\Z"
)
# Sums without hundredths: 8,- and 8.--
_DASH = re.compile(r"(?<=\d)[.,][-–—]{1,2}(?=\D*\Z)")
# Codes as they are defined, and what people write; of one letter only beside a sign such as $.
_CODES = word_set(
    """USD EUR GBP CHF JPY CNY RMB INR RUB UAH PLN CZK SEK NOK DKK HUF RON BGN TRY BRL MXN ARS CLP COP PEN
    CAD AUD NZD ZAR KRW TWD HKD SGD THB IDR VND MYR PHP ILS AED SAR EGP NGN KES ISK"""
)
_SPOKEN = word_set(
    """Rs Rp RM kr Kč zł zl Ft lei лв руб р грн TL SFr Fr Euro euro EURO Dollar dollar dollars eur usd gbp chf
    元 圆 圓 円 원 \\"""
)
# Beside these, commas are decimal.
_LOCAL = word_set(
    """€ EUR Euro euro EURO eur R$ BRL PLN zł zl CZK Kč SEK NOK DKK ISK kr HUF Ft RON lei BGN лв RUB руб р ₽
    UAH грн ₴ TRY TL ₺ ARS CLP COP IDR Rp VND ₫"""
)
# A line for each currency of several signs; some signs are of several.
_CURRENCIES = [
    word_set(signs)
    for signs in """¥ ￥ CNY RMB 元 圆 圓
        ¥ ￥ JPY 円 圓 \\
        ₩ KRW 원 \\
        NT$ $ TWD 元 圓
        HK$ $ HKD 元 圓
        € EUR Euro euro EURO eur
        US$ $ USD Dollar dollar dollars usd
        CA$ C$ $ CAD dollar dollars
        AU$ A$ $ AUD dollar dollars
        £ GBP gbp
        CHF SFr Fr chf
        R$ BRL
        ₽ RUB руб р
        ₴ UAH грн
        ₺ TRY TL
        zł zl PLN
        Kč CZK
        kr SEK
        kr NOK
        kr DKK
        Ft HUF
        ₹ INR Rs
        Rp IDR
        ₫ VND""".splitlines()
]
_BESIDE_SIGN = {"", "A", "C", "R", "S", "US", "HK", "NT", "NZ", "MX", "CA", "AU"}
_PIECES = word_set(
    """stk stck stück st pcs pc piece pieces pieza piezas ea each unit units
    star stars stern sterne 星 颗星 顆星 つ星 별
    件 个 個 只 枚 点 套 盒 瓶 袋 台 개 장"""
)
_MOST_STARS = 5
# Fewer numbers than this share may be slips.
_FEW = 0.02
_LOST = re.compile(r"\d(?:[.,]\d+)?[eE]\+\d+\Z|\d[.,]\d+[eE]\d{2}\Z")


@dataclass(frozen=True)
class NumberShape:
    """How numbers are written.

    Attributes:
        comma: with a decimal comma.
        point: with commas between thousands.
        bare: nothing stands around them; else a currency, a word for pieces or stars, or blanks within.
        before: what stands before them: signs of a currency, or words for pieces or stars.
        after: what stands after them.
        whole: all are whole, and bare.
        either: the one mark in them may be decimal, and as well stand between thousands.
        mark: the decimal mark, where the numbers themselves tell it.
        local: a currency of which commas are decimal stands around them.
        stars: some are written as stars, five at the most.
    """

    comma: bool = False
    point: bool = False
    bare: bool = True
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    whole: bool = False
    either: bool = False
    mark: str = ""
    local: bool = False
    stars: bool = False
    dash: bool = False

    @property
    def most(self) -> int | None:
        """The most that a rating can be where its scale is written: 5 of 4/5, and of stars."""
        scales = [int(scale[1]) for side in self.after if (scale := _SCALE.match(side))]
        return scales[0] if scales else _MOST_STARS if self.stars else None

    def read_by(self, mark: str, *, sure: bool = True) -> NumberShape:
        """The shape with this decimal mark, where the numbers themselves leave it open."""
        comma = mark == ","
        told = mark if sure else ""
        return replace(self, comma=comma, point=self.point and not comma, either=not sure, mark=told)


def number_shape(counted: Counter[str]) -> NumberShape | None:
    """How most of the texts are written as numbers; None where they are none."""
    texts = list(counted)
    parts = {text: _part(text) for text in texts}
    numbers = [text for text in texts if parts[text] is not None]
    total = sum(counted.values())
    if not texts or sum(counted[text] for text in numbers) < (total if total < FEW else total * SHARE):
        return None
    shapes = [part for text in numbers if (part := parts[text]) is not None]
    sides = {side.strip(" .") for before, _, after in shapes for side in (before, after)} - {""}
    if len(sides) > 1 and not any(sides <= signs for signs in (*_CURRENCIES, _PIECES)):
        # Sums in several currencies are no sums.
        return None
    shape = NumberShape(
        bare=all(core == text for text, (_, core, _) in zip(numbers, shapes, strict=True)),
        before=tuple(sorted({before for before, _, _ in shapes} - {""})),
        after=tuple(sorted({after for _, _, after in shapes} - {""})),
        local=any(side.strip(" .") in _LOCAL for side in sides),
        stars=any(_STARS.match(text) for text in numbers),
        dash=any(_DASH.search(text) for text in numbers),
    )
    if shape.stars and shape.most != _MOST_STARS:
        return None
    return _mark([core for _, core, _ in shapes], shape)


def _mark(cores: list[str], shape: NumberShape) -> NumberShape | None:
    """The shape with its decimal mark; None where the numbers have no common one."""
    if all(_POINT.match(core) for core in cores):
        whole = all(re.fullmatch(r"[-+]?\d+(\.0*)?", core) for core in cores)
        dotted = [core for core in cores if "." in core]
        either = _may_be_thousands(dotted)
        mark = "." if dotted and not either else ""
        return replace(shape, whole=whole and shape.bare, either=either, mark=mark)
    grouped = [core for core in cores if _GROUPED.match(core)]
    if all(_POINT.match(core) or _GROUPED.match(core) for core in cores) and (
        any("." in core for core in cores) or all("," not in c or c in grouped for c in cores)
    ):
        either = all("." not in core and core.count(",") < 2 for core in cores)
        return replace(shape, point=True, either=either, mark="" if either else ".")
    if all(_COMMA.match(core) for core in cores):
        return replace(shape, comma=True, mark=",")
    return None


def _may_be_thousands(dotted: list[str]) -> bool:
    """Whether three digits follow the point in nearly all, and no number rules thousands out."""
    other = [core for core in dotted if not _MAY_GROUP.match(core)]
    return len(other) < _FEW * len(dotted) and not any(_NO_GROUP.match(core) for core in other)


def alike(one: NumberShape, two: NumberShape) -> NumberShape | None:
    """How the numbers of two columns are written, where one way reads both; else None."""
    if one.most and two.most and one.most != two.most:
        return None
    shape = replace(
        two if one.bare else one,
        before=tuple(sorted({*one.before, *two.before})),
        after=tuple(sorted({*one.after, *two.after})),
        stars=one.stars or two.stars,
        dash=one.dash or two.dash,
    )
    local = one.local or two.local
    if one.either != two.either:
        left, told = (one, two) if one.either else (two, one)
        mark = one.mark or two.mark
        if mark:
            shape = replace(shape, point=left.point or told.point).read_by(mark)
        else:
            shape = replace(shape, comma=left.comma, point=left.point, either=True)
        return replace(shape, local=local)
    if (one.comma, one.point) != (two.comma, two.point):
        return None
    return replace(shape, mark=one.mark or two.mark, local=local)


def mark_doubt(values: list[str], shape: NumberShape) -> str:
    """How numbers are read whose mark may be decimal, and what to say otherwise."""
    value, found = next(((v, m) for v in values if (m := _OPEN.search(v))), (values[0], None))
    comma = found is not None and found[1] == ","
    name = "comma" if comma else "point"
    read = f"a decimal {name}" if comma == shape.comma else f"the {name} between thousands"
    return f'{value} is read with {read}; else say decimal: "{"." if shape.comma else ","}"'


def _part(text: str) -> tuple[str, str, str] | None:
    """What stands before a number, the number without blanks, and what stands after it."""
    text = _DASH.sub("", text)
    if _POINT.match(text) or _COMMA.match(text):
        return "", text, ""
    if _STARS.match(text):
        return "", str(text.count("★") + text.count("⭐")), ""
    found = _AROUND.match(text)
    if found is None or not any(character.isdigit() for character in found[3]):
        return None
    core = found[1] + re.sub(r"[\s'’]", "", found[3])
    after = re.sub(r"/\s", "/", found[4])
    if core[1:2] in ("+", "-") or not all(_is_unit(side) for side in (found[2], after)):
        return None
    return found[2].strip(), core, after.strip()


def value_of(text: str, shape: NumberShape) -> float | None:
    """The number that a text of a column with this shape stands for; None where it is none."""
    part = _part(text)
    plain = "" if part is None else part[1]
    plain = plain.replace(".", "").replace(",", ".") if shape.comma else plain.replace(",", "")
    try:
        return float(plain)
    except ValueError:
        return None


def no_numbers(values: list[str], shape: NumberShape) -> list[str]:
    """Those that are no numbers, or have around them what the other numbers of the shape have not."""

    def fits(value: str) -> bool:
        if (part := _part(value)) is None:
            return False
        before, core, after = part
        known = before in ("", *shape.before) and after in ("", *shape.after)
        return core == value if shape.bare else known

    return [value for value in values if not fits(value)]


def around(shape: NumberShape) -> dict[str, str]:
    """What a mapping replaces to leave the numbers: the signs that were seen at their ends, and blanks.

    Whatever else stands beside a number may multiply it, such as k.
    """
    found = {r"[\s\pZ'’]": ""}
    if shape.before:
        found[f"^([-+]?){_any_of(shape.before)}"] = r"\1"
    if shape.stars:
        found |= {"\ufe0f": "", "^☆+$": "0", "([★⭐])☆+$": r"\1"}
        found |= {f"^[★⭐]{{{number}}}$": str(number) for number in range(1, _MOST_STARS + 1)}
    if shape.after:
        found[f"{_any_of(shape.after)}$"] = ""
    if shape.dash:
        found["[.,][-–—]+$"] = ""
    return found


def signs_around(values: Sequence[str]) -> set[str]:
    """The currencies and units that stand around the numbers among texts."""
    parts = [part for value in values if (part := _part(value)) is not None]
    return {side.strip(" .") for before, _, after in parts for side in (before, after)} - {""}


def _any_of(signs: tuple[str, ...]) -> str:
    """A pattern for any of the signs without their blanks, the longest first."""
    bare = sorted({re.sub(r"\s", "", sign) for sign in signs}, key=lambda sign: (-len(sign), sign))
    either = "|".join(map(re.escape, bare))
    return f"({either})" if len(bare) > 1 else either


def _is_unit(text: str) -> bool:
    """Whether it is a currency, or a word for pieces or stars, or nothing."""
    letters = "".join(c for c in text.strip(" .\u00a0\u202f") if unicodedata.category(c) != "Sc").strip(" .")
    if _SCALE.match(letters) or letters in _CODES or letters in _SPOKEN or letters.lower() in _PIECES:
        return True
    return letters in _BESIDE_SIGN if len(letters) < len(text.strip(" .")) else not letters


def lost_digits(values: list[str]) -> int:
    """How many texts are ids of which a spreadsheet left a few digits, such as 4.00638E+12."""
    return sum(_LOST.match(value) is not None for value in values)
