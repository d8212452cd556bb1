"""One graph, wherever it lives: ingest into it, ask it, explain from it, write answers back."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as AnyMapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from kgdistill.errors import InputError
from kgdistill.explore import Explanation, count_types, explain, run_query, saved_queries, write_back
from kgdistill.explore.counts import TypeCounts
from kgdistill.explore.interests import Interests, interests
from kgdistill.explore.kept_reasons import with_reasons
from kgdistill.explore.network import to_networkx
from kgdistill.explore.part import MOST, Selection, read_part
from kgdistill.explore.queries import dialect_of
from kgdistill.explore.writeback import NodeEmbeddings, WriteBackReport, write_classes
from kgdistill.ingest.archive import default_archive, job_schema
from kgdistill.ingest.journal import Journal, without_journal
from kgdistill.moment import moment
from kgdistill.nearest import nearest
from kgdistill.refusals import clear_refusals
from kgdistill.store import GraphStore, Schema, kept_schema, load_schema, open_store
from kgdistill.store.protocol import EdgeType, Parameter
from kgdistill.tasks.histories import items_of, stored_purchases
from kgdistill.wording import Language, say

if TYPE_CHECKING:
    import networkx as nx
    import pandas
    from typing_extensions import Self

    from kgdistill.ingest.job import Given, JobOptions, JobReport
    from kgdistill.ingest.mapping.load import Mapping
    from kgdistill.run.run import Run
    from kgdistill.serve.bundle import Bundle
    from kgdistill.snapshot import Snapshot


class Graph:
    """A knowledge graph in Neo4j, in a local folder or in memory.

    Args:
        store: `ladybug:PATH` (a folder), `memory:`, `neo4j://HOST:PORT` or `bolt://HOST:PORT`; or a store
            that is open.
        user: the Neo4j user.
        password: the Neo4j password; where None, KGDISTILL_NEO4J_PASSWORD, else asked for on a terminal.
        archive: the folder that keeps accepted rows; where None, beside an embedded store (PATH.archive), of
            a server in the working folder.
        schema: the types that it may hold, or the YAML file that says them; where None, those that the store
            keeps, or the project's own.

    Raises:
        InputError: an address of another form, or one that carries a password.
        StoreError: no usable store there; its kinds say what is wrong.
        SchemaError: the schema is none.
    """

    def __init__(
        self,
        store: str | GraphStore,
        *,
        user: str = "neo4j",
        password: str | None = None,
        archive: str | Path | None = None,
        schema: Schema | str | Path | None = None,
    ) -> None:
        described = load_schema(schema) if isinstance(schema, str | Path) else schema
        if isinstance(store, str):
            store = open_store(store, user=user, password=password)
        elif not isinstance(store, GraphStore):
            hint = "use ladybug:PATH, memory:, neo4j://HOST:PORT or bolt://HOST:PORT, or an open store"
            raise InputError(f"{store!r:.80} is not the address of a store", hint=hint)
        self.store = store
        self._schema = described
        self._archive = Path(archive) if archive is not None else None

    @property
    def url(self) -> str:
        """Where the graph is, without any password."""
        return self.store.url

    @property
    def schema(self) -> Schema:
        """The types that the graph may hold."""
        if self._schema is not None:
            return self._schema
        return without_journal(kept_schema(self.store))

    @property
    def archive(self) -> Path:
        """The folder of accepted rows, from which the graph can be made again."""
        if self._archive is None and self.url == "memory:":
            folder = tempfile.mkdtemp(prefix="kgdistill-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            self._archive = Path(folder) / "memory.archive"
        return self._archive if self._archive is not None else default_archive(self.url)

    # In and out -------------------------------------------------------------------------------

    def ingest(
        self,
        mapping: Mapping | str | Path,
        folder: str | Path = ".",
        *,
        tables: AnyMapping[str, Given] | None = None,
        salt: bytes | None = None,
        options: JobOptions | None = None,
    ) -> JobReport:
        """Reads the files of a mapping that are new or changed; twice is once.

        Args:
            mapping: what the columns are in the graph: a YAML file, or as parsed; or a folder that has one
                file per type, such as Product.csv and BOUGHT.csv, and needs no mapping.
            folder: below which the mapping's files are.
            tables: by the mapping's source name, a table or a file instead of the files below `folder`.
            salt: for values that are hashed.
            options: how it is done: where rejected rows are written, how many are too many, ...

        Returns:
            What the job did: rows read, accepted, rejected and why.

        Raises:
            InputError: a file cannot be read, or too many rows do not fit; nothing is changed.
            ToolMissingError: the extra `ingest` is not installed.
        """
        with clear_refusals(self.url):
            from kgdistill.ingest.folder import folder_mapping
            from kgdistill.ingest.job import run_job
            from kgdistill.ingest.mapping.load import load_mapping

            schema = self._schema
            if isinstance(mapping, str | Path) and not Path(mapping).is_dir():
                mapping = load_mapping(mapping)
                if schema is None and mapping.schema_file:
                    schema = load_schema(mapping.schema_file)
            schema = schema or job_schema(self.archive, load_schema())
            if isinstance(mapping, str | Path):
                folder, mapping = mapping, folder_mapping(mapping, schema)
            return run_job(
                self.store, mapping, folder, options,
                archive=self.archive, schema=schema, tables=tables, salt=salt,
            )  # fmt: skip

    def snapshot(self, folder: str | Path, cut: datetime | str) -> Snapshot:
        """Freezes what comes before `cut` in `folder`, as Parquet.

        Raises:
            InputError: the folder holds something already.
            StoreError: from the store.
        """
        from kgdistill.snapshot import take_snapshot

        with clear_refusals(str(folder)):
            before = moment(cut, "cut") if isinstance(cut, str) else cut
            return take_snapshot(self.store, Path(folder), cut=before, zone=Journal(self.store).time_zone())

    def write_back(
        self,
        run: Run | str | Path,
        *,
        k: int = 20,
        least: float | None = None,
        allow_sensitive: bool = False,
        reasons: bool = True,
        wait_s: float = 0.0,
    ) -> WriteBackReport:
        """Writes what a run answers, and its vectors, in place of what the same run wrote before.

        Answers rest on all that the graph knows now, also on purchases after the cut; what a user bought is
        left out. Of a run that finds audiences, those of the campaigns from its cut on are written. Classes
        and past answers are written for nodes that the run did not learn from, and where it is sure enough.

        Args:
            run: a run, or its folder; the folder's name is its name in the graph.
            k: recommendations for each user; users for each campaign; products for each query.
            least: the probability from which on a class or a past answer is written; None: a half for a
                class, for an answer what the run chose on validation.
            allow_sensitive: whether classes of what the schema declares sensitive are written too.
            reasons: whether the most telling path is kept with each recommendation; of the next basket, how
                often and when it was bought.
            wait_s: how long to wait for a job that holds the archive.

        Raises:
            ArtefactError: the run has no bundle, or it no longer fits.
            InputError: its task has no such answers, or the schema no relationship for them; all that it
                tells is sensitive.
            StoreError, SchemaError, DiskError: as `kgdistill.explore.write_back`; nothing is written.
        """
        with clear_refusals(self.url):
            from kgdistill.run.run import Run as AnyRun
            from kgdistill.run.written import run_facts

            opened = AnyRun.open(run) if isinstance(run, str | Path) else run
            if not isinstance(opened, AnyRun):
                raise InputError("takes one run", hint="of several each: for run in runs.values(): …")
            name, kind = opened.folder.resolve().name, opened.config.kind
            _check_writes(opened, least, allow_sensitive)
            archive = self._archive
            if kind == "classify":
                sure = 0.5 if least is None else least
                return self._told(opened, sure, allow_sensitive, wait_s)
            edge = opened.answered_as
            self._writable([edge], "run, rank and score")
            answers, vectors = self._answers(opened, k, least)
            answers = self._reasoned(opened, answers, reasons)
            report = write_back(
                self.store, name, answers, vectors,
                edge=edge, facts=run_facts(opened), archive=archive, wait_s=wait_s,
            )  # fmt: skip
            return self._with_unanswered(report, kind, edge, answers)

    def _told(self, run: Run, least: float, allow_sensitive: bool, wait_s: float) -> WriteBackReport:
        """Writes the classes that a run tells."""
        from kgdistill.run.told import sensitive_told, told_classes, told_edges
        from kgdistill.run.written import run_facts

        self._writable(told_edges(run).values(), "run, property and probability")
        told = told_classes(run, self.store, least=least, allow_sensitive=allow_sensitive)
        name, archive = run.folder.resolve().name, self._archive
        report = write_classes(self.store, name, told, facts=run_facts(run), archive=archive, wait_s=wait_s)
        return replace(report, left_out=() if allow_sensitive else sensitive_told(run, self.store))

    def _reasoned(self, run: Run, answers: pa.Table, reasons: bool) -> pa.Table:
        """With the most telling paths, unless the answers bring reasons of their own; or with none."""
        own = "reason" in answers.column_names
        if not reasons:
            return answers.drop_columns(["reason"]) if own else answers
        if own:
            return answers
        from kgdistill.serve.weigh import events_read

        reads = events_read(run.bundle()) if run.config.kind == "history" else None
        return with_reasons(self.store, run.answered_as, answers, reads=reads)

    def _with_unanswered(
        self, report: WriteBackReport, kind: str, edge: EdgeType, answers: pa.Table
    ) -> WriteBackReport:
        if kind not in ("history", "basket", "text"):
            return report  # not everybody in the graph asks
        return report.with_unanswered(self.store.read_nodes(edge[0], []).column(0), answers["user"])

    def _answers(self, run: Run, k: int, least: float | None) -> tuple[pa.Table, list[NodeEmbeddings]]:
        """What a run answers, user, product, rank, score, and its vectors."""
        if run.config.kind == "audience":
            return run.audiences(k), []
        if run.config.kind == "answer":
            from kgdistill.run.told import told_answers

            return told_answers(run, self.store, least=least), []
        if run.config.kind == "text":
            from kgdistill.run.told import told_finds

            return told_finds(run, self.store, k), []
        kept = run.embeddings() if "Embedding" in self.store.schema.nodes else []
        label = run.answered_as[2]
        from kgdistill.run.written import with_origins

        answers = with_origins(run, run.recommendations(k, store=self.store))
        return answers, [NodeEmbeddings(label, *space) for space in kept]

    def _writable(self, edges: Iterable[EdgeType], properties: str) -> None:
        """InputError where the graph lacks one of these relationships, and it is not to be had."""
        held, own = self.store.schema, load_schema().edges("output")
        known = [*held.edges(), *(e for e in own if {e[0], e[2]} <= held.nodes.keys())]
        if missing := [edge for edge in edges if edge not in known]:
            edge = missing[0]
            raise InputError(
                f"the graph's schema has no relationship {'-'.join(edge)} to write to",
                where=self.url,
                hint=f"declare it, with {properties}, and name it as the task's output",
            )

    # Questions --------------------------------------------------------------------------------

    def history(self, user: str | int, event: str | EdgeType = "BOUGHT") -> list[str]:
        """The keys of what a user bought, the latest last; what was only ever returned is left out.

        Args:
            user: the user's key.
            event: the relationship that counts, such as VIEWED; with its ends where it has several.

        Raises:
            InputError: the graph has no such user.
            SchemaError: the graph has no such relationship.
        """
        key, schema = str(user), self._filled()
        edge = _edge(event, schema) if isinstance(event, str) else event
        label = edge[0]
        bought = stored_purchases(self.store, edge, schema, user=key)
        if not bought.num_rows:
            name = schema.node(label).key
            known = self.store.query(
                f"MATCH (u:`{label}`) WHERE u.`{name}` = $key RETURN count(u) AS n", {"key": key}
            )
            if not known["n"][0].as_py():
                raise InputError(f"there is no {label} with the id {key!r}", where=self.url)
        return items_of(bought)

    def interests(
        self, user: str | int, *, limit: int = 5, before: datetime | str | None = None
    ) -> Interests:
        """What a user buys, views, rates or searches for more than others, and where prices stand.

        Args:
            user: the key.
            limit: at most this many of each kind, of each event.
            before: only what was done before this time, or ISO text, counts; naive is UTC.

        Raises:
            InputError: there is no such user; ids near it are named.
        """
        self._filled()
        until = moment(before, "before") if isinstance(before, str) else before
        zone = Journal(self.store).time_zone()
        return interests(self.store, str(user), limit=limit, before=until, zone=zone)

    def explain(
        self,
        user: str | int,
        item: str | int,
        *,
        limit: int = 5,
        before: datetime | str | None = None,
        language: Language | None = None,
        bundle: Bundle | None = None,
    ) -> list[Explanation]:
        """The paths that lead from what a user bought to an item, the most telling first.

        Never empty: where no path leads there, the one explanation says so. `print` shows an explanation in
        words; its `steps` are the path.

        Args:
            user, item: keys.
            limit: at most this many.
            before: only purchases before this time, or ISO text, count; naive is UTC.
            language: "en" or "zh"; None for that of the item's name.
            bundle: the student whose view of the purchases counts for the order, times how specific a path
                is, and whose events come before others; None for how specific a path is alone.

        Raises:
            InputError: there is no such user or item; ids near it are named.
        """
        schema = self._filled()
        user, item = str(user), str(item)
        until = moment(before, "before") if isinstance(before, str) else before
        weigh = reads = None
        if bundle is not None:
            from kgdistill.serve.weigh import weighed_by

            weigh, reads = weighed_by(bundle, self.store, schema, user, until)
        found = explain(
            self.store, user, item, limit=limit, before=until, language=language, weigh=weigh, reads=reads
        )
        if found:
            return found
        why = say("no path", language or "en", user=user, item=item)
        return [Explanation(user, item, "NONE", (), why, 0.0, 0, None, None, 0)]

    def query(
        self,
        cypher: str,
        parameters: AnyMapping[str, Parameter] | None = None,
        *,
        limit: int = 1000,
        timeout_s: float = 30.0,
    ) -> pa.Table:
        """Asks the graph in Cypher, or by a saved query's name; nothing can be written this way.

        Args:
            cypher: a read-only query with values as `$name` only, or the name of one of `queries`.
            parameters: the values.
            limit: more rows than this are an error.
            timeout_s: the store gives up after this many seconds.

        Raises:
            QueryError: syntax, a write, the timeout or the row limit.
            InputError: a saved query lacks a parameter.
        """
        if cypher.isidentifier():
            return run_query(self.store, cypher, parameters, limit=limit, timeout_s=timeout_s)
        return self.store.query(cypher, parameters, limit=limit, timeout_s=timeout_s)

    def _filled(self) -> Schema:
        """The schema of a graph that something was ingested into."""
        if dialect_of(self.store) == "ladybug" and not self.store.schema.nodes:
            raise InputError("nothing was ingested here yet", where=self.url, hint="Graph.ingest(...)")
        return self.schema

    def frame(self, kind: str | EdgeType, columns: Sequence[str] | None = None) -> pandas.DataFrame:
        """All nodes of a label, or relationships of a type, as a pandas frame.

        Args:
            kind: a label, or a relationship such as BOUGHT; with its ends where it has several.
            columns: the properties; all where None. The key, or `source` and `target`, come first.

        Raises:
            InputError: the graph has no such type.
            SchemaError: it has no such property.
            ToolMissingError: pandas, of the extra `ingest`, is not installed.
        """
        schema = self._filled()
        if isinstance(kind, str) and kind in schema.nodes:
            table = self.store.read_nodes(kind, columns)
        else:
            edge = _edge(kind, schema) if isinstance(kind, str) else kind
            table = self.store.read_relationships(edge, columns)
        with clear_refusals(self.url):
            frame: pandas.DataFrame = table.to_pandas()
        return frame

    def to_networkx(self, part: Selection | None = None) -> nx.MultiDiGraph[Any]:
        """The graph, or a part of it, for NetworkX; see `kgdistill.explore.network.to_networkx`.

        Args:
            part: such as `Selection(around="Product:1095275", hops=2)`, of `kgdistill.explore`.

        Raises:
            InputError: an unknown label, type, node or run; more than `MOST` nodes and relationships, unless
                `part` allows them.
        """
        self._filled()
        part = part or Selection()
        return to_networkx(read_part(self.store, replace(part, most=part.most or MOST)))

    @staticmethod
    def queries() -> dict[str, str]:
        """The saved queries: what each tells."""
        return {query.name: query.description for query in saved_queries()}

    def stats(self) -> TypeCounts:
        """How many nodes and relationships there are, by type."""
        return count_types(self.store, self.schema)

    def close(self) -> None:
        """Frees the connection or the file; calling it twice is harmless."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Graph({self.url!r})"


