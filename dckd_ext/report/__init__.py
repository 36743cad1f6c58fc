"""Evaluated runs side by side: tables with intervals, training curves and pictures."""

from dckd_ext.report.bootstrap import Estimate, bootstrap_mean
from dckd_ext.report.render import markdown, page
from dckd_ext.report.runs import Run, check_same_cases, read_run
from dckd_ext.report.tables import Comparison

__all__ = [
    "Comparison",
    "Estimate",
    "Run",
    "bootstrap_mean",
    "check_same_cases",
    "markdown",
    "page",
    "read_run",
]
