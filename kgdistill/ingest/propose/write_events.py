"""Writes what users did with products, and tells which event a row is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kgdistill.ingest.propose.as_value import as_moment, as_number
from kgdistill.ingest.propose.events import (
    CANCELLED,
    RETURNED,
    all_told,
    codes_of,
    flags_of,
    kinds_for,
    kinds_of,
    kinds_without,
    told_by,
    types_between,
)
from kgdistill.ingest.propose.guess import Guess, used
from kgdistill.ingest.propose.headings import is_id
from kgdistill.ingest.propose.lines import parts_of
from kgdistill.ingest.propose.moments import times_of
from kgdistill.ingest.propose.profile import ColumnProfile, Sample
from kgdistill.ingest.propose.states import undone
from kgdistill.ingest.propose.yaml_text import Pieces, flow, listed

# Of lines with one number so many are alike for each that is not, which somebody changed.
_SAME = 10


def write_events(pieces: Pieces, sample: Sample, user: Any, product: Any) -> None:
    """What users did with products: one relationship for each event that rows can be."""
    found = pieces.found
    if found.time is None:
        found.unsure["time"] = "no column looks like one, and without a time no events can be made"
        if found.untimed:
            found.unsure["its format"] = (
                f"of none that is known: {found.untimed}; say at: {{column: …, format: …}}"
            )
        return
    found.unsure |= undone([c for c in sample.columns if c not in (found.quantity, found.amount)])
    for part, whole in parts_of(sample.columns):
        where = flow([{"column": part.name, "present": False}])
        told = f"{len(part.values):,} of {part.rows:,} rows are of a row whose {whole.name} it holds"
        found.unsure[part.name] = f"{told}, and count beside it; to leave them out: where: {where}"
    at = {"at": as_moment(found.time)}
    comments = _once(pieces, sample)
    line = {**at, **_amounts(found)}
    rated = {**at, "rating": None if found.rating is None else as_number(found.rating)}
    given = {"BOUGHT": line, "RATED": rated}
    types = types_between(pieces.schema, "User", "Product")
    kinds: dict[str, dict[str, Any]] = {}
    dated = times_of(sample.columns, types) if found.event is None and found.rating is None else {}
    if found.event is not None:
        heard = {name: _with_product(found, kinds_for(found.event, name)) for name in types}
        kinds = {name: {"column": found.event.name, "in": some} for name, some in heard.items() if some}
        asked = [] if found.query is None and found.query_id is None else ["SEARCHED"]
        unheard(pieces, [*types, *asked])
        _name_bare(found, types)
    elif len(dated) > 1:
        _each_time(pieces, dated, (user, product), line, comments)
    elif found.rating is None:
        kinds = _told_by_rows(pieces, sample, types)
    for name, kind in kinds.items():
        doubt = f"only seen, where {kind['column']} does not say otherwise" if "not_in" in kind else ""
        some = comments if name == "BOUGHT" or sample.again.by else []
        when = [kind, *timed(found)]
        ends = ("User", name, "Product")
        pieces.edge(ends, user, product, given.get(name, at), when=when, doubt=doubt, comments=some)
    if found.event is None and not kinds and len(dated) < 2:
        _event(pieces, sample, (user, product), line, rated, comments)


def _with_product(found: Guess, kinds: Sequence[str]) -> list[str]:
    """The kinds of events but those none of whose rows has a product."""
    assert found.event is not None
    assert found.product is not None
    bare = kinds_without(found.event, found.product)
    return [kind for kind in kinds if kind not in bare]


def _name_bare(found: Guess, types: Sequence[str]) -> None:
    """Says which kinds of events make none, as no row of them has a product."""
    assert found.event is not None
    assert found.product is not None
    heard = {kind for name in types for kind in kinds_for(found.event, name)}
    bare = sorted(heard - set(_with_product(found, sorted(heard))))
    if bare:
        told = f"of {listed(bare, 10)} no row has {found.product.name}, and they make nothing"
        former = found.unsure.get("event", "")
        found.unsure["event"] = f"{former}; {told}" if former else told


def _each_time(
    pieces: Pieces,
    dated: Mapping[str, ColumnProfile],
    ends: tuple[Any, Any],
    line: Mapping[str, Any],
    comments: list[str],
) -> None:
    """Several things that happened in the life of each row, each at the time that is called so."""
    pieces.found.unsure.pop("time", None)
    for name, column in dated.items():
        there = [] if column.full else [{"column": column.name, "present": True}]
        told = {**(line if name == "BOUGHT" else {}), "at": as_moment(column)}
        # One id cannot be that of several things.
        some = comments if name == "BOUGHT" else []
        pieces.edge(("User", name, "Product"), *ends, told, when=there, comments=some)


def _once(pieces: Pieces, sample: Sample) -> list[str]:
    """How a line of several exports counts once: as it is to be, where some do, else as a comment."""
    found, more = pieces.found, sample.again
    said = f"{more.same:,} lines stand in several of the files, and count once"
    if more.by:
        pieces.named.add(more.by)
        event_id = f"event_id: {flow(more.by)}"
        if more.same or more.within:
            return [f"{event_id}  # ? {more.same + more.within:,} rows come again, all alike, and count once"]
        return [f"# ? {event_id}  (where a line may come again in another export)"]
    if found.order is None or found.product is None:
        return [f"# ? overlap: true  ({said})"] if more.same else []
    pieces.named.add(found.order.name)
    if more.within and not more.same:
        lines = "1 line has" if more.within == 1 else f"{more.within:,} lines have"
        told = f"{lines} the order and product of another, and no column is sure to tell them apart"
        return [f"# ? no event_id: {told}; what comes again in another export counts again"]
    pieces.named.update(more.more)
    line = [found.order.name, found.product.otherwise or found.product.name, *more.more]
    event_id = f"event_id: {flow({'columns': line, 'separator': ' '})}"
    # Where many differ, the numbers of the one export are other orders' in the next.
    if more.same <= _SAME * more.other:
        alike = f"; {more.within:,} that are alike in it would count once" if more.within else ""
        return [f"# ? {event_id}  (where a line may come again in another export{alike})"]
    if more.within:
        return [f"overlap: true  # ? {said}; {more.within:,} come again within one, and each counts"]
    return [f"{event_id}  # ? {said}"]


def _told_by_rows(pieces: Pieces, sample: Sample, types: Sequence[str]) -> dict[str, dict[str, Any]]:
    """By type of event the condition under which a row is one, where yes and no or codes tell it."""
    found = pieces.found
    flags = flags_of(sample.columns, types)
    if flags:
        kinds: dict[str, dict[str, Any]] = {
            name: {"column": column.name, "in": [yes]} for name, (column, yes) in flags.items()
        }
        if "VIEWED" in types and len(flags) == 1 and "VIEWED" not in flags:
            ((column, yes),) = flags.values()
            kinds["VIEWED"] = {"column": column.name, "not_in": [yes]}
        return kinds
    stem = sample.called
    told = all_told(stem, types)
    if len(told) < 2:
        return {}
    few = [c for c in sample.columns if c.name not in used(found) and _may_code(c)]
    for column in few:
        codes = codes_of(column, stem, types)
        if codes:
            shown = ", ".join(f"{code} is {name}" for name, code in codes.items())
            found.unsure[column.name] = f"told by the file's name: {shown}"
            return {name: {"column": column.name, "in": [code]} for name, code in codes.items()}
    found.unsure["event"] = (
        f"the file's name tells of {' and '.join(told)}; all rows are taken for {told[-1]}"
    )
    if few:
        when = flow([{"column": few[0].name, "in": few[0].values[:1]}])
        found.unsure["event"] += f"; where {few[0].name} tells, give each its own, such as when: {when}"
    return {}


def _may_code(column: ColumnProfile) -> bool:
    short = all(len(value) <= 20 for value in column.values)
    return column.full and 2 <= column.distinct <= 10 and column.time is None and not column.lists and short


def _event(
    pieces: Pieces,
    sample: Sample,
    ends: tuple[Any, Any],
    line: dict[str, Any],
    rated: dict[str, Any],
    comments: list[str],
) -> None:
    """The one event that all rows are, by the names of the file and its columns."""
    found = pieces.found
    kind, name = _told(pieces, sample)
    at = {"at": line["at"]}
    when = timed(found)
    if kind in (RETURNED, CANCELLED) and not name:
        if not _takes_off(found):
            found.unsure["event"] = _undone_doubt(kind, line)
            return
        name = "BOUGHT"
    if found.rating is not None and name in ("", "BOUGHT", "COMMENTED"):
        name = "RATED"
    if found.statement is not None and not name:
        name = "RATED"
    if not name and kind not in ("", "SEARCHED"):
        found.unsure["event"] = (
            f"the schema has no event such as {kind} from User to Product, and these rows make none"
        )
        return
    if name == "RATED" and found.rating is None and found.statement is not None:
        # What was said is SAID; a complaint is no purchase.
        found.unsure["event"] = "a review without a rating in numbers makes neither RATED nor BOUGHT"
        return
    if name == "RATED":
        pieces.edge(("User", "RATED", "Product"), *ends, rated, when=when, comments=comments)
        pieces.rates_alone = True
        if pieces.beside_purchases:
            found.unsure["event"] = "a rating makes no purchase here, as other files hold purchases"
            return
        doubt = "a rating stands for a purchase"
        pieces.edge(("User", "BOUGHT", "Product"), *ends, at, when=when, doubt=doubt)
        return
    doubt = "" if name or not {"quantity", "amount"}.isdisjoint(line) else "bought, or only seen?"
    seen = len(line) == 1 and (found.query is not None or kind)
    name = name or ("VIEWED" if seen else "BOUGHT")
    given = line if name == "BOUGHT" else at
    pieces.edge(("User", name, "Product"), *ends, given, when=when, doubt=doubt, comments=comments)


def _takes_off(found: Guess) -> bool:
    """Whether returns are written as purchases of negative quantities, as they count."""
    return found.quantity is not None and any(value.startswith(("-", "−")) for value in found.quantity.values)


def _undone_doubt(kind: str, line: dict[str, Any]) -> str:
    """Why what was undone makes nothing, and with which quantity and amount it takes off what it undoes."""
    given = {"quantity": {"constant": 1}, **line}
    less = {name: {"multiply": [given[name], {"constant": -1}]} for name in given if name != "at"}
    if kind == CANCELLED:
        return (
            "the name says that these orders came to nothing, and they make none; where other files hold them"
            f" as purchases, make these BOUGHT with {flow(less)} to take them off"
        )
    return (
        "the name says that these rows are returns, and they make none, as each would count as one more"
        f" purchase; to count them as returns, make them BOUGHT with {flow(less)}"
    )


def _told(pieces: Pieces, sample: Sample) -> tuple[str, str]:
    """What happened by the file's name, else by that of its time, else by that of an id beside them."""
    found = pieces.found
    types = types_between(pieces.schema, "User", "Product")
    columns = [found.time]
    if found.order is None and found.quantity is None and found.amount is None:
        columns += [column for column in sample.columns if is_id(column) and column.full]
    names = [sample.called, *(c.name for c in columns if c is not None)]
    return next((told for told in (told_by(name, types) for name in names) if told[0]), ("", ""))


