"""Writes the mapping of one kind of file as YAML, with the doubts as comments."""

from __future__ import annotations

import re
from typing import Any

from kgdistill.ingest.propose.as_value import as_key, as_moment, as_number
from kgdistill.ingest.propose.events import kinds_for, types_between
from kgdistill.ingest.propose.guess import Guess, guess, has_word, is_id, used
from kgdistill.ingest.propose.numbers import lost_digits, mark_doubt, no_numbers
from kgdistill.ingest.propose.overlooked import dated_keys, unread_sums
from kgdistill.ingest.propose.paths import any_sign, other_signs, parted, parted_otherwise, separator
from kgdistill.ingest.propose.profile import ColumnProfile, Sample, narrow
from kgdistill.ingest.propose.times import doubts_of, fits
from kgdistill.ingest.propose.words import END, HANDLE
from kgdistill.ingest.propose.write_events import unheard, when, write_events
from kgdistill.ingest.propose.write_texts import write_clicks, write_texts
from kgdistill.ingest.propose.yaml_text import Pieces, comment, flow, listed, names_in, scalar, write_skeleton
from kgdistill.store.schema import Schema

_GRADES = {
    "exact": 3.0, "e": 3.0, "substitute": 2.0, "s": 2.0, "partial": 1.0, "complement": 1.0, "c": 1.0,
    "irrelevant": 0.0, "i": 0.0, "high": 2.0, "medium": 1.0, "low": 0.0, "relevant": 1.0,
    "true": 1.0, "false": 0.0,
}  # fmt: skip
# Where fewer of the first rows find what they look up, it is said.
_MOST = 0.9
# Where more of the first rows have no key, they are rows of another kind.
_FEW = 0.1
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
_CAMPAIGN_WORDS = {
    "start_at": "start starts sent begin begins beginn anfang ab from von startdate starttime startdatum "
    "startzeit",
    "end_at": f"{END} to",
    "campaign_type": "type typ art campaigntype kampagnentyp",
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
    if of_lines:
        for column in found.attributes:
            found.unsure[column.name] = "of the line, and not of the product, which another file describes"
        found.attributes = []
    if beside_products and found.named_alone:
        found.product = None
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
    head = [f"  {scalar(name)}:", f"    files: {flow(files)}", *_options(sample)]
    if not pieces.any:
        return [*head, *write_skeleton(sample, pieces.found)]
    update = _updates(pieces.found, sample) if pieces.nodes else None
    if update is not None:
        pieces.named |= names_in(update)
    lines = [*head, *_joins(pieces, sample), *_notes(pieces, sample)]
    lines += [*dated_keys(pieces, sample), *unread_sums(pieces, sample)]
    if update is not None:
        lines.append(f"    updated_at: {flow(update)}")
    for key, some in (("nodes", pieces.nodes), ("relationships", pieces.edges), ("trees", pieces.trees)):
        if some:
            lines += [f"    {key}:", *some]
    return lines


def _options(sample: Sample) -> list[str]:
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
    if options.quote != '"' and options.format in ("csv", "tsv", "recbole"):
        lines.append(f"    quote: {flow(options.quote)}")
    if sample.total is not None:
        column, text = sample.total
        told_by = {"not_in": [text]} if text else {"present": True}
        lines.append(f"    where: {flow([{'column': column, **told_by}])}")
    return lines


def _joins(pieces: Pieces, sample: Sample) -> list[str]:
    """The files that rows look up, as far as their columns are used."""
    lines: list[str] = []
    # What a later one starts from is used of a former one.
    for lookup in reversed(sample.lookups):
        if not any(name.startswith(f"{lookup.name}.") for name in pieces.named):
            continue
        pieces.named.add(lookup.here)
        doubt = ""
        if lookup.share < _MOST:
            doubt = f"  # ? {lookup.share:.0%} of the first rows find theirs, and others would be rejected"
        again = f"        # {_rows(lookup.again)} once"
        lines = [
            f"      {lookup.name}:",
            *([again] if lookup.again else []),
            f"        files: {flow(lookup.files)}",
            *(f"    {line}" for line in _options(lookup.sample)),
            f"        on: {flow({lookup.here: lookup.there})}{doubt}",
            *lines,
        ]
    return ["    join:", *lines] if lines else []


def _rows(again: int) -> str:
    if again == 1:
        return "1 row stands there again, all alike, and counts"
    return f"{again:,} rows stand there again, all alike, and count"


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
            doubts = [*_doubts(column, found), *_unread(column, found), *_absent(column, found)]
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
        doubts += _otherwise(column)
    if column.number is not None and column.number.either and _is_number(column, found):
        doubts.append(mark_doubt(column.values, column.number))
    return doubts


def _otherwise(column: ColumnProfile) -> list[str]:
    """Which values are parted by another sign than most paths, and what becomes of them."""
    mark = None if column.lists else separator(column)
    if mark is None:
        return []
    signs = other_signs(column, mark)
    doubts = []
    for sign, values in parted_otherwise(column, mark).items():
        told = f"{len(values):,} of {len(column.values):,} values, such as {values[0][:40]}, hold {sign} and"
        read = "; they are read as paths of the same tree"
        if sign not in signs:
            how = flow({any_sign([sign]): mark})
            read = f", and are one category each; as paths too: replace: {how}"
        doubts.append(f'{told} not "{mark}"{read}')
    return doubts


def _is_number(column: ColumnProfile, found: Guess) -> bool:
    return column in (found.quantity, found.amount, found.price, found.rating, found.grade)


def _absent(column: ColumnProfile, found: Guess) -> list[str]:
    """That a few rows have no key."""
    gaps = column.rows - len(column.values)
    if column not in (found.user, found.product) or column.lists or gaps > _FEW * column.rows or column.full:
        return []
    told = f"{gaps:,} of {column.rows:,} rows have none" if gaps else "some rows after the first have none"
    return [f"{told} and make nothing of it; without required: false they are rejected and listed"]


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
        hidden = {"hash": True} if found.user.personal or has_word(found.user, HANDLE) else {}
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
        _product(pieces, product, priced=sample.priced)
    if found.ad is not None:
        _ads(pieces, user, product)
    elif found.campaign is not None or found.coupon is not None:
        _campaigns(pieces, sample, taken, user, product)
    write_texts(pieces, user, product)
    acts = found.ad is None and found.coupon is None and found.question is None
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


def _product(pieces: Pieces, product: Any, *, priced: bool) -> None:
    found = pieces.found
    properties: dict[str, Any] = {
        "title": None if found.title is None or found.ad is not None else found.title.name,
        "description": None if found.about is None else found.about.name,
        "brand_text": None if found.brand is None else found.brand.name,
        "category_text": _category_text(found),
        "price": None if found.price is None or priced else as_number(found.price),
    }
    if len(found.attributes) == 1:
        properties["attributes"] = found.attributes[0].name
    elif found.attributes:
        names = [c.name for c in found.attributes]
        properties["attributes"] = {"columns": names, "separator": ", "}
    alone = found.user is None and found.query is None and found.query_id is None and found.ad is None
    if any(v is not None for v in properties.values()) or alone:
        doubts = {"price": "of one unit"} if found.user is not None else {}
        pieces.node("Product", product, properties, doubts)
    if found.brand is not None and pieces.has("Brand"):
        brand = as_key(found.brand)
        pieces.node("Brand", brand, {"name": found.brand.name})
        pieces.edge(("Product", "MADE_BY", "Brand"), product, brand, {}, stub=False)
    if found.apart is not None:
        names = as_key(found.categories[0], **parted(found.categories[0], found.apart))
        pieces.node("Category", names, {"name": names, "path": names})
        pieces.edge(("Product", "IN_CATEGORY", "Category"), product, names, {}, stub=False)
    elif found.categories and pieces.has("Category"):
        first = found.categories[0]
        mark = separator(first)
        path: Any = {"columns": [c.name for c in found.categories], "list": True}
        if first.lists:
            path = first.name
        elif mark is not None:
            path = {"column": first.name, **parted(first, mark)}
        deep = first.lists or mark is not None or len(found.categories) > 1
        rooted = deep and ("Category", "PART_OF", "Department") in pieces.schema.edges()
        pieces.tree(path, product, "Department" if rooted else "")


def _category_text(found: Guess) -> Any:
    levels = found.categories
    if not levels:
        return None
    if found.apart is not None:
        return {"column": levels[0].name, **parted(levels[0], found.apart)}
    if len(levels) > 1:
        return {"columns": [c.name for c in levels], "separator": " > "}
    mark = separator(levels[0])
    others = [] if mark is None else other_signs(levels[0], mark)
    if mark is None or (mark == " > " and not others):
        return levels[0].name
    signs = list(dict.fromkeys([mark.strip(), *others]))
    return {"column": levels[0].name, "replace": {any_sign(signs): " > "}}


def _ads(pieces: Pieces, user: Any, product: Any) -> None:
    found = pieces.found
    assert found.ad is not None
    ad = as_key(found.ad)
    pieces.node("Ad", ad, {"title": None if found.title is None else found.title.name})
    if found.campaign is not None:
        campaign = as_key(found.campaign)
        pieces.node("Campaign", campaign, {})
        pieces.edge(("Ad", "PART_OF", "Campaign"), ad, campaign, {}, stub=False)
    if product is not None:
        pieces.edge(("Ad", "FOR", "Product"), ad, product, {})
    if user is None or found.time is None:
        return
    at = {"at": as_moment(found.time)}
    if found.event is None:
        needed = when(found, "SAW")
        pieces.edge(("User", "SAW", "Ad"), user, ad, at, when=needed, doubt="seen, or clicked?")
        return
    for name in types_between(pieces.schema, "User", "Ad"):
        if kinds_for(found.event, name):
            pieces.edge(("User", name, "Ad"), user, ad, at, when=when(found, name))
    unheard(pieces, types_between(pieces.schema, "User", "Ad"))


def _is_called(column: ColumnProfile, known: str) -> bool:
    return has_word(column, known) or column.flat in known.split()


def _of_campaign(name: str, sample: Sample, taken: set[str]) -> dict[str, Any]:
    """A property of a campaign or coupon, by a column that is called so; empty where there is none."""
    some = (c for c in sample.columns if _is_called(c, _CAMPAIGN_WORDS[name]) and c.values)
    timed = name != "campaign_type"
    column = next((c for c in some if (c.time is not None) == timed), None)
    if column is None:
        return {}
    taken.add(column.name)
    return {name: as_moment(column)}


def _campaigns(pieces: Pieces, sample: Sample, taken: set[str], user: Any, product: Any) -> None:
    found = pieces.found
    at = None if found.time is None else as_moment(found.time)
    campaign = None if found.campaign is None else as_key(found.campaign)
    coupon = None if found.coupon is None else as_key(found.coupon)
    if campaign is not None:
        told: dict[str, Any] = {}
        if user is None and coupon is None and product is None:
            told["title"] = None if found.title is None else found.title.name
            # No event is made of them.
            found.unsure.pop("time", None)
            for name in _CAMPAIGN_WORDS:
                told |= _of_campaign(name, sample, taken)
        pieces.node("Campaign", campaign, told)
        if user is not None and coupon is None:
            if at is None:
                found.unsure["time"] = "who received a campaign needs the time when"
            else:
                pieces.edge(
                    ("User", "RECEIVED", "Campaign"),
                    user,
                    campaign,
                    {"at": at},
                    when=when(found, "RECEIVED"),
                )
    if coupon is None:
        return
    pieces.node("Coupon", coupon, _of_campaign("start_at", sample, taken) if user is None else {})
    if user is not None and at is not None:
        pieces.edge(("User", "REDEEMED", "Coupon"), user, coupon, {"at": at}, when=when(found, "REDEEMED"))
    if campaign is not None:
        pieces.edge(("Coupon", "PART_OF", "Campaign"), coupon, campaign, {}, stub=False)
    if product is not None and user is None:
        pieces.edge(("Coupon", "FOR", "Product"), coupon, product, {})


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
