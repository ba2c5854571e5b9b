"""The report of a run: one HTML file that needs nothing else, to look at offline."""

from stillsplat.report.build import write_report

__all__ = ["write_report"]
