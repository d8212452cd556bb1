"""`kgdistill graph`: what is in the graph, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kgdistill.cli.options import (
    DEFAULT_STORE,
    JsonOption,
    PasswordFileOption,
    SchemaOption,
    StoreOption,
    UserOption,
    schema_at,
    store_at,
)
from kgdistill.cli.output import print_json, print_line, print_table, say, shown
from kgdistill.cli.times import zone_of

if TYPE_CHECKING:
    from kgdistill.graphcheck import GraphStats, Inspection

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

HtmlOption = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write a page with plots as well.")
]
HubOption = Annotated[
    float,
    typer.Option(
        "--hub-share",
        min=0.0001,
        max=1.0,
        help="A node with more than this share of a type's relationships is a hub.",
    ),
]
GapOption = Annotated[
    int, typer.Option("--gap-days", min=1, help="From how many days without events on a gap is told.")
]


@app.callback()
def group() -> None:
    """Look at the whole graph: figures, and what a person should know of. Nothing is changed.

    \b
    Examples:
      kgdistill graph stats
      kgdistill graph check --html check.html
    """


@app.command("stats")
def stats(
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    schema: SchemaOption = None,
    hub_share: HubOption = 0.05,
    html: HtmlOption = None,
    json: JsonOption = False,
) -> None:
    """Show degrees, isolated nodes, what is filled in, hubs and coverage in time.

    \b
    Examples:
      kgdistill graph stats
      kgdistill graph stats --store neo4j://localhost:7687 --html graph.html
      kgdistill graph stats --schema my-schema.yaml --json
    """
    found = _inspect((store, user, password_file), schema, hub_share, 7, html)
    if json:
        print_json(found.stats)
    else:
        _print_stats(found.stats)


@app.command("check")
def check(
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    schema: SchemaOption = None,
    hub_share: HubOption = 0.05,
    gap_days: GapOption = 7,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 2 where there is an error.")] = False,
    html: HtmlOption = None,
    aliases: Annotated[
        Path | None,
        typer.Option(
            "--aliases",
            metavar="FILE",
            help="Draft the alias file of brands that look the same: to be looked through, and named in a "
            "mapping.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Find what is wrong, or may be, with examples and what to do.

    An error is wrong, a warning probably is, a note may surprise. Brands that look alike are listed and
    not merged; ingestion does that by an alias file.

    \b
    Examples:
      kgdistill graph check
      kgdistill graph check --aliases brands.csv
      kgdistill graph check --strict --html check.html
      kgdistill graph check --gap-days 3 --hub-share 0.02 --json
    """
    found = _inspect((store, user, password_file), schema, hub_share, gap_days, html)
    errors = sum(finding.severity == "error" for finding in found.findings)
    if aliases is not None and found.aliases:
        from kgdistill.graphcheck import write_aliases

        write_aliases(found.aliases, aliases)
        label = next(finding.subject for finding in found.findings if finding.code == "alike-brands")
        told = f"{shown(aliases)}: {len(found.aliases):,} drafted; look through it, then say in a mapping: "
        say(f"{told}aliases: {{{label}: {shown(aliases)}}}")
    elif aliases is not None:
        say("no brands look the same: there is nothing to draft")
    if json:
        stats = found.stats
        print_json({"store": stats.store, "at": stats.at, "zone": stats.zone, "findings": found.findings})
    else:
        _print_findings(found)
    if strict and errors:
        raise typer.Exit(2)


def _inspect(
    place: tuple[str, str, Path | None],
    schema: Path | None,
    hub_share: float,
    gap_days: int,
    html: Path | None,
) -> Inspection:
    from kgdistill.graphcheck import inspect_graph, write_page

    with store_at(*place) as opened:
        zone = zone_of(opened)
        described = schema_at(schema, opened)
        found = inspect_graph(opened, described, hub_share=hub_share, gap_days=gap_days, zone=zone)
    if zone != "UTC":
        say(f"days and times are those of {zone}; the store has them in UTC")
    if html is not None:
        say(f"the page is {shown(write_page(found, html))}")
    return found


def _print_findings(found: Inspection) -> None:
    for finding in found.findings:
        print_line(f"{finding.severity}: {finding.subject}: {finding.message} [{finding.code}]")
        for example in finding.examples:
            print_line(f"    {example}")
        print_line(f"  -> {finding.advice}")
    counts = {s: sum(f.severity == s for f in found.findings) for s in ("error", "warning", "note")}
    say(", ".join(f"{n} {s}{'' if n == 1 else 's'}" for s, n in counts.items()))


def _print_stats(stats: GraphStats) -> None:
    print_table(
        ["label", "nodes", "isolated", "filled in"],
        [
            [
                node.label,
                node.count,
                node.isolated,
                ", ".join(
                    f"{name} {_percent(n, node.count)}" for name, n in node.filled.items() if node.count
                ),
            ]
            for node in stats.nodes
        ],
        title=stats.store,
    )
    print()
    print_table(
        ["type", "count", "of", "with", "without", "min", "median", "mean", "p99", "max"],
        [
            [
                edge.type,
                edge.count,
                f"{side} {d.label}",
                d.nodes,
                d.without,
                d.min,
                d.median,
                d.mean,
                d.p99,
                d.max,
            ]
            for edge in stats.edges
            if edge.count
            for side, d in (("from", edge.start), ("to", edge.end))
        ],
    )
    if stats.times:
        print()
        print_table(
            [
                "type",
                "first",
                "last",
                "days",
                "days without",
                "weeks without",
                "longest gap",
                "in the future",
            ],
            [
                [
                    *(t.type, t.first, t.last, t.days, t.days_without, t.weeks_without),
                    f"{t.gaps[0].days} days from {t.gaps[0].first}" if t.gaps else "",
                    t.future,
                ]
                for t in stats.times
            ],
        )
    if stats.hubs:
        print()
        print_table(
            ["hub", "key", "type", "relationships", "share, %"],
            [
                [h.name or "", h.key, h.type, h.relationships, round(100 * h.share, 1)]
                for h in stats.hubs[:20]
            ],
        )
    if stats.unknown:
        say(f"not in this store: {', '.join(stats.unknown)}")


def _percent(part: int, whole: int) -> str:
    """Rounded, but never to all or none where that is not so."""
    share = 100 * part / max(whole, 1)
    if 0 < part < whole and not 0.1 <= share <= 99.9:
        return "< 0.1 %" if share < 0.1 else "> 99.9 %"
    return f"{share:.3g} %"
