"""Results as a table in the terminal, a page for the browser and a picture for the README."""

from privfed.report.findings import Finding, findings
from privfed.report.html import render_html, write_report
from privfed.report.load import load_results
from privfed.report.readme import readme_picture, readme_table
from privfed.report.terminal import terminal_table

__all__ = [
    "Finding",
    "findings",
    "load_results",
    "readme_picture",
    "readme_table",
    "render_html",
    "terminal_table",
    "write_report",
]