def _edge(name: str, schema: Schema) -> EdgeType:
    """The one relationship of this name.

    Raises:
        InputError: there is none, or it stands between several pairs of labels.
    """
    known = [edge for edge in schema.edges() if edge[1] == name]
    if len(known) != 1:
        ends = "; ".join(map(str, known))
        hint = f"name one of: {ends}" if known else nearest(name, schema.relationships)
        raise InputError(f"the graph has {len(known) or 'no'} relationships {name!r}", hint=hint)
    return known[0]


def _check_writes(run: Run, least: float | None, allow_sensitive: bool) -> None:
    """Refuses a run that has nothing to write, and what it would not read."""
    task, kind = run.config.task, run.config.kind
    if not run.writes:
        raise InputError(
            f"a run of the task {task.name!r} has nothing to write back",
            where=str(run.folder),
            hint="a task says by `output` what its answers are written as: recommend, basket, search, "
            "target, profile, answer, sentiment and intent do, and tasks like them",
        )
    if (least is not None and kind not in ("classify", "answer")) or (allow_sensitive and kind != "classify"):
        raise InputError(
            f"a run of the task {task.name!r} writes by neither a probability nor what is sensitive",
            where=str(run.folder),
            hint="leave out --least and --allow-sensitive (least=, allow_sensitive=)",
        )
