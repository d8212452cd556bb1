"""Statistics and findings as one page that needs neither script nor network."""

from __future__ import annotations

from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from markupsafe import Markup

from kgdistill.graphcheck.model import Inspection
from kgdistill.graphcheck.plots import degree_plot, filled_plot, time_plot
from kgdistill.pages import put_page, templates

SEVERITIES = ("error", "warning", "note")


def write_page(inspection: Inspection, file: Path) -> Path:
    """Writes the page, in place of a former one.

    Raises:
        DiskError: it cannot be written; the former stays.
    """
    return put_page(file, page_html(inspection))


def page_html(inspection: Inspection) -> str:
    """The page as HTML; whatever the data say is shown as text."""
    stats = inspection.stats
    pages = templates("kgdistill.graphcheck")
    pages.filters |= {"count": _count, "moment": _moment}
    held = [edge for edge in stats.edges if edge.count]
    known = [node for node in stats.nodes if node.count and node.filled]
    # What matplotlib writes is its own SVG, its texts escaped.
    return pages.get_template("graph.html.j2").render(
        stats=stats,
        findings=inspection.findings,
        severities={s: sum(f.severity == s for f in inspection.findings) for s in SEVERITIES},
        held=held,
        nodes=sum(node.count for node in stats.nodes),
        relationships=sum(edge.count for edge in stats.edges),
        degrees=[(edge, Markup(degree_plot(edge))) for edge in held],
        times=[(times, Markup(time_plot(times))) for times in stats.times],
        whole=[node.label for node in known if min(node.filled.values()) == node.count],
        filled=[
            (node, Markup(filled_plot(node))) for node in known if min(node.filled.values()) < node.count
        ],
        version=version("kgdistill"),
    )


def _count(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def _moment(value: datetime) -> str:
    return f"{value:%Y-%m-%d %H:%M}".removesuffix(" 00:00")
