"""The report of a run: one self-contained HTML file and its Markdown twin."""

from kgdistill.run.report.table import metrics_table
from kgdistill.run.report.write import write_report

__all__ = ["metrics_table", "write_report"]
