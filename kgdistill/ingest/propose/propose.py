"""Proposes a mapping for files, and shows what a mapping would write."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from kgdistill.errors import InputError
from kgdistill.ingest.garbled import TextCheck
from kgdistill.ingest.idle import IdlePiece, Part, eventless_rows, idle_pieces
from kgdistill.ingest.job import joins_of, sources_of
from kgdistill.ingest.joins import Joins
from kgdistill.ingest.mapping.load import Mapping
from kgdistill.ingest.mapping.mapper import map_batch
from kgdistill.ingest.model import REJECT_SCHEMA, Notice, TypeKey, joined_notices
from kgdistill.ingest.propose.each import samples
from kgdistill.ingest.propose.eastern import HAN, HANGUL, KANA
from kgdistill.ingest.propose.events import told_by, types_between
from kgdistill.ingest.propose.guess import Guess
from kgdistill.ingest.propose.headings import bare
from kgdistill.ingest.propose.marks import with_marks
from kgdistill.ingest.propose.merge import merged, with_heads
from kgdistill.ingest.propose.overlooked import KEYS_ALONE
from kgdistill.ingest.propose.profile import SAMPLE, ColumnProfile, Sample
from kgdistill.ingest.propose.tables import with_lookups
from kgdistill.ingest.propose.words import words
from kgdistill.ingest.propose.write import pieces_of, write_source
from kgdistill.ingest.propose.yaml_text import Pieces, listed, scalar
from kgdistill.ingest.readers import encodings_of, read_batches
from kgdistill.ingest.readers.detect import known_encoding
from kgdistill.store.schema import Schema

__all__ = ["NothingFitsError", "Preview", "files_of_keys", "idle_files", "preview", "propose"]

# Of the ids in lines, those that a table of products has: of numbers, and of others.
_MOST, _SOME = 0.9, 0.05
_DESCRIBED = ("title", "about", "brand", "categories", "price")
_BETWEEN = ("|", ";", ",", "/", " ")


@dataclass
class Preview:
    """What a mapping would write, as far as it was read.

    Attributes:
        counts: by type: distinct nodes and facts; of other relationships the rows, each event one.
        examples: the first rows of each type, without the columns that only jobs need.
        rejects: the first rows that do not fit (source, line, row_group, column, value, reason).
        rows, skipped, rejected: input rows read, those that make nothing, those that do not fit.
        eventless: by source that makes events, the rows that fit and make none.
        idle: pieces of the mapping that make nothing.
        whole: every source was read to its end.
        notices: what is odd about rows that would be accepted.
        encodings: of the sources that are no UTF-8.
    """

    counts: dict[TypeKey, int] = field(default_factory=dict)
    examples: dict[TypeKey, pa.Table] = field(default_factory=dict)
    rejects: pa.Table = field(default_factory=REJECT_SCHEMA.empty_table)
    rows: int = 0
    skipped: int = 0
    rejected: int = 0
    eventless: dict[str, int] = field(default_factory=dict)
    idle: list[IdlePiece] = field(default_factory=list)
    whole: bool = True
    notices: tuple[Notice, ...] = ()
    encodings: dict[str, str] = field(default_factory=dict)


class NothingFitsError(InputError):
    """Nothing in the files looks like an id; `skeleton` is a mapping to be filled in by hand."""

    def __init__(self, message: str, *, where: str = "", hint: str = "", skeleton: str = "") -> None:
        super().__init__(message, where=where, hint=hint)
        self.skeleton = skeleton


def propose(files: Sequence[Path], schema: Schema, encoding: str | None = None) -> str:
    """A commented mapping for these files, guessed from their names and first 1,000 rows each.

    Files with the same columns, written alike, become one source. The data root of the mapping is the
    folder that all files are in. Doubtful guesses carry a comment that starts with `# ?`.

    Args:
        files: to be mapped.
        schema: the graph's schema.
        encoding: of the text files, where it is known; else it is told by their bytes.

    Raises:
        NothingFitsError: nothing in any of them looks like an id; it holds a skeleton.
        InputError: no file is given, or one cannot be read.
    """
    if not files:
        raise InputError("no file was given", hint="name the files to be mapped")
    if encoding is not None:
        known_encoding(encoding)
    paths = list(dict.fromkeys(Path(os.path.abspath(file)) for file in files))
    root = Path(os.path.commonpath([path.parent for path in paths]))
    types = types_between(schema, "User", "Product")
    groups = _grouped(paths, root, encoding, types)
    headers = Counter(c.name for _, taken in groups for c in taken.columns)
    shared = frozenset(name for name, times in headers.items() if times > 1)
    used: set[str] = set()
    samples, spent, named = with_lookups(groups, root, shared)
    pieces = _pieces(samples, schema, shared)
    # Others look up all that there is in these.
    idle = spent | {place for place in named if not pieces[place].any}
    some = any(made.any for made in pieces)
    head = [
        f"# A proposal, guessed from the names and the first {SAMPLE:,} rows of each file. See every line",
        "# that says `# ?`, then try it without writing anything: kgdistill ingest … --dry-run",
        "version: 1",
        f"name: {scalar(_name(root.name.split('.')[0], set()))}",
        f"time_zone: UTC  # ? of times that do not say their own, such as {_zone(''.join(headers))}",
        "sources:",
    ]
    for place, (names, _) in enumerate(groups):
        taken, made = samples[place], pieces[place]
        if place in idle:
            continue
        lines = write_source(_name(taken.called, used), names, taken, made)
        # A source that makes nothing would be refused.
        head += lines if made.any or not some else [f"  #{line[1:]}" for line in lines]
    text = "\n".join(head) + "\n"
    if some:
        return text
    if any(taken.rows for _, taken in groups):
        told = "nothing looks like the id of a user, product, query or ad, or like a review or a question"
        where = (f"{names[0]}: {listed([c.name for c in t.columns], 20)}" for names, t in groups)
        hint = "fill in the skeleton by hand, or give the columns names such as customer_id and product_id"
        raise NothingFitsError(told, where="; ".join(where), hint=hint, skeleton=text)
    told = "there are no rows below the header, and by those it is told what a column holds"
    where = (names[0] for names, _ in groups)
    hint = "export the files with rows in them, or fill in the skeleton by hand"
    raise NothingFitsError(told, where=", ".join(where), hint=hint, skeleton=text)


def idle_files(files: Sequence[Path], sources: AnyMapping[str, AnyMapping[str, Any]]) -> list[str]:
    """Those of the files that no source of their proposal reads or looks up."""
    paths = [Path(os.path.abspath(file)) for file in files]
    root = Path(os.path.commonpath([path.parent for path in paths]))
    reading = [item for one in sources.values() for item in (one, *one.get("join", {}).values())]
    read = {name for item in reading for name in item["files"]}
    names = (path.relative_to(root).as_posix() for path in paths)
    return [name for name in dict.fromkeys(names) if name not in read]


def files_of_keys(text: str, sources: AnyMapping[str, AnyMapping[str, Any]]) -> list[str]:
    """The files of a proposal whose rows have a time and make nothing but keys."""
    parts = re.split(r"(?m)^  (?=[^ #])", text)[1:]
    chosen = (one for one, part in zip(sources.values(), parts, strict=True) if f"# ? {KEYS_ALONE}," in part)
    return [name for one in chosen for name in one["files"]]


def _pieces(samples: list[Sample], schema: Schema, shared: frozenset[str]) -> list[Pieces]:
    """What each kind of file is taken for."""
    pieces = [pieces_of(taken, schema, shared) for taken in samples]
    marks = [_between_keys(made, pieces) for made in pieces]
    pieces = [
        pieces_of(taken, schema, shared, between_products=mark) if mark else made
        for made, mark, taken in zip(pieces, marks, samples, strict=True)
    ]
    if any(made.buys for made in pieces):
        pieces = [
            pieces_of(taken, schema, shared, beside_purchases=True) if made.rates_alone else made
            for made, taken in zip(pieces, samples, strict=True)
        ]
    logs = [made for made in pieces if made.buys and made.found.event is not None]
    if len(logs) < sum(made.buys for made in pieces):
        for made in logs:
            made.found.unsure["BOUGHT"] = "other files hold purchases too; those of both would count twice"
    if any(_describes(made.found) for made in pieces):
        pieces = [
            pieces_of(taken, schema, shared, beside_purchases=made.beside_purchases, of_lines=True)
            if made.found.product and made.found.attributes and _of_events(made.found)
            else made
            for made, taken in zip(pieces, samples, strict=True)
        ]
    sure = [made.found for made in pieces if made.found.product and not made.found.named_alone]
    catalogue = any(found.user is None and (found.title or found.price or found.brand) for found in sure)
    out = []
    for made, taken in zip(pieces, samples, strict=True):
        if made.found.named_alone and any(_names(found.product, made.found.product) for found in sure):
            del made.found.unsure["Product"]
        elif made.found.named_alone and catalogue:
            made = pieces_of(taken, schema, shared, beside_products=True)
        out.append(made)
    return out


def _of_events(found: Guess) -> bool:
    """Whether the rows of a file are what somebody did, or lines of orders."""
    return found.user is not None or found.order is not None


def _describes(found: Guess) -> bool:
    """Whether a file describes products."""
    told = (found.title, found.about, found.brand, *found.categories)
    return found.product is not None and not _of_events(found) and any(c is not None for c in told)


def _names(here: ColumnProfile | None, there: ColumnProfile | None) -> bool:
    """Whether a column holds keys of the other one, more than numbers would by chance."""
    if here is None or there is None or not here.values:
        return False
    return _are_among(here.values, set(there.values))


def _are_among(values: Sequence[str], keys: set[str]) -> bool:
    chance = all(key.isdecimal() for key in keys)
    share = sum(value in keys for value in values) / len(values)
    return share >= (_MOST if chance else _SOME)


def _between_keys(made: Pieces, others: Sequence[Pieces]) -> str:
    """What stands between several keys of another file's products in most values of what looks like one."""
    column = made.found.product
    if column is None or column.lists or not column.values:
        return ""
    some = (other.found.product for other in others if other is not made)
    keys = {value for there in some if there is not None for value in there.values}
    for mark in _BETWEEN:
        several = [value for value in column.values if mark in value and value not in keys]
        parts = [part.strip() for value in column.values for part in value.split(mark)]
        if 2 * len(several) > len(column.values) and _are_among(parts, keys):
            return mark
    return ""


