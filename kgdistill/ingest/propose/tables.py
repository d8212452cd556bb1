"""Finds what the rows of one file look up in others: who bought and when, and what ids are called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.ingest.mapping.cast import key_text
from kgdistill.ingest.mapping.compile_values import ValueCompiler
from kgdistill.ingest.mapping.model import Value
from kgdistill.ingest.mapping.values import Evaluator
from kgdistill.ingest.propose.again import come_again, is_of_one
from kgdistill.ingest.propose.agree import ROLES, agreed, is_table, key_of
from kgdistill.ingest.propose.as_value import as_number
from kgdistill.ingest.propose.events import UNDONE, normal
from kgdistill.ingest.propose.guess import Guess, guess
from kgdistill.ingest.propose.headings import bare, has, has_word, is_id
from kgdistill.ingest.propose.ids import SALE, may_number_orders
from kgdistill.ingest.propose.lookups import Made, TableLink, short_name
from kgdistill.ingest.propose.profile import ColumnProfile, Lookup, Sample
from kgdistill.ingest.propose.ties import SURE, marked, named_for, ties
from kgdistill.ingest.propose.words import BRAND, CATEGORY, ID, TITLE, USER, word_set
from kgdistill.ingest.propose.yaml_text import listed
from kgdistill.ingest.readers import Source, read_batches
from kgdistill.moment import naive_utc

# Fewer of the first rows find a partner by chance.
_SOME = 0.05
# Where fewer of the first rows find what describes their products, it is said.
_MOST = 0.9
# Before all others in the choice of a key.
_CHOSEN = 2.0
_APART = "names products by {} of {}, which rows of several keys share there: none is found"
_TOLD = ("title", "about", "brand", "categories", "price")
_PERSON = word_set(f"{USER} {ID} unique true real global master person")


_PARENT = word_set(
    """parent parents eltern ober oberkategorie uebergeordnet uebergeordnete padre superior pere superieur
    parente ouder bovenliggend rodzic nadrzedna 父 父级 上级 上級 親 상위"""
)
# Trees of more levels are cut at the top.
_DEEPEST = 5


def with_lookups(
    groups: Sequence[tuple[list[str], Sample]], root: Path, shared: frozenset[str]
) -> tuple[list[Sample], set[int], set[int]]:
    """The samples with the columns of other files that their rows look up.

    Args:
        groups: by kind of file the names below `root`, and the first rows.
        root: the folder of the files.
        shared: names of columns that several have.

    Returns:
        A sample for each group, the groups of which others look up all that tells of events, and those of
        which they look up names.
    """
    tables = _Tables(groups, root, shared)
    samples = [tables.looked_up(place) for place in range(len(groups))]
    return samples, tables.spent, tables.named


class _Tables:
    def __init__(
        self, groups: Sequence[tuple[list[str], Sample]], root: Path, shared: frozenset[str]
    ) -> None:
        self._root, self._ties = root, ties(groups, root)
        first = [guess(taken, shared) for _, taken in groups]
        self._groups = [
            (files, self._with_orders(files, taken, found))
            for (files, taken), found in zip(marked(groups, first, self._ties), first, strict=True)
        ]
        self._guesses = [guess(taken, shared) for _, taken in self._groups]
        self._read: dict[tuple[str, ...], pa.Array | None] = {}
        self._unlike: dict[int, str] = {}
        self._again: dict[tuple[str, ...], int] = {}
        self._unpriced: set[int] = set()
        self.spent: set[int] = set()
        self.named: set[int] = set()
        self._agreed = agreed(self._guesses, self._ties, self._unique)
        for (place, _), name in self._agreed.keys.items():
            files, taken = self._groups[place]
            columns = [replace(c, tied=_CHOSEN) if c.name == name else c for c in taken.columns]
            self._groups[place] = (files, replace(taken, columns=columns))
            self._guesses[place] = guess(self._groups[place][1], shared)

    def _unique(self, place: int, name: str) -> bool:
        return self._keys(place, self._groups[place][0], name) is not None

    def _with_orders(self, files: list[str], taken: Sample, found: Guess) -> Sample:
        """A sample that says which column numbers orders: its values come again with one user and time."""
        beside = [c.name for c in (found.user, found.time) if c is not None]
        some = [c for c in taken.columns if c.name not in beside and may_number_orders(c)]
        if found.order is not None or found.product is None or len(beside) < 2:
            return taken
        for column in some:
            if is_of_one(files, taken, self._root, column.name, beside):
                columns = [replace(c, means="order") if c is column else c for c in taken.columns]
                return replace(taken, columns=columns)
        return taken

    def looked_up(self, place: int) -> Sample:
        """A group's sample with the columns that its rows look up."""
        taken, found = self._groups[place][1], self._guesses[place]
        made = Made(list(taken.columns))
        for role in ROLES:
            self._find_key(made, place, role)
        if found.product is None or "Product" in found.unsure:
            key = found.user
            if key is not None and self._person(place, key.name) is not None:
                # What tells accounts or orders apart are no people.
                made.put_aside([key])
            return made.sample(taken)
        user, holder, before = found.user, place, ""
        untold: list[str] = []
        if head := self._head(place, found):
            other = self._guesses[head.to]
            if other.product is None or "Product" in other.unsure:
                self.spent.add(head.to)
            name = self._look_up(made, head)
            times = [c for c in taken.columns if c.time is not None]
            if other.time is not None and (has(head.here, SALE) or not times):
                # When the order was placed, whatever else its lines say.
                made.put_aside(times)
                made.add(name, self._whole(head, other.time))
            if user is None:
                user, holder, before = other.user, head.to, name
                made.add(name, self._whole(head, user))
            untold = self._add_states(made, place, head, name)
        elif user is None and place in self._unlike:
            untold = [self._unlike[place]]
        for link in self._links(holder, user) if user is not None else ():
            person = self._person(link.to, link.there)
            if user is not None and person is not None:
                made.columns = [c for c in made.columns if c.name != before + user.name]
                made.add(self._look_up(made, link, before), self._whole(link, person))
                break
        self._add_names(made, place)
        priced, doubts = self._priced(place, found)
        told, more = self._told_elsewhere(place, found)
        if tie := self._agreed.apart.get(place):
            doubts = [*doubts, f"{tie.here}: {_APART.format(tie.there, self._groups[tie.to][0][0])}"]
        return replace(
            made.sample(taken),
            priced=priced or "price" in told,
            elsewhere=tuple(role for role in told if role != "price"),
            again=come_again(*self._groups[place], self._root, found),
            doubts=(*taken.doubts, *doubts, *more, *untold),
        )

    def _find_key(self, made: Made, place: int, role: str) -> None:
        """Puts the key of another table in the place of what a file knows a product or user by."""
        own = key_of(self._guesses[place], role)
        tie, key = self._agreed.joins.get((place, role), (None, ""))
        if own is None or tie is None:
            return
        here = replace(own, words=(role, "id"))
        link = TableLink(here, tie.to, tie.there, tuple(self._groups[tie.to][0]), tie.share)
        there = next(c for c in self._groups[tie.to][1].columns if c.name == key)
        made.put_aside([own])
        name = self._look_up(made, link) + key
        joined = replace(here, name=name, personal=there.personal)
        # What is sold no more is known by that alone; people may be hashed here, and not there.
        other = {"otherwise": own.name} if role == "product" else {"gaps": True}
        made.columns.append(replace(joined, **other))

    def _told_elsewhere(self, place: int, found: Guess) -> tuple[list[str], list[str]]:
        """What a table of products says of those of lines too, and a doubt where it lacks many."""
        own = found.product
        if own is None or (found.user is None and found.order is None):
            return [], []
        for tie in sorted(self._ties[place], key=lambda tie: -tie.share):
            other = self._guesses[tie.to]
            # With fewer of them it would leave most without what is said of them here.
            if tie.share < SURE or tie.here != own.name or not is_table(other, "product"):
                continue
            told = [role for role in _TOLD if getattr(other, role) and getattr(found, role)]
            names = ", ".join(getattr(found, role).name for role in told if role != "categories")
            doubt = (
                f"{listed(self._groups[tie.to][0], 3)} describes the products, and has {tie.share:.0%} of"
                f" those of the first rows: others get nothing by {names}"
            )
            return told, [doubt] if told and tie.share < _MOST else []
        return [], []

    def _priced(self, place: int, found: Guess) -> tuple[bool, list[str]]:
        """Whether the price of a product stands in another table of products, and what is in doubt then.

        Of tables of products the first counts, and others that agree with it.
        """
        if found.price is None or found.product is None:
            return False, []
        links = [
            link
            for link in self._links(place, found.product)
            if (other := self._guesses[link.to]).price and other.product and other.product.name == link.there
        ]
        if not _describes(found):
            return bool(links), []
        for link in links:
            if link.to > place or link.to in self._unpriced or not _describes(self._guesses[link.to]):
                continue
            first, own = self._prices(link.to), self._prices(place)
            both = [key for key in own if key in first]
            differ = sum(own[key] != first[key] for key in both)
            if differ:
                name, lost = found.price.name, len(own) - len(both)
                self._unpriced.add(place)
                none = f" of those that have none there {lost:,} get none from here;" if lost else ""
                return True, [
                    f"{name}: {differ:,} of {len(both):,} products have another price in"
                    f" {listed(list(link.files), 3)}, which counts;{none} to take this one in its place,"
                    f" write price: {name} here and not there"
                ]
        return False, []

    def _prices(self, place: int) -> dict[str, float]:
        """The price of each product in a table of products, where it has one."""
        files, found = self._groups[place][0], self._guesses[place]
        assert found.product is not None
        assert found.price is not None
        value = Value.model_validate(as_number(found.price))
        now = naive_utc(datetime.now(timezone.utc))
        plan = ValueCompiler("UTC", None, now).cell("price", value, "double", "price", required=False).plan
        prices: dict[str, float] = {}
        for table in self._tables(place, files, [found.product.name, found.price.name]):
            evaluator = Evaluator(table, files[0], None)
            keys = evaluator.text(found.product.name, is_key=True).to_pylist()
            amounts = evaluator.column(plan).values.to_pylist()
            prices |= {key: amount for key, amount in zip(keys, amounts, strict=True) if amount is not None}
        return prices

    def _head(self, place: int, found: Guess) -> TableLink | None:
        """Where it stands who did something with a product, or when its order was, if not in the row."""
        columns = [c for c in self._groups[place][1].columns if c is not found.product]
        if found.user is not None:
            columns = [found.order] if found.order is not None and found.time is None else []
        links = [link for c in columns for link in self._links(place, c, by_values=True)]
        told = [(link, self._guesses[link.to]) for link in links]
        links = [link for link, g in told if (g.user if found.user is None else g.time) is not None]
        return max(
            links, key=lambda link: (self._guesses[link.to].time is not None, link.share), default=None
        )

    def _add_states(self, made: Made, place: int, head: TableLink, name: str) -> list[str]:
        """Adds what became of an order, and tells where its rows say several things."""
        untold = []
        for column in _states(self._groups[head.to][1]):
            both = (*self._wanted(head.to), column.name)
            if self._keys(head.to, head.files, head.there, both) is not None:
                made.add(name, column)
                continue
            if _states(self._groups[place][1]):
                # The lines say it themselves.
                continue
            unlike = len(self._differ(head.to, head.files, head.there, both, every=True))
            untold.append(
                f"{column.name} in {listed(list(head.files), 3)} is not looked up: {unlike:,} values of"
                f" {head.there} stand there again with another, and nothing tells which is the latest"
            )
        return untold

    def _wanted(self, place: int) -> tuple[str, ...]:
        """What lines look up in a table of orders."""
        found = self._guesses[place]
        return tuple(column.name for column in (found.user, found.time) if column is not None)

    def _person(self, place: int, key: str) -> ColumnProfile | None:
        """A column that tells who is behind the keys of a table, where some have several."""
        files, taken = self._groups[place]
        columns = taken.columns
        keys = next(len(column.values) for column in columns if column.name == key)
        for column in columns:
            named = column.name != key and has(column, USER) and set(column.words) <= _PERSON
            whole = named and is_id(column) and len(column.values) == keys and column.distinct > 1
            if whole and self._keys(place, files, key) and not self._keys(place, files, column.name):
                return column
        return None

    def _add_names(self, made: Made, place: int) -> None:
        """What the ids of brands and categories are called, in their place."""
        for column in [c for c in made.columns if is_id(c) and has(c, f"{BRAND} {CATEGORY}")]:
            for link in self._links(place, column):
                named = _name_of(self._groups[link.to][1], link.there)
                if named is None:
                    continue
                other = self._guesses[link.to].product
                # With a name, what is just called an id looks like a product's.
                (self.spent if other is not None and other.name == link.there else self.named).add(link.to)
                made.columns.remove(column)
                made.aside.append(column)
                # A company's name is that of a supplier, as the id is a supplier's.
                told = (*(word for word in column.words if word not in ID.split()), "name")
                # A product without a brand, or with one that is not there, is still a product.
                gaps = named.gaps or not column.full or link.share < 1
                above, depth = self._above(link) if has(column, CATEGORY) else (None, 1)
                before, named = self._look_up(made, link, needed=False), replace(named, gaps=gaps)
                for level in range(depth, 0, -1):
                    # Of a tree the number says at which height a name stands.
                    called = told if depth == 1 else (*told, str(level))
                    made.add(before, replace(named, words=called, gaps=gaps or level < depth))
                    if above is not None and level > 1:
                        up = replace(link, here=above, share=1.0)
                        before = self._look_up(made, up, before, needed=False)
                break

    def _above(self, link: TableLink) -> tuple[ColumnProfile | None, int]:
        """The column by which rows of a table name the one that they are below, and how deep that goes."""
        keys = self._keys(link.to, link.files, link.there)
        own = set() if keys is None else set(keys.to_pylist())
        for column in self._groups[link.to][1].columns:
            if column.name == link.there or not _PARENT & set(column.words):
                continue
            above: dict[str, str] = {}
            for table in self._tables(link.to, link.files, [link.there, column.name]):
                evaluator = Evaluator(table, link.files[0], None)
                ids, up = (
                    evaluator.text(name, is_key=True).to_pylist() for name in (link.there, column.name)
                )
                above |= {key: of for key, of in zip(ids, up, strict=True) if of in own}
            depth = max((_height(key, above) for key in above), default=1)
            if 1 < depth <= _DEEPEST:
                return column, depth
        return None, 1

    def _look_up(self, made: Made, link: TableLink, before: str = "", *, needed: bool = True) -> str:
        """Adds a lookup; returns what stands before its columns."""
        taken, used = self._groups[link.to][1], {lookup.name for lookup in made.lookups}
        name = short_name(link, used)
        again = self._again.get((link.there, *link.files), 0)
        here, there = before + link.here.name, link.there
        made.lookups.append(Lookup(name, [*link.files], taken, here, there, link.share, again, needed))
        return f"{name}."

    def _links(self, place: int, column: ColumnProfile, *, by_values: bool = False) -> Iterator[TableLink]:
        """The other groups that have a row for each value of a column, the surest first.

        The headings tell which column there is asked; with `by_values` the values do too.
        """
        if not (is_id(column) or column.flat in f"{USER} {SALE}".split()) or not column.values:
            return
        values = key_text(pa.array(column.values, pa.string()))
        found = []
        tied = {(tie.to, tie.there) for tie in self._ties[place] if by_values and tie.here == column.name}
        for to, (names, taken) in enumerate(self._groups):
            # Brands and categories may be written alike.
            for there in taken.columns if to != place and taken.total is None else ():
                files = [file for file in names if (to, there.name) in tied or _is_key(there, column, file)]
                used = self._wanted(to) if by_values else ()
                keys = self._keys(to, files, there.name, used) if files else None
                if used and files and keys is None and column is self._guesses[place].order:
                    self._tell_unlike(place, to, files, there.name)
                share = 0.0 if keys is None else pc.mean(pc.is_in(values, value_set=keys)).as_py()
                if share >= _SOME:
                    found.append(TableLink(column, to, there.name, tuple(files), share))
        yield from sorted(found, key=lambda link: -link.share)

    def _tell_unlike(self, place: int, to: int, files: Sequence[str], name: str) -> None:
        """Notes why the orders of lines are not looked up: of one there are several that differ."""
        other = self._guesses[to]
        if other.user is None or (other.product is not None and "Product" not in other.unsure):
            return
        unlike = self._differ(to, files, name, self._wanted(to), every=True)
        self._unlike[place] = (
            f"{listed(files, 3)} would tell who bought, and is not looked up: {len(unlike):,} values of"
            f" {name}, such as {unlike[0]}, stand there again with another {' or '.join(self._wanted(to))}"
        )

    def _whole(self, link: TableLink, column: ColumnProfile | None) -> ColumnProfile | None:
        """A column there, as one without gaps where each row with a key has a value."""
        if column is None or column.full:
            return column
        for table in self._tables(link.to, link.files, [link.there, column.name]):
            keys, values = table[link.there], table[column.name]
            if pc.any(pc.and_(pc.is_valid(keys), pc.is_null(values))).as_py():
                return column
        return replace(column, rows=len(column.values), gaps=False)

    def _tables(self, place: int, files: Sequence[str], names: Sequence[str]) -> Iterator[pa.Table]:
        """Columns of files of a group, in parts."""
        for file in files:
            source = Source(file, self._root / file, None, self._groups[place][1].options)
            for batch in read_batches(source, names):
                yield batch.table

    def _keys(
        self, place: int, files: Sequence[str], name: str, used: tuple[str, ...] = ()
    ) -> pa.Array | None:
        """All values of a column in files of a group, where none is that of rows that differ in what is used.

        That is in any column, where nothing is said.
        """
        key = (name, *used, "", *files)
        column = next(c for c in self._groups[place][1].columns if c.name == name)
        again = key not in self._read and column.distinct < len(column.values)
        # Most tables of lines are left after their first rows.
        if again and self._differ(place, files, name, used):
            self._read[key] = None
        if key not in self._read:
            tables = self._tables(place, files, [name])
            parts = [Evaluator(table, files[0], None).text(name, is_key=True).drop_null() for table in tables]
            keys = pa.concat_arrays(parts) if parts else pa.array([], pa.string())
            counted = pc.value_counts(keys)
            several = counted.field("values").filter(pc.greater(counted.field("counts"), 1))
            self._again[(name, *files)] = len(keys) - len(counted)
            one = not len(several) or not self._differ(place, files, name, used, several)
            self._read[key] = counted.field("values") if one and len(keys) else None
        return self._read[key]

    def _differ(
        self,
        place: int,
        files: Sequence[str],
        name: str,
        used: tuple[str, ...],
        keys: pa.Array | None = None,
        *,
        every: bool = False,
    ) -> list[str]:
        """A key whose rows differ in what is used, or every one; without keys, of the first rows."""
        seen: dict[str, str] = {}
        unlike: dict[str, None] = {}
        names = [*dict.fromkeys((name, *used))] if used else [c.name for c in self._groups[place][1].columns]
        for table in self._tables(place, files, names):
            found = Evaluator(table, files[0], None).text(name, is_key=True)
            asked = pc.is_valid(found) if keys is None else pc.is_in(found, value_set=keys)
            table, found = table.filter(asked), found.filter(asked)
            rows = zip(*(part.to_pylist() for part in table.columns), strict=True)
            for key, row in zip(found.to_pylist(), rows, strict=True):
                if seen.setdefault(key, repr(row)) != repr(row):
                    unlike[key] = None
                    if not every:
                        return [key]
            if keys is None and not every:
                break
        return [*unlike]


