"""Writes the mapping of one kind of file as YAML, with the doubts as comments."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from kgdistill.ingest.propose.as_value import as_key, as_moment, as_number, as_text
from kgdistill.ingest.propose.goods import holds_several
from kgdistill.ingest.propose.guess import Guess, guess, used
from kgdistill.ingest.propose.headings import has, is_id
from kgdistill.ingest.propose.numbers import lost_digits, mark_doubt, no_numbers
from kgdistill.ingest.propose.overlooked import (
    absent,
    bought_by_nobody,
    by_turns,
    dated_keys,
    described_again,
    unread_sums,
)
from kgdistill.ingest.propose.profile import ColumnProfile, Sample, narrow
from kgdistill.ingest.propose.states import unsold
from kgdistill.ingest.propose.times import doubts_of, fits
from kgdistill.ingest.propose.words import HANDLE
from kgdistill.ingest.propose.write_events import unheard, when, write_events
from kgdistill.ingest.propose.write_offers import write_ads, write_campaigns
from kgdistill.ingest.propose.write_paths import category_text, path_doubts, write_categories
from kgdistill.ingest.propose.write_texts import write_clicks, write_texts
from kgdistill.ingest.propose.yaml_text import (
    Pieces,
    comment,
    flow,
    listed,
    names_in,
    scalar,
    write_fill,
    write_skeleton,
)
from kgdistill.store.schema import Schema

_GRADES = {
    "exact": 3.0, "e": 3.0, "substitute": 2.0, "s": 2.0, "partial": 1.0, "complement": 1.0, "c": 1.0,
    "irrelevant": 0.0, "i": 0.0, "high": 2.0, "medium": 1.0, "low": 0.0, "relevant": 1.0,
    "true": 1.0, "false": 0.0,
}  # fmt: skip
# Where fewer of the first rows find what they look up, it is said.
_MOST = 0.9
_WIDE = re.compile("[０-９Ａ-Ｚａ-ｚ]")
_USER_WORDS = {
    "age": "age alter agegroup altersgruppe",
    "income": "income einkommen",
    "home_ownership": "homeownership",
    "marital_status": "maritalstatus familienstand",
    "household_size": "householdsize haushaltsgroesse",
    "household_composition": "householdcomposition householdcomp",
    "kids_count": "kidscount kids children kinder",
}


def pieces_of(
    sample: Sample,
    schema: Schema,
    shared: frozenset[str],
    *,
    beside_purchases: bool = False,
    beside_products: bool = False,
    of_lines: bool = False,
    between_products: str = "",
) -> Pieces:
    """What a kind of file is taken for.

    Args:
        sample: its first rows.
        schema: the graph's schema.
        shared: names of columns that other files have too.
        beside_purchases: purchases stand in other files, so that a rating stands for none.
        beside_products: products stand in other files, so that what has but an id and a name is none.
        between_products: what stands between keys of products where several are one value.
        of_lines: attributes are of what was bought or seen, as another file describes the products.
    """
    found = guess(sample, shared)
    for role in sample.elsewhere:
        setattr(found, role, [] if role == "categories" else None)
    if of_lines:
        for column in found.attributes:
            found.unsure[column.name] = "of the line, and not of the product, which another file describes"
        found.attributes = []
    if beside_products and found.named_alone:
        found.product = None
        del found.unsure["Product"]
    if between_products and found.product is not None:
        name, found.product = found.product.name, None
        each = flow({"column": name, "split": between_products})
        found.unsure[name] = (
            "its values hold several keys of products each, and make none; as the end of a relationship,"
            f" {each} makes one for each key"
        )
    pieces = Pieces(schema, found, beside_purchases)
    if not _canonical(pieces, sample):
        _guessed(pieces, sample, used(found))
    return pieces


def write_source(name: str, files: list[str], sample: Sample, pieces: Pieces) -> list[str]:
    """The lines of one source; where its pieces are none, a skeleton to be filled in."""
    head = [f"  {scalar(name)}:", f"    files: {flow(files)}"]
    if not pieces.any:
        return [*head, *_options(sample), *by_turns(pieces, sample), *write_skeleton(sample, pieces.found)]
    update = _updates(pieces.found, sample) if pieces.nodes else None
    if update is not None:
        pieces.named |= names_in(update)
    # A status is needed by the `where` that is offered; a coupon is redeemed once, and not by each line.
    coupon = pieces.found.coupon
    asked = {*pieces.named, *pieces.found.unsure} - ({coupon.name} if coupon is not None else set())
    lines = [*head, *_options(sample, asked), *_joins(pieces, sample), *_notes(pieces, sample)]
    lines += dated_keys(pieces, sample) or bought_by_nobody(pieces)
    lines += [*described_again(pieces, sample), *unread_sums(pieces, sample), *by_turns(pieces, sample)]
    if update is not None:
        lines.append(f"    updated_at: {flow(update)}")
    for key, some in (("nodes", pieces.nodes), ("relationships", pieces.edges), ("trees", pieces.trees)):
        if some:
            lines += [f"    {key}:", *some]
    return lines


def _options(sample: Sample, asked: Collection[str] = ()) -> list[str]:
    """How the files are written, and what of the columns that are asked for is filled down."""
    options = sample.options
    lines = [f"    # ? {comment(doubt)}" for doubt in sample.doubts]
    lines.append(f"    format: {options.format}")
    told = {
        "skip_lines": options.skip_lines or None,
        "delimiter": options.delimiter,
        "encoding": options.encoding,
        "escape": options.escape,
        "columns": None if options.columns is None else list(options.columns),
        "null_values": None if options.null_values == ("",) else list(options.null_values),
    }
    lines += [f"    {key}: {flow(value)}" for key, value in told.items() if value is not None]
    if options.each is not None:
        lines.append(
            f"    each: {flow(options.each)}  # each of its records is a row; a row without any stays"
        )
    if options.quote != '"' and options.format in ("csv", "tsv", "recbole"):
        lines.append(f"    quote: {flow(options.quote)}")
    if sample.total is not None:
        column, text = sample.total
        told_by = {"not_in": [text]} if text else {"present": True}
        lines.append(f"    where: {flow([{'column': column, **told_by}])}")
    elif sample.only is not None:
        lines.append(f"    where: {flow([{'column': sample.only[0], 'present': sample.only[1]}])}")
    return [*lines, *write_fill(sample, asked)]


def _joins(pieces: Pieces, sample: Sample) -> list[str]:
    """The files that rows look up, as far as their columns are used."""
    lines: list[str] = []
    # What a later one starts from is used of a former one.
    for lookup in reversed(sample.lookups):
        if not any(name.startswith(f"{lookup.name}.") for name in pieces.named):
            continue
        pieces.named.add(lookup.here)
        before = f"{lookup.name}."
        asked = {*pieces.named, *pieces.found.unsure}
        there = {name.removeprefix(before) for name in asked if name.startswith(before)}
        doubt = ""
        if lookup.share < _MOST:
            rest = "others would be rejected" if lookup.needed else "others make nothing of it"
            doubt = f"  # ? {lookup.share:.0%} of the first rows find theirs, and {rest}"
        again = f"        # {_rows(lookup.again)} once"
        lines = [
            f"      {lookup.name}:",
            *([again] if lookup.again else []),
            f"        files: {flow(lookup.files)}",
            *(f"    {line}" for line in _options(lookup.sample, there)),
            f"        on: {flow({lookup.here: lookup.there})}{doubt}",
            *lines,
        ]
    return ["    join:", *lines] if lines else []


def _rows(again: int) -> str:
    if again == 1:
        return "1 row stands there again, alike in what is used, and counts"
    return f"{again:,} rows stand there again, alike in what is used, and count"


def _notes(pieces: Pieces, sample: Sample) -> list[str]:
    found = pieces.found
    lines = []
    # What was recognised and found no place is not used either.
    joined = tuple(f"{lookup.name}." for lookup in sample.lookups)
    own = [c.name for c in (*sample.columns, *sample.aside) if not c.name.startswith(joined)]
    missing = [name for name in own if name not in pieces.named]
    hidden = {c.name for c in found.personal}
    personal = [name for name in missing if name in hidden]
    unused = [name for name in missing if name not in hidden]
    if unused:
        lines.append(f"    # not used: {comment(listed(unused))}")
    if personal:
        lines.append(f"    # left out, as they look personal: {comment(listed(personal))}")
        lines.append("    # (as an id, {column: …, hash: true} keeps a salted hash in place of the value)")
    if pieces.salted:
        lines.append("    # The user's id looks personal: it is hashed with the salt in KGDISTILL_SALT.")
    for role, doubt in found.unsure.items():
        lines.append(f"    # ? {role}: {comment(doubt)}")
    for column in sample.columns:
        if column.name in pieces.named:
            doubts = [*_doubts(column, found), *_unread(column, found), *absent(column, pieces)]
            lines += [f"    # ? {comment(column.name)}: {comment(doubt)}" for doubt in doubts]
    return lines


def _doubts(column: ColumnProfile, found: Guess) -> list[str]:
    """What is unsure about how a column's values are written."""
    lost = lost_digits(column.values) if column.time is None and not column.lists else 0
    doubts = []
    if lost and (is_id(column) or column.distinct < len(column.values)):
        doubts.append(
            f"{lost:,} of {len(column.values):,} values are written like {column.values[0]}:"
            " a spreadsheet lost their last digits; export them again as text"
        )
    wide = [value for value in column.values if _WIDE.search(value)]
    if wide and is_id(column):
        doubts.append(
            f"{len(wide):,} of {len(column.values):,} values hold full-width letters or digits, such as"
            f" {wide[0][:40]}; with fold: nfkc it is {narrow(wide[0])[:40]}, which may be another's id"
        )
    if column.time is not None:
        doubts += doubts_of(column.time)
    if column in found.categories:
        doubts += path_doubts(column)
    if column.number is not None and column.number.either and _is_number(column, found):
        doubts.append(mark_doubt(column.values, column.number))
    return doubts


