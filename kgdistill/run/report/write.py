"""Writes report.html and report.md."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from kgdistill.pages import templates
from kgdistill.run.base import RunBase
from kgdistill.run.report.cards import recommended
from kgdistill.run.report.environment import environment
from kgdistill.run.report.plots import gains_plot, setting_plot, training_plot
from kgdistill.run.report.run import ReportedInterval, ReportedRun, read_run
from kgdistill.run.report.words import (
    BEYOND,
    best_mean,
    best_words,
    cautions,
    choice_sentences,
    controls,
    difference,
    gate_sentences,
    headline,
    headline_arm,
    lift_sentences,
    meaning,
    metric_title,
    outcome,
    setting_title,
    verdict,
)
from kgdistill.run.stages import write_private

_USERS_SHOWN = 3
_PRODUCTS_SHOWN = 3


def write_report(run_dir: str | Path) -> tuple[Path, Path]:
    """Writes a run's report from what the run folder holds.

    report.html is one file that needs neither script nor network; report.md carries the same text and
    tables without the plots. What the run left out is left out here too.

    Args:
        run_dir: a run folder whose models were judged.

    Returns:
        The paths of report.html and report.md.

    Raises:
        ArtefactError: it is no such folder; what was judged no longer fits, or is damaged.
        InputError: nothing can judge it.
    """
    run = read_run(Path(run_dir))
    if not run.explained and (run.folder / "bundle").is_dir():
        run = replace(run, explained=recommended(RunBase.open(run.folder)))
    context = _context(run)
    return (
        _write(run.folder / "report.html", _render("report.html.j2", context, escape=True)),
        _write(run.folder / "report.md", _render("report.md.j2", context, escape=False)),
    )


def _context(run: ReportedRun) -> dict[str, Any]:
    metrics = run.metrics
    plots = [
        training_plot(name, run.titles[name], rows, run.kept[name]) for name, rows in run.histories.items()
    ]
    bars = {setting: setting_plot(metrics, setting) for setting in metrics.protocol.settings}
    picture = ""
    if run.picture is not None:
        picture = "data:image/png;base64," + base64.b64encode(run.picture.read_bytes()).decode("ascii")
    measures = list(dict.fromkeys(m for row in metrics.beyond_accuracy.values() for m in row))
    return {
        "metrics": metrics,
        "own": headline_arm(metrics),
        "headline": headline(metrics),
        "verdict": verdict(metrics),
        "meaning": meaning(metrics.protocol.headline),
        "beyond": BEYOND,
        "cautions": cautions(metrics),
        "controls": controls(metrics),
        "gates": gate_sentences(run),
        "choices": choice_sentences(run),
        "lifts": lift_sentences(run),
        "trainings": [
            (run.titles[name], Markup(plot))  # matplotlib's own SVG, its texts escaped
            for name, plot in zip(run.histories, plots, strict=True)
            if plot
        ],
        "histories": run.histories,
        "kept": run.kept,
        "training_titles": run.titles,
        "bars": {setting: Markup(plot) for setting, plot in bars.items()},
        "gains": Markup(gains_plot(metrics)),
        "measures": measures,
        "bold": best_words(name for s in metrics.protocol.settings for name in metrics.metric_names(s)),
        "commands": _commands(run.folder),
        "explained": [
            (user, sorted(user.recommendations, key=lambda r: r.rank)[:_PRODUCTS_SHOWN])
            for user in run.explained[:_USERS_SHOWN]
        ],
        "picture": picture,
        "manifest": run.manifest,
        "config": json.dumps(run.config, indent=2, ensure_ascii=False),
        "environment": environment(run.config),
        "folder": run.folder.name,
    }


def _render(template: str, context: dict[str, Any], *, escape: bool) -> str:
    pages = templates("kgdistill.run.report", escape=escape)
    pages.filters |= {
        "metric": metric_title,
        "setting": setting_title,
        "md": _markdown,
        "number": _number,
        "day": _day,
        "difference": difference,
        "outcome": outcome,
        "meaning": meaning,
    }
    pages.globals |= {"best": best_mean, "is_interval": lambda value: isinstance(value, ReportedInterval)}
    return pages.get_template(template).render(context)


def _number(value: float | None, digits: int = 3) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) >= 1000 else f"{value:,.{digits}f}"


def _day(moment: str) -> str:
    """A time without its clock where that says midnight."""
    return re.sub(r"T00:00(:00(\.0+)?)?(Z|[+-]00:00)?$", "", moment)


def _markdown(value: object) -> str:
    """Text that a Markdown reader shows as it stands, also inside a table."""
    text = " ".join(str(value).split())
    text = re.sub(r"([\\`*_\[\]|])", r"\\\1", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _write(path: Path, text: str) -> Path:
    write_private(path, text.encode())  # it says what is recommended to whom
    return path


def _commands(folder: Path) -> str:
    """What makes the run anew; only the demo leaves explanations of its own."""
    if not (folder / "explanations.json").is_file():
        return (
            "kgdistill fit --run NEW --config config.json --store STORE   # this run's config.json\n"
            "kgdistill evaluate --run NEW"
        )
    return "make demo\nkgdistill demo --help   # sample size, seed, device, store and run folder"
