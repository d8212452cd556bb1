"""The report of a run: one self-contained HTML file and its Markdown twin."""

from kgdistill.evaluate.report._write import write_report
from kgdistill.evaluate.report.table import metrics_table

__all__ = ["metrics_table", "write_report"]