def _is_number(column: ColumnProfile, found: Guess) -> bool:
    return column in (found.quantity, found.amount, found.price, found.rating, found.grade)


def _unread(column: ColumnProfile, found: Guess) -> list[str]:
    """The few values that are no times, or no numbers, where the others are, and times that lie ahead."""
    values = [narrow(value) for value in column.values] if column.wide else column.values
    bad: list[str] = []
    ahead: list[str] = []
    if column.time is not None and column is found.time:
        shape = column.time
        either = shape.formats if shape.other is None else (*shape.formats, shape.other)
        bad = [
            v
            for v, good in zip(values, fits(values, either, shape.unit, ahead=True), strict=True)
            if not good
        ]
        # The end of a campaign is planned; an event is not.
        if not shape.ahead or found.user is not None:
            late = fits(values, shape.formats, shape.unit, ahead=True)
            late &= ~fits(values, shape.formats, shape.unit)
            ahead = [value for value, far in zip(values, late, strict=True) if far]
    elif _is_number(column, found) and column is not found.grade:
        bad = [] if column.number is None else no_numbers(values, column.number)
    told = ((bad, "are written in another way"), (ahead, "lie ahead of today"))
    return [
        f"{len(some):,} of {len(values):,} values, such as {some[0][:40]}, {what} and would be rejected"
        for some, what in told
        if some
    ]


