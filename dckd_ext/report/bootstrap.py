"""Confidence intervals over cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Estimate(NamedTuple):
    """A mean and the ends of its interval."""

    mean: float
    low: float
    high: float


def bootstrap_mean(
    values: Sequence[float] | np.ndarray, resamples: int = 10_000, level: float = 0.95, seed: int = 0
) -> Estimate:
    """Mean over cases with its percentile bootstrap interval.

    For a paired difference give the differences case by case. The interval is about the cases only: it knows
    nothing of what another training seed would give.

    Args:
        values: one number a case.
        resamples: draws of as many cases, with replacement.
        level: share of the draws' means inside the interval.
        seed: of the draws.

    Raises:
        ValueError: when there are no values.

    Example:
        >>> bootstrap_mean([1.0, 1.0, 1.0])
        Estimate(mean=1.0, low=1.0, high=1.0)
    """
    values = np.asarray(values, dtype=float)
    if values.size == 0:
        raise ValueError("cannot take the mean of no cases")
    drawn = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(values.mean()), float(low), float(high))
