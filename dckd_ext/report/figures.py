"""Figures of scores case by case: their distribution, volumes that agree, one run against another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dckd_ext.report.runs import Run
from dckd_ext.report.tables import Comparison

__all__ = ["draw_agreement", "draw_comparisons", "draw_distribution", "outliers"]

_PANEL = 3.6  # inches


def outliers(run: Run) -> dict[str, float]:
    """Return the cases whose mean Dice lies more than 1.5 interquartile ranges below the lower quartile.

    Tukey's rule, as in the whiskers of a box plot.
    """
    dice = run.scores["dice_mean"]
    low, high = np.percentile(dice, [25, 75])
    least = low - 1.5 * (high - low)
    return {case: float(value) for case, value in zip(run.cases, dice, strict=True) if value < least}


def draw_distribution(runs: Sequence[Run]) -> Figure:
    """Draw the mean Dice of every case, a column of points and a box a run; outliers are named."""
    figure = Figure(figsize=(max(5, 1.7 * len(runs) + 1.5), 4), layout="constrained")
    panel = figure.subplots()
    generator = np.random.default_rng(0)  # of the places across, so that points do not hide each other
    for place, run in enumerate(runs):
        dice = run.scores["dice_mean"]
        panel.boxplot(dice, positions=[place], widths=0.5, showfliers=False, medianprops={"color": "black"})
        across = place + generator.uniform(-0.15, 0.15, len(dice))
        panel.plot(across, dice, ".", color=f"C{place}", alpha=0.6)
        for case, value in outliers(run).items():
            panel.annotate(
                case,
                (across[run.cases.index(case)], value),
                fontsize=7,
                xytext=(5, -2),
                textcoords="offset points",
            )
    panel.set_xticks(range(len(runs)), [run.name for run in runs])
    panel.set(xlim=(-0.6, len(runs) - 0.4), ylabel="mean Dice of a case")
    panel.grid(axis="y", alpha=0.3)
    return figure


def draw_agreement(runs: Sequence[Run]) -> Figure | None:
    """Draw Bland-Altman plots of volumes in ml, a panel a class and run; None where runs have none."""
    measured = [run for run in runs if f"ml_{run.classes[0]}" in run.scores]
    if not measured:
        return None
    classes = measured[0].classes
    size = (_PANEL * len(classes) + 0.5, 0.8 * _PANEL * len(measured))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(measured), len(classes), squeeze=False, sharex="col", sharey="col")
    for row, run in zip(panels, measured, strict=True):
        for panel, name in zip(row, classes, strict=True):
            _agreement(panel, run.scores[f"ml_{name}"], run.scores[f"true_ml_{name}"])
            panel.set_title(f"{run.name}: {name}", fontsize=10)
    for panel in panels[-1]:
        panel.set_xlabel("mean of segmented and true volume, ml")
    for row in panels:
        row[0].set_ylabel("segmented - true, ml")
    return figure


def _agreement(panel: Axes, found: np.ndarray, true: np.ndarray) -> None:
    difference = found - true
    panel.plot((found + true) / 2, difference, ".", alpha=0.7)
    bias, spread = difference.mean(), 1.96 * difference.std(ddof=1) if len(difference) > 1 else 0.0
    panel.axhline(0, color="grey", linewidth=0.8)
    panel.axhline(bias, color="black", linewidth=1.2)
    for limit in (bias - spread, bias + spread):
        panel.axhline(limit, color="black", linestyle="--", linewidth=1)
    panel.grid(alpha=0.2)


def draw_comparisons(comparisons: Sequence[Comparison]) -> Figure | None:
    """Draw the Dice of one run against that of the other, a point a case and a panel a comparison."""
    if not comparisons:
        return None
    figure = Figure(figsize=(_PANEL * len(comparisons), _PANEL), layout="constrained")
    for panel, pair in zip(figure.subplots(1, len(comparisons), squeeze=False)[0], comparisons, strict=True):
        across, upright = pair.other.scores["dice_mean"], pair.one.scores["dice_mean"]
        ends = [min(across.min(), upright.min()) - 0.01, max(across.max(), upright.max()) + 0.01]
        panel.plot(ends, ends, color="grey", linewidth=0.8)
        panel.plot(across, upright, ".", alpha=0.7)
        panel.set(
            xlabel=f"Dice of {pair.other.name}", ylabel=f"Dice of {pair.one.name}", xlim=ends, ylim=ends
        )
        panel.set_aspect("equal")
        panel.grid(alpha=0.2)
    return figure