def _amounts(found: Guess) -> dict[str, Any]:
    """Quantity and amount of a purchase, as far as there are any."""
    line: dict[str, Any] = {}
    if found.quantity is not None:
        line["quantity"] = as_number(found.quantity)
    if found.amount is not None:
        line["amount"] = as_number(found.amount)
    elif found.price is not None and found.quantity is not None:
        line["amount"] = {"multiply": [as_number(found.quantity), as_number(found.price)]}
    elif found.price is not None:
        line["amount"] = as_number(found.price)
    return line


def unheard(pieces: Pieces, types: Sequence[str]) -> None:
    """Says which kinds of events, and which rows, make none of these types."""
    event = pieces.found.event
    assert event is not None
    heard = {kind for name in types for kind in kinds_for(event, name)}
    other = sorted(set(kinds_of(event)) - heard)
    if not event.full:
        _without(pieces.found, event)
    if other:
        count = sum(value in other for value in event.values)
        share = f"{count:,} of the first {event.rows:,} rows ({count / max(event.rows, 1):.0%})"
        pieces.found.unsure["event"] = f"these kinds make nothing: {listed(other, 10)}; {share}"


def when(found: Guess, name: str) -> list[Any]:
    """What must hold of a row to make an event of this type: its kind, and a time where not all have one."""
    event = found.event
    kind = [] if event is None else [{"column": event.name, "in": kinds_for(event, name) or [name]}]
    return [*kind, *timed(found)]


def timed(found: Guess) -> list[Any]:
    """That a row has a time, where not all have one."""
    if found.time is None or found.time.full:
        return []
    _without(found, found.time)
    return [{"column": found.time.name, "present": True}]


def _without(found: Guess, column: ColumnProfile) -> None:
    """Says that rows make no event, as they lack a column, and how many."""
    told = f"those without {column.name} make no event: {column.lacking}"
    former = found.unsure.get("rows", told)
    found.unsure["rows"] = former if told in former else f"{former}; {told}"