def _describes(found: Guess) -> bool:
    """Whether a table with a price is one of products, and none of what somebody bought."""
    return found.price is not None and found.user is None and found.order is None and found.quantity is None


def _is_key(there: ColumnProfile, here: ColumnProfile, file: str) -> bool:
    """Whether a column is called as one that names it: order_id in both, or order_id and the id in orders."""
    if there.flat == here.flat:
        # Each table counts its own rows in what is just called id.
        return not bare(there)
    return bare(there) and len(here.words) > 1 and bool(named_for(file, here))


def _height(key: str, above: Mapping[str, str]) -> int:
    """How many things stand above each other from one to the top, itself among them.

    Where one is below itself, or they are too many, more than `_DEEPEST`: joins would go round in circles.
    """
    height = 1
    while (up := above.get(key)) is not None and height <= _DEEPEST:
        key, height = up, height + 1
    return height


def _states(taken: Sample) -> list[ColumnProfile]:
    """The columns that say what became of an order."""
    return [
        c for c in taken.columns if has_word(c, "status state") and any(normal(v) in UNDONE for v in c.values)
    ]


def _name_of(taken: Sample, key: str) -> ColumnProfile | None:
    """What the things of a table are called: its one other column, or the first that says so."""
    texts = [c for c in taken.columns if c.name != key and c.number is None and c.time is None and c.full]
    named = [c for c in texts if has(c, TITLE) and not has_word(c, "contact")]
    return next(iter(named), texts[0] if len(taken.columns) == 2 and texts else None)
