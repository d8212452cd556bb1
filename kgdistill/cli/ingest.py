"""`kgdistill ingest`: files into the graph."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping as AnyMapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from kgdistill.cli.jobs import (
    ArchiveOption,
    WaitOption,
    open_or_put_aside,
    print_report,
    say_encodings,
    schema_of_job,
)
from kgdistill.cli.options import (
    DEFAULT_STORE,
    JsonOption,
    PasswordFileOption,
    SchemaOption,
    StoreOption,
    UserOption,
    schema_at,
)
from kgdistill.cli.output import print_json, print_table, say, shown
from kgdistill.cli.preview import JobChoice, preview_job
from kgdistill.errors import DiskError, InputError, StoreAuthError
from kgdistill.moment import moment

if TYPE_CHECKING:
    import pyarrow as pa

    from kgdistill.ingest.mapping.load import Mapping
    from kgdistill.store import Schema

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

RejectsOption = Annotated[
    Path,
    typer.Option("--rejects", metavar="FILE", help="Where rows that do not fit go (.csv or .parquet)."),
]
ShareOption = Annotated[
    float,
    typer.Option(
        "--max-reject-share", min=0.0, max=1.0, help="With more rejected rows than this, nothing is changed."
    ),
]
RemovedOption = Annotated[
    float,
    typer.Option(
        "--max-removed-share",
        min=0.0,
        max=1.0,
        help="Where a new version of a file lacks a larger share of its former events, nothing is changed.",
    ),
]
SaltOption = Annotated[
    Path | None,
    typer.Option("--salt-file", metavar="FILE", help="The salt of hashed ids; otherwise KGDISTILL_SALT."),
]
SinceOption = Annotated[
    str | None,
    typer.Option("--since", metavar="DATE", help="Skip events before it."),
]
DryOption = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be written, with examples; write nothing.")
]
EngineOption = Annotated[
    Literal["local", "ray"], typer.Option("--engine", help="Where sources are read: here, or on Ray.")
]
RayOption = Annotated[
    str | None,
    typer.Option("--ray-address", metavar="ADDRESS", help="A Ray cluster; one on this machine otherwise."),
]
WorkersOption = Annotated[int | None, typer.Option("--workers", min=1, help="Ray tasks at a time.")]


@app.callback()
def group() -> None:
    """Read files into the graph; doing it twice is doing it once.

    \b
    Examples:
      kgdistill ingest init orders.csv products.jsonl --out shop.yaml
      kgdistill ingest run shop.yaml data/ --dry-run
      kgdistill ingest run shop.yaml data/ --store neo4j://localhost:7687
      kgdistill ingest dataset --list
      kgdistill ingest history
    """


@app.command("init")
def init(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILES", help="Files of each kind that there is, or their folder.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write the mapping here.")
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option("--encoding", metavar="NAME", help="Of text files; told by their bytes otherwise."),
    ] = None,
    schema: SchemaOption = None,
    json: JsonOption = False,
) -> None:
    """Propose a mapping for files.

    Headers and a sample are read; commented YAML is written, to be looked through. Where nothing looks
    like an id a skeleton is written, to be filled in, and the exit code is 2.

    \b
    Examples:
      kgdistill ingest init orders.csv > shop.yaml
      kgdistill ingest init export.txt --encoding gb18030
      kgdistill ingest init data/orders.csv.gz data/products.parquet --out shop.yaml
      kgdistill ingest init data/ --out shop.yaml
    """
    from kgdistill.declared import parse_yaml
    from kgdistill.ingest.propose.propose import NothingFitsError, files_of_keys, idle_files, propose

    if out == Path("-"):
        out = None
    if out is not None and out.exists():
        raise InputError("exists already", where=str(out), hint="name another file, or remove it first")
    found = [file for path in files for file in _files_in(path)]
    left = [shown(file) for path in files for file in _unread_in(path)]
    lacking: NothingFitsError | None = None
    try:
        text = propose(found, schema_at(schema), encoding)
    except NothingFitsError as error:
        text, lacking = error.skeleton, error
    if out is not None:
        try:
            out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise DiskError(f"cannot be written: {error.strerror or error}", where=str(out)) from error
    sources = parse_yaml(text, where="the proposal")["sources"] or {}
    encodings = {name: source["encoding"] for name, source in sources.items() if "encoding" in source}
    idle = idle_files(found, sources)
    keys = files_of_keys(text, sources)
    if json:
        doubts = [line.partition("# ?")[2].strip() for line in text.splitlines()[2:] if "# ?" in line]
        told = {"file": out, "files": found, "mapping": text, "encodings": encodings, "doubts": doubts}
        told |= {"idle": idle, "keys": keys, "left_out": left}
        print_json(told)
    elif out is None:
        print(text, end="")
    if not json:
        say_encodings(encodings)
        if idle and lacking is None:
            say(f"makes nothing yet, see the comments in its place: {', '.join(idle)}")
        if keys:
            say(f"makes keys alone, though its rows have a time, see its comments: {', '.join(keys)}")
        if left:
            say(f"left out, as no CSV, TSV, JSON lines, Parquet or Arrow: {', '.join(left)}; {_SAVE}")
    if lacking is not None:
        if out is not None:
            lacking.hint = f"{shown(out)} is a skeleton: {lacking.hint}"
        raise lacking
    if json or out is None:
        return
    folder = shown(os.path.commonpath([file.absolute().parent for file in found]))
    words = shlex.join(["kgdistill", "ingest", "run", shown(out), folder, "--dry-run"])
    salt = "KGDISTILL_SALT" in text and not os.environ.get("KGDISTILL_SALT")
    first = "set KGDISTILL_SALT, as ids are hashed, then: " if salt else "then: "
    say(f"{shown(out)}: look through it, {first}{words}")


@app.command("run")
def run(
    mapping: Annotated[Path, typer.Argument(metavar="MAPPING", help="The mapping, a YAML file.")],
    data: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The folder below which the mapping's files are.")
    ] = Path("."),
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    schema: SchemaOption = None,
    archive: ArchiveOption = None,
    rejects: RejectsOption = Path("rejects.csv"),
    max_reject_share: ShareOption = 0.01,
    max_removed_share: RemovedOption = 0.2,
    since: SinceOption = None,
    salt_file: SaltOption = None,
    wait: WaitOption = 0.0,
    dry_run: DryOption = False,
    engine: EngineOption = "local",
    ray_address: RayOption = None,
    workers: WorkersOption = None,
    json: JsonOption = False,
) -> None:
    """Ingest the files of a mapping.

    What was read before and has not changed is left alone. Stopped anywhere, the same command goes on;
    `kgdistill ingest resume` finishes without the files. Standard input is one source, whose next content
    takes the former's place.

    \b
    Examples:
      kgdistill ingest run shop.yaml data/
      kgdistill ingest run shop.yaml data/ --dry-run
      zcat orders.csv.gz | kgdistill ingest run orders.yaml
      kgdistill ingest run shop.yaml data/ --store neo4j://db:7687 --archive /srv/shop.archive --wait 600
    """
    from kgdistill.ingest.mapping.load import load_mapping

    _check_mapping(mapping)
    read = load_mapping(mapping)
    own = Path(read.schema_file) if read.schema_file else None
    described = schema_of_job(schema or own, archive, store)
    if not data.is_dir():
        raise InputError("is not a folder", where=str(data), hint="name the folder that holds the files")
    options = JobChoice(
        store, user, password_file, archive, rejects, max_reject_share, max_removed_share, wait, json
    )
    before = moment(since, "--since") if since else None
    salt = _salt(salt_file)
    if engine == "local" or dry_run:
        _ingest(options, read, described, data, {}, before, salt, dry_run)
        return
    from kgdistill.ingest.ray.engine import RayEngine

    with RayEngine(ray_address, workers=workers) as ray:
        writer = None
        if store.startswith(("neo4j", "bolt")):
            writer = ray.neo4j_writer(store, user=user, password=_password(password_file))
        _ingest(options, read, described, data, {}, before, salt, dry_run, ray.stage, writer)


@app.command("dataset")
def dataset(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The data set; see --list.")] = None,
    data: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", help="Where its files are; for some a Python package has them."),
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="Show the data sets that are known.")] = False,
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    archive: ArchiveOption = None,
    rejects: RejectsOption = Path("rejects.csv"),
    max_reject_share: ShareOption = 0.01,
    max_removed_share: RemovedOption = 0.2,
    wait: WaitOption = 0.0,
    dry_run: DryOption = False,
    json: JsonOption = False,
) -> None:
    """Ingest a public data set.

    Or a log in a common shape: by a mapping that comes with kgdistill.

    \b
    Examples:
      kgdistill ingest dataset --list
      kgdistill ingest dataset complete-journey
      kgdistill ingest dataset amazon-2018 downloads/office --store ladybug:office.db
    """
    from kgdistill.datasets.adapters import adapter, adapters
    from kgdistill.ingest.mapping.load import load_mapping

    if listing or name is None:
        rows = [[a.name, a.title, a.card] for a in adapters()]
        if json:
            print_json([{"name": n, "title": t, "card": c} for n, t, c in rows])
        else:
            print_table(["name", "data set", "card"], rows)
        return
    chosen = adapter(name)
    if data is None and name != "complete-journey":
        raise InputError(f"{name} needs the folder with its files", hint=f"see {chosen.card}")
    if data is not None and not data.is_dir():
        raise InputError("is not a folder", where=str(data))
    tables = chosen.prepare(data) if chosen.prepare else {}
    options = JobChoice(
        store, user, password_file, archive, rejects, max_reject_share, max_removed_share, wait, json
    )
    mapping = load_mapping(chosen.mapping_path)
    described = schema_of_job(None, archive, store)
    _ingest(options, mapping, described, data or Path("."), tables, None, _salt(None), dry_run)


@app.command("folder")
def folder(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A folder with one file per type.")],
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    schema: SchemaOption = None,
    archive: ArchiveOption = None,
    rejects: RejectsOption = Path("rejects.csv"),
    max_reject_share: ShareOption = 0.01,
    max_removed_share: RemovedOption = 0.2,
    wait: WaitOption = 0.0,
    dry_run: DryOption = False,
    json: JsonOption = False,
) -> None:
    """Ingest a folder with one file per type.

    It needs no mapping, as the files are named after the schema's types. Product.csv has product_id and
    any of its properties; BOUGHT.csv has source, target and any properties. A type with several pairs of
    ends names them: Product-PART_OF-Department.csv.

    \b
    Examples:
      kgdistill ingest folder my-shop/
      kgdistill ingest folder my-shop/ --schema my-schema.yaml --rejects bad-rows.csv
      kgdistill ingest folder my-shop/ --max-reject-share 0 --json
    """
    from kgdistill.ingest.folder import folder_mapping

    described = schema_of_job(schema, archive, store)
    mapping = folder_mapping(path, described)
    options = JobChoice(
        store, user, password_file, archive, rejects, max_reject_share, max_removed_share, wait, json
    )
    _ingest(options, mapping, described, path, {}, None, None, dry_run)


def _files_in(path: Path) -> list[Path]:
    """The file itself; of a folder, those whose names tell that they can be read."""
    if not path.is_dir():
        return [path]
    from kgdistill.ingest.readers import find_sources

    found = [source.path for source in find_sources("data", ["."], path, optional=True) if source.path]
    if not found:
        left = ", ".join(file.name for file in _unread_in(path)[:5])
        hint = f"{_SAVE}: {left}" if left else ""
        raise InputError("holds no CSV, TSV, JSON lines, Parquet or Arrow file", where=str(path), hint=hint)
    return found


_SAVE = "save sheets as CSV (UTF-8), and unpack archives"
# What tables come in that are not read: of workbooks, pages, dumps and archives.
_TABLES = (
    ".xlsx .xls .xlsm .ods .numbers .txt .dat .json .xml .html .htm .db .sqlite .sqlite3 .mdb .accdb .sql "
    ".orc .avro .zip .7z .rar .tar .tgz .bz2 .xz .pkl .feather .sav .dta"
)


def _unread_in(path: Path) -> list[Path]:
    """Of a folder, the files that may hold tables and are none that can be read."""
    if not path.is_dir():
        return []
    from kgdistill.ingest.readers.source import suffixes

    some = (file for file in sorted(path.rglob("*")) if not file.name.startswith((".", "_", "~")))
    tables = (file for file in some if file.suffix.lower() in _TABLES.split() and suffixes(file)[0] is None)
    return [file for file in tables if file.is_file()]


def _check_mapping(path: Path) -> None:
    """Refuses what is easily named in a mapping's place: the data."""
    hint = f"a mapping is a YAML file; one is proposed by: kgdistill ingest init {shlex.quote(str(path))}"
    if path.is_dir():
        raise InputError(
            "is a folder, not a mapping", where=str(path), hint=f"{hint}; then: ingest run MAPPING FOLDER"
        )
    if not path.exists():
        raise InputError(
            "there is no such mapping",
            where=str(path),
            hint="one is proposed by: kgdistill ingest init FILES",
        )
    from kgdistill.ingest.readers.source import suffixes

    if suffixes(path)[0] is not None and path.suffix != ".json":
        raise InputError("holds data, not a mapping", where=str(path), hint=hint)