def _grouped(
    paths: list[Path], root: Path, encoding: str | None, types: list[str]
) -> list[tuple[list[str], Sample]]:
    """The files below `root`, those with the same columns and names of the same event together."""
    groups: list[tuple[list[str], Sample]] = []
    for path in paths:
        _check_file(path)
        file = path.relative_to(root).as_posix()
        for taken in samples(path, encoding):
            _group(groups, file, taken, types)
    return with_marks([(names, with_heads(names, taken, root, encoding)) for names, taken in groups])


def _group(groups: list[tuple[list[str], Sample]], file: str, taken: Sample, types: list[str]) -> None:
    """Adds a file to the group that it is like, or as one of its own."""
    for i, (names, other) in enumerate(groups):
        alone = [c.name for c in taken.columns[:2]] == ["source", "target"]
        alone |= _kind(taken, types) != _kind(other, types)
        # What a column that is just called id tells apart, the table's name says.
        alone |= any(bare(c) for c in taken.columns) and _plain(taken.called) != _plain(other.called)
        both = None if alone else merged(other, taken)
        if both is not None:
            groups[i] = ([*names, file], both)
            break
    else:
        groups.append(([file], taken))


def _kind(taken: Sample, types: list[str]) -> tuple[str, str]:
    return told_by(taken.called, types)