def _updates(found: Guess, sample: Sample) -> Any:
    """The time of the rows where products are described in them: the last description counts."""
    described = found.title is not None or (found.price is not None and not sample.priced)
    described &= any(key is not None for key in (found.product, found.ad, found.campaign))
    if found.time is None or found.user is None or not described or not found.time.full:
        return None
    return as_moment(found.time)


def _canonical(pieces: Pieces, sample: Sample) -> bool:
    """Whether a file is named and written as the graph is: Product.csv, Category-PART_OF-Department.csv."""
    stem = sample.called
    names = {c.name: c for c in sample.columns}
    label = next((n for n in pieces.schema.nodes if n.lower() == stem.lower()), None)
    if label is not None and pieces.schema.nodes[label].key in names:
        item = pieces.schema.nodes[label]
        given = {p: p for p in item.properties if p in names}
        if len(given) < len(names) - 1:
            # Somebody's own file that happens to have that name.
            return False
        pieces.node(label, item.key, given)
        return True
    edges = [e for e in pieces.schema.edges() if stem.lower() in ("-".join(e).lower(), e[1].lower())]
    if len(edges) == 1 and {"source", "target"} <= names.keys():
        wanted = [*pieces.schema.relationship(edges[0]).properties, "at", "quantity", "amount"]
        given_props: dict[str, Any] = {}
        for name in wanted:
            if name in names:
                given_props[name] = as_moment(names[name]) if names[name].time is not None else name
        pieces.edge(edges[0], "source", "target", given_props, stub=False)
        return True
    return False


