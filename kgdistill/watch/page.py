"""The curves of every topic with its surges, as one page that needs neither script nor network."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone, tzinfo
from importlib.metadata import version
from pathlib import Path

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure

from kgdistill.pages import put_page, templates
from kgdistill.plotting import DASHES, INK, SERIES, STYLE, svg
from kgdistill.watch.watcher import Alert, Watcher, in_zone

_MOST_TOPICS, _POINTS = 30, 250


def write_page(watcher: Watcher, file: Path, source: str) -> Path:
    """Writes the page, in place of a former one.

    Args:
        watcher: what it shows.
        file: the page.
        source: what was watched, in words.

    Raises:
        DiskError: it cannot be written; the former stays.
    """
    return put_page(file, page_html(watcher, source))


def page_html(watcher: Watcher, source: str) -> str:
    """The page as HTML; whatever the data say is shown as text."""
    pages = templates("kgdistill.watch")
    shown = sorted(watcher.curves, key=lambda t: (-sum(row[2] for row in watcher.curves[t]), t))[
        :_MOST_TOPICS
    ]
    # What matplotlib writes is its own SVG, its texts escaped.
    return pages.get_template("watch.html.j2").render(
        source=source,
        version=version("kgdistill"),
        alerts=watcher.alerts,
        counts=watcher.counts,
        told=watcher.told[::-1],
        going=watcher.going,
        zone=watcher.clock.zone,
        clock=lambda text: in_zone(text, watcher.clock.zone),
        topics=len(watcher.topics),
        plots=[(topic, Markup(_plot(watcher, topic, place))) for place, topic in enumerate(shown)],
    )


def _plot(watcher: Watcher, topic: str, place: int) -> str:
    """Negatives in each window, and how many were expected; surges are shaded."""
    curve = watcher.curves[topic]
    together = max(1, -(-len(curve) // _POINTS))
    parts = [curve[i : i + together] for i in range(0, len(curve), together)]
    at = [_number(watcher.clock.start(int(part[0][0])), watcher.clock.zone) for part in parts]
    seen = [sum(row[1] for row in part) for part in parts]
    usual = [sum(row[3] for row in part) for part in parts]
    with rc_context(STYLE):
        figure = Figure(figsize=(4.7, 2.2), layout="constrained")
        axes = figure.subplots()
        for since, until in _surges(watcher, topic, at[-1]):
            axes.axvspan(since, until, color=SERIES[1], alpha=0.25, linewidth=0)
        axes.plot(at, seen, color=SERIES[0], linestyle=DASHES[0], linewidth=1, label=watcher.alerts.said)
        axes.plot(at, usual, color=INK, linestyle=DASHES[1], linewidth=1, label="usual")
        axes.set_ylim(bottom=0)
        locator = AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        axes.set_ylabel("statements" if together == 1 else f"in {together} windows")
        axes.legend()
        told = f"{sum(seen):,.0f} {watcher.alerts.said} statements, {sum(usual):,.0f} usual"
        return svg(figure, f"topic-{place}", f"{topic}: {told}, in {len(curve):,} windows.")


def _surges(watcher: Watcher, topic: str, end: float) -> list[tuple[float, float]]:
    """The surges that were told, as spans of a time axis."""
    spans: list[tuple[float, float]] = []
    start: Alert | None = None
    zone = watcher.clock.zone
    for alert in watcher.told:
        if alert.topic == topic and alert.kind == "surge":
            start = alert
        elif alert.topic == topic and start is not None:
            spans.append((_moment(start.since, zone), _moment(alert.until, zone)))
            start = None
    return (
        spans
        if start is None
        else [
            *spans,
            (_moment(start.since, zone), max(end, _moment(start.until, zone))),
        ]
    )


def _moment(text: str, zone: tzinfo) -> float:
    return float(date2num(datetime.fromisoformat(in_zone(text, zone))))  # type: ignore[no-untyped-call]


def _number(seconds: int, zone: tzinfo) -> float:
    when = (datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=seconds)).astimezone(zone)
    return float(date2num(when.replace(tzinfo=None)))  # type: ignore[no-untyped-call]