def _plain(called: str) -> list[str]:
    """The words of a table's name, without numbers."""
    return [word for word in words(called) if word.isalpha()]


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise InputError("is a folder", where=str(path), hint="name the files in it")
    if not path.is_file():
        told = "is not a plain file" if path.exists() else "there is no such file"
        raise InputError(told, where=str(path))
    if not path.name.isprintable():
        raise InputError("has a name that cannot be written down", where=ascii(path.name), hint="rename it")


def _zone(headings: str) -> str:
    """A time zone where headings are written as these are."""
    by_script = ((KANA, "Asia/Tokyo"), (HANGUL, "Asia/Seoul"), (HAN, "Asia/Shanghai"))
    return next((zone for script, zone in by_script if script.search(headings)), "Europe/Berlin")


def _name(called: str, used: set[str]) -> str:
    plain = unicodedata.normalize("NFC", called)
    stem = re.sub(r"[^\w-]+", "-", plain).strip("-_") or "data"
    name, number = stem, 1
    while name in used:
        number += 1
        name = f"{stem}-{number}"
    used.add(name)
    return name


def preview(
    mapping: Mapping,
    schema: Schema,
    root: Path,
    rows: int = 10,
    *,
    tables: AnyMapping[str, pa.Table | Path] | None = None,
    salt: bytes | None = None,
    limit: int = 100_000,
) -> Preview:
    """What the mapping would write; nothing is written.

    Whether the ends of relationships exist is not looked up.

    Args:
        mapping: what the columns are in the graph.
        schema: the graph's schema.
        root: the folder below which the files are.
        rows: examples per type, and rejects.
        tables: by source (of a join SOURCE.JOIN), a table or a file in place of the files below `root`.
        salt: for values that are hashed.
        limit: rows that are read of each file.

    Raises:
        InputError, SchemaError: the mapping does not fit the schema, or a source cannot be read.
    """
    result = Preview()
    rejects: list[pa.Table] = []
    seen: dict[TypeKey, set[object]] = {}
    parts: list[Part] = []
    for name, item in mapping.compile(schema, salt=salt).items():
        sources = sources_of(name, item, Path(root), (tables or {}).get(name))
        joins = joins_of(name, item, Path(root), tables or {}) if sources else Joins()
        result.notices = (*result.notices, *joins.notices)
        for source in sources:
            read = 0
            joins.check(source, item.columns)
            text = TextCheck(source)
            result.encodings |= encodings_of([source])
            for batch in read_batches(source, item.columns, batch_rows=min(65_536, limit)):
                if read >= limit:
                    result.whole = False
                    break
                text.see(batch.table, batch.lines)
                mapped = map_batch(item, joins.added(batch, source.name), source.name)
                parts.append((name, mapped.rows, mapped.eventless, mapped.pieces))
                read, result.rows = read + mapped.rows, result.rows + mapped.rows
                result.skipped += mapped.skipped
                result.rejected += mapped.rejected
                result.notices = joined_notices([*result.notices, *mapped.notices])
                if sum(t.num_rows for t in rejects) < rows:
                    rejects.append(mapped.rejects.slice(0, rows))
                for key, table in mapped.tables.items():
                    _count(result, schema, seen, key, table)
                    _show(result, key, table, rows)
            result.notices = (*result.notices, *text.notices())
    result.eventless, result.idle = eventless_rows(parts), idle_pieces(parts)
    if rejects:
        result.rejects = pa.concat_tables(rejects).slice(0, rows)
    return result


def _count(
    result: Preview, schema: Schema, seen: dict[TypeKey, set[object]], key: TypeKey, table: pa.Table
) -> None:
    """Counts the rows of a type; nodes and facts that were seen before are no further ones."""
    if isinstance(key, str):
        seen.setdefault(key, set()).update(table[schema.node(key).key].to_pylist())
    elif schema.relationship(key).kind == "fact":
        pairs = zip(table["source"].to_pylist(), table["target"].to_pylist(), strict=True)
        seen.setdefault(key, set()).update(pairs)
    else:
        result.counts[key] = result.counts.get(key, 0) + table.num_rows
        return
    result.counts[key] = len(seen[key])


def _show(result: Preview, key: TypeKey, table: pa.Table, rows: int) -> None:
    """Adds examples of a type until there are enough."""
    plain = table.drop_columns([name for name in table.column_names if name.startswith("_")])
    shown = result.examples.get(key)
    missing = rows - (0 if shown is None else shown.num_rows)
    if missing > 0:
        more = plain.slice(0, missing)
        result.examples[key] = more if shown is None else pa.concat_tables([shown, more])