def _guessed(pieces: Pieces, sample: Sample, taken: set[str]) -> None:
    found = pieces.found
    user = None
    if found.user is not None:
        hidden: dict[str, Any] = {}
        if found.user.personal or has(found.user, HANDLE):
            hidden = {"case": "lower", "hash": True} if _is_mail(found.user) else {"hash": True}
        pieces.salted = bool(hidden)
        user = as_key(found.user, **hidden)
        about: dict[str, Any] = {}
        for name, known in _USER_WORDS.items():
            column = next(
                (c for c in sample.columns if c.flat in known.split() and c.name not in taken), None
            )
            if column is not None:
                about[name] = column.name
                taken.add(column.name)
        pieces.node("User", user, about)
    product = None if found.product is None else as_key(found.product)
    if product is not None:
        _product(pieces, product, sample)
    if found.ad is not None:
        write_ads(pieces, user, product)
    elif found.campaign is not None or found.coupon is not None:
        write_campaigns(pieces, sample, taken, user, product)
    write_texts(pieces, user, product)
    sold = any(c is not None for c in (found.order, found.quantity, found.amount, found.price, found.event))
    # A coupon's code beside lines of orders is one thing more that they tell.
    acts = found.ad is None and (found.coupon is None or sold) and found.question is None
    if acts and user is not None and product is not None:
        write_events(pieces, sample, user, product)
    query: Any = None
    if found.query is not None or found.query_id is not None:
        key = found.query_id if found.query_id is not None else found.query
        assert key is not None
        query = as_key(key)
        pieces.node("Query", query, {"text": None if found.query is None else found.query.name})
        if user is not None and found.time is not None:
            ends = ("User", "SEARCHED", "Query")
            pieces.edge(ends, user, query, {"at": as_moment(found.time)}, when=when(found, "SEARCHED"))
            if found.event is not None and product is None:
                unheard(pieces, ["SEARCHED"])
        if product is not None and found.grade is not None:
            _judged(pieces, query, product, found.grade)
        elif product is not None:
            write_clicks(pieces, sample, query, product)


def _attributes(columns: list[ColumnProfile]) -> Any:
    """The attributes of a product as one text; of color=red the pair is told as others are."""
    names = [c.name for c in columns]
    value: Any = {"columns": names, "separator": ", "} if names[1:] else {"column": names[0]}
    pairs = [v for c in columns for v in c.values if re.match(r"\w+=", v)]
    if pairs and len({v.partition("=")[0] for v in pairs}) < len(pairs):
        return {**value, "replace": {r"(^|,\s*)(\w+)=": r"\1\2: "}}
    return value if names[1:] else names[0]


def _is_mail(column: ColumnProfile) -> bool:
    """Whether values are addresses of mail, which are the same in capitals."""
    return 2 * sum("@" in value for value in column.values) > len(column.values)


def _product(pieces: Pieces, product: Any, sample: Sample) -> None:
    found = pieces.found
    properties: dict[str, Any] = {
        "title": None if found.title is None or found.ad is not None else as_text(found.title),
        "description": None if found.about is None else as_text(found.about),
        "brand_text": None if found.brand is None else found.brand.name,
        "category_text": category_text(found),
        "price": None if found.price is None or sample.priced else as_number(found.price),
    }
    if found.attributes:
        properties["attributes"] = _attributes(found.attributes)
    alone = found.user is None and found.query is None and found.query_id is None and found.ad is None
    if any(v is not None for v in properties.values()) or alone:
        doubts = {"price": "of one unit"} if found.user is not None else {}
        pieces.node("Product", product, properties, doubts)
    if alone:
        found.unsure |= unsold(sample.columns)
    if found.brand is not None and pieces.has("Brand"):
        several = {"split": ","} if holds_several(found.brand) else {}
        brand = as_key(found.brand, **several)
        pieces.node("Brand", brand, {"name": brand if several else found.brand.name})
        pieces.edge(("Product", "MADE_BY", "Brand"), product, brand, {}, stub=False)
    write_categories(pieces, product)


def _judged(pieces: Pieces, query: Any, product: Any, grade: ColumnProfile) -> None:
    ends = ("Query", "JUDGED", "Product")
    if grade.number is not None:
        pieces.edge(ends, query, product, {"grade": as_number(grade)})
        return
    seen = list(dict.fromkeys(grade.values))
    known = all(v.lower() in _GRADES for v in seen)
    # In the order of the file where the words say nothing.
    values = {v: _GRADES[v.lower()] if known else float(len(seen) - 1 - i) for i, v in enumerate(seen)}
    doubt = "" if known else "which verdict is the better? the more the better"
    properties = {"grade": {"column": grade.name, "values": values}, "verdict": grade.name}
    pieces.edge(ends, query, product, properties, doubt=doubt)
