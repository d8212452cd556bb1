"""The arm by metric table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from kgdistill.errors import ArtefactError
from kgdistill.run.report.run import Metrics, ReportedInterval
from kgdistill.run.report.words import best_mean, headline_arm, lower_is_better, metric_title, setting_title

# So many stand side by side in 130 cells of a terminal.
_COLUMNS = 4


def metrics_table(metrics: Mapping[str, Any]) -> Group:
    """Every arm's metrics with their intervals, one section per setting; many metrics in several tables.

    Args:
        metrics: the content of `evaluate/metrics.json`.

    Raises:
        ArtefactError: `metrics` lacks something that the table shows.
    """
    try:
        found = Metrics.model_validate(metrics)
    except ValueError as error:
        hint = "delete the stage evaluate of the run, then: kgdistill evaluate"
        raise ArtefactError(f"the metrics cannot be read: {error}", hint=hint) from error
    protocol = found.protocol
    names = list(dict.fromkeys(m for s in protocol.settings for m in found.metric_names(s)))
    parts = [names[i : i + _COLUMNS] for i in range(0, max(len(names), 1), _COLUMNS)]
    title = f"{protocol.name}; {protocol.bootstrap.level:.0%} intervals over {protocol.units}"
    return Group(*(_table(found, part, "" if i else title) for i, part in enumerate(parts)))


def _table(found: Metrics, names: list[str], title: str) -> Table:
    table = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("arm", min_width=26)
    for name in names:
        table.add_column(metric_title(name), justify="right")
    if low := [metric_title(name) for name in names if lower_is_better(name)]:
        table.caption, table.caption_justify = f"{', '.join(low)}: lower is better", "left"
    own = headline_arm(found).arm
    for setting, size in found.protocol.settings.items():
        table.add_section()
        heading = f"{setting_title(setting)}, {size.users:,} {found.protocol.units}"
        table.add_row(Text(heading, style="italic"), *("" for _ in names))
        best = {n: best_mean(found, setting, n) for n in names}
        for arm in found.arms:
            values = arm.settings.get(setting, {})
            cells = [_cell(values.get(n), best.get(n)) for n in names]
            table.add_row(Text(arm.title, style="bold" if arm.arm == own else ""), *cells)
    return table


def _cell(interval: ReportedInterval | None, best: float | None) -> Text:
    if interval is None:
        return Text("–")
    low, high = (f"{v:.4f}".replace("0.", ".", 1) for v in (interval.low, interval.high))
    return Text(f"{interval.mean:.4f} [{low} {high}]", style="bold" if interval.mean == best else "")
