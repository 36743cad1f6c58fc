"""Evaluated runs side by side: tables with intervals, training curves and pictures."""

from .bootstrap import Estimate, bootstrap_mean
from .page import markdown, page
from .runs import Run, check_same_cases, read_run
from .tables import Comparison

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