def _salt(file: Path | None) -> bytes | None:
    if file is None:
        text = os.environ.get("KGDISTILL_SALT")
        return text.encode() if text else None
    try:
        return file.read_bytes().strip()
    except OSError as error:
        raise InputError(f"the salt cannot be read: {error.strerror}", where=str(file)) from error


def _password(file: Path | None) -> str:
    """What every worker needs to reach a Neo4j: nobody can be asked there."""
    from kgdistill.cli.options import password_in

    text = password_in(file) if file else os.environ.get("KGDISTILL_NEO4J_PASSWORD")
    if not text:
        hint = "set KGDISTILL_NEO4J_PASSWORD, or name a file with --password-file"
        raise StoreAuthError("writing from Ray needs the Neo4j password", hint=hint)
    return text


def _ingest(
    options: JobChoice,
    mapping: Mapping,
    schema: Schema,
    root: Path,
    tables: AnyMapping[str, pa.Table | Path],
    since: Any,
    salt: bytes | None,
    dry_run: bool,
    stager: Any = None,
    writer: Any = None,
) -> None:
    from kgdistill.ingest.archive import default_archive
    from kgdistill.ingest.job import JobOptions, run_job

    if dry_run:
        preview_job(mapping, schema, root, tables, salt, options)
        return
    archive = options.archive or default_archive(options.store)
    with open_or_put_aside(
        options.store, options.user, options.password_file, archive, options.wait
    ) as opened:
        report = run_job(
            opened,
            mapping,
            root,
            JobOptions(
                rejects_path=options.rejects,
                max_reject_share=options.max_reject_share,
                max_removed_share=options.max_removed_share,
                since=since,
                stager=stager,
                writer=writer,
                wait_s=options.wait,
            ),
            archive=archive,
            schema=schema,
            tables=tables,
            salt=salt,
        )
        url = opened.url
    print_report(report, url, options.json, schema)
