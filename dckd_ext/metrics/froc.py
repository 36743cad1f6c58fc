"""The free-response curve: lesions found against false positives a volume."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from monai.metrics import compute_froc_curve_data, compute_froc_score

from dckd_ext.utils.tables import read_table, write_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["RATES", "Froc", "draw_froc", "froc_curve", "read_froc_csv", "write_froc_csv"]

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # false positives a volume at which the curve is read
_COLUMNS = ("threshold", "false_positives_per_volume", "sensitivity")


@dataclass(frozen=True)
class Froc:
    """Points of the curve, thresholds rising.

    Args:
        thresholds: of the score; infinite at the last point, where nothing is left.
        false_positives: a volume, at each threshold.
        sensitivity: share of the lesions found at each threshold.
    """

    thresholds: np.ndarray
    false_positives: np.ndarray
    sensitivity: np.ndarray

    def at(self, rate: float) -> float:
        """Return the sensitivity at so many false positives a volume, between points by a straight line.

        Beyond the curve's end, where the candidates are exhausted, it is that of the end.
        """
        return float(compute_froc_score(self.false_positives, self.sensitivity, (rate,)))

    @property
    def score(self) -> float:
        """The mean sensitivity over `RATES`."""
        return float(compute_froc_score(self.false_positives, self.sensitivity, RATES))


def froc_curve(lesions: Sequence[float], false_positives: Sequence[float], volumes: int) -> Froc | None:
    """Compute the curve of MONAI's ``compute_froc_curve_data``.

    Args:
        lesions: for each true lesion the highest score of the candidates that find it, 0 if none does.
        false_positives: the score of each false positive.
        volumes: how many were read, those without lesion or candidate included.

    Returns:
        The curve, or None when there are no lesions.

    Examples:
        >>> curve = froc_curve([0.9, 0.4, 0.0], [0.5, 0.3], volumes=2)
        >>> curve.false_positives.tolist(), curve.at(0.5)
        ([1.0, 0.5, 0.5, 0.0, 0.0], 0.6666666666666666)
    """
    if not lesions:
        return None
    # MONAI leaves out the lowest score, which it takes for that of the lesions never found: make sure it is
    true, false = np.array([*lesions, 0.0]), np.array(false_positives, float)
    rates, sensitivity = compute_froc_curve_data(false, true, num_targets=len(lesions), num_images=volumes)
    thresholds = np.append(np.unique(np.concatenate([true, false]))[1:], np.inf)
    return Froc(thresholds, rates, sensitivity)


def write_froc_csv(curve: Froc, path: str | os.PathLike[str]) -> None:
    """Write ``threshold, false_positives_per_volume, sensitivity``, one row a point."""
    points = zip(curve.thresholds, curve.false_positives, curve.sensitivity, strict=True)
    rows = ((f"{value:.6g}" for value in point) for point in points)
    write_table(Path(path), _COLUMNS, (dict(zip(_COLUMNS, row, strict=True)) for row in rows))


def read_froc_csv(path: str | os.PathLike[str]) -> Froc:
    """Read what `write_froc_csv` wrote.

    Raises:
        ValueError: when it is something else; names the file.
    """
    rows = read_table(Path(path), _COLUMNS)
    try:
        points = [[float(row[name]) for name in _COLUMNS] for row in rows]
    except ValueError as error:
        raise ValueError(f"{path}: expected numbers, found something else: {error}") from error
    return Froc(*np.array(points).reshape(-1, len(_COLUMNS)).T)


def draw_froc(files: Mapping[str, str | os.PathLike[str]]) -> Figure | None:
    """Draw curves from their CSV files, by name; the false positives on a logarithmic axis over `RATES`.

    Returns:
        The figure, or None when there are no files.

    Raises:
        ImportError: without matplotlib (``pip install dckd-ext[report]``).
    """
    from matplotlib.figure import Figure

    if not files:
        return None
    figure = Figure(figsize=(5, 4), layout="constrained")
    panel = figure.add_subplot()
    for number, (name, path) in enumerate(files.items()):
        curve = read_froc_csv(path)
        fine = np.geomspace(RATES[0], RATES[-1], 200)
        panel.plot(fine, [curve.at(rate) for rate in fine], color=f"C{number}", label=name)
        panel.plot(RATES, [curve.at(rate) for rate in RATES], "o", color=f"C{number}")
    panel.set_xscale("log", base=2)
    panel.set_xticks(RATES, [f"{rate:g}" for rate in RATES])
    panel.set(xlabel="false positives a volume", ylabel="share of the lesions found", ylim=(0, 1.02))
    panel.grid(alpha=0.3)
    panel.legend(fontsize=8)
    return figure
