"""`python -m bench.suites`: our models and their peers under one protocol."""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.suites import SuiteOptions, run_suite, write_suite
from bench.suites.document import suite_table
from bench.suites.write import redraw_suite
from kgdistill.cli import main
from kgdistill.cli.options import JsonOption
from kgdistill.cli.output import print_json, say, shown
from kgdistill.models.device import choose_device

app = typer.Typer(
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def suites(
    suite: Annotated[
        str,
        typer.Option(
            "--suite",
            metavar="NAME|FOLDER",
            help="Which data and protocol: completejourney, office, chorus, or a folder with a suite.yaml.",
        ),
    ],
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How often ours are trained.")] = 3,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the figures go.")] = Path(
        "bench/results"
    ),
    work: Annotated[
        Path, typer.Option("--work", metavar="FOLDER", help="Where trained models are kept between starts.")
    ] = Path("runs/bench"),
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="FOLDER",
            envvar="KGDISTILL_DATA",
            help="For office it holds amazon_office/, for chorus chorus_icecat/; data/amazon_office.md and "
            "data/chorus.md say which files and how to make them. Complete Journey needs none, a folder of "
            "your own is the data. Left out: ../shared/data.",
        ),
    ] = None,
    peers: Annotated[bool, typer.Option("--peers/--no-peers", help="Fit the peers too.")] = True,
    ablate: Annotated[
        bool, typer.Option("--ablate", help="Train ours again with one piece removed at a time.")
    ] = False,
    ablate_seeds: Annotated[
        int | None,
        typer.Option("--ablate-seeds", min=1, help="That with so many of the seeds; left out: with each."),
    ] = None,
    recbole_seconds: Annotated[
        float,
        typer.Option("--recbole-seconds", min=0, help="How long a model of RecBole trains; 0 leaves it out."),
    ] = 240.0,
    rectools_seconds: Annotated[
        float,
        typer.Option("--rectools-seconds", min=0, help="The same of each training of RecTools' models."),
    ] = 300.0,
    decoys: Annotated[
        int,
        typer.Option(
            "--decoys",
            metavar="N",
            min=0,
            max=99,
            help="Of discovery: train and judge with so many unsold items for each new one that sells; 0 for "
            "what the suite says. Written as NAME-decoys.",
        ),
    ] = 0,
    second_encoder: Annotated[
        Path | None,
        typer.Option(
            "--second-encoder",
            metavar="FOLDER",
            help="Of search: the second peer's text encoder, in place of all-mpnet-base-v2 from PyPI.",
        ),
    ] = None,
    redraw: Annotated[
        bool,
        typer.Option("--redraw", help="Only write table and plots again, from the document in --out."),
    ] = False,
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda or mps.")] = "auto",
    threads: Annotated[int, typer.Option("--threads", min=0, help="CPU threads, 0 for all.")] = 0,
    json: JsonOption = False,
) -> None:
    """Train and judge every arm of a suite; write document, scores of every unit, table and plots.

    Hyper-parameters are chosen on validation; the test split is read once per
    arm, and the front of new items looks at it with every lift. Started again, finished
    models and peers are kept.

    \b
    Examples:
      python -m bench.suites --suite office --data datasets
      python -m bench.suites --suite completejourney --ablate --out bench/results
      python -m bench.suites --suite chorus --json
      python -m bench.suites --suite my-shop --seeds 1
      python -m bench.suites --suite office-decoys --redraw
    """
    if redraw:
        for place in redraw_suite(suite, out).values():
            say(shown(place))
        return
    choose_device(device)
    options = SuiteOptions(
        data=data,
        work=work,
        seeds=tuple(range(seeds)),
        peers=peers,
        ablate=ablate,
        ablate_seeds=ablate_seeds,
        device=device,
        threads=threads,
        recbole_seconds=recbole_seconds,
        rectools_seconds=rectools_seconds,
        decoys=decoys,
        second_encoder="" if second_encoder is None else str(second_encoder),
    )
    result = run_suite(suite, options)
    places = write_suite(result, out)
    if json:
        print_json({"suite": result.suite, "files": places})
        return
    print(suite_table(json_module.loads(places["document"].read_text(encoding="utf-8"))))
    for place in places.values():
        say(shown(place))


if __name__ == "__main__":
    sys.exit(main(None, app, "python -m bench.suites"))
