"""Confidence intervals over cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Estimate", "bootstrap_mean", "bootstrap_seeds_and_cases"]


class Estimate(NamedTuple):
    """A mean and the ends of its interval."""

    mean: float
    low: float
    high: float


def bootstrap_mean(
    values: Sequence[float] | np.ndarray, resamples: int = 10_000, level: float = 0.95, seed: int = 0
) -> Estimate:
    """Estimate the mean over cases, with its percentile bootstrap interval.

    For a paired difference give the differences case by case. The interval is about the cases only: it knows
    nothing of what another training seed would give.

    Args:
        values: one number a case.
        resamples: draws of as many cases, with replacement.
        level: share of the draws' means inside the interval.
        seed: of the draws.

    Raises:
        ValueError: when there are no values.

    Examples:
        >>> bootstrap_mean([1.0, 1.0, 1.0])
        Estimate(mean=1.0, low=1.0, high=1.0)
    """
    values = np.asarray(values, dtype=float)
    if values.size == 0:
        raise ValueError("cannot take the mean of no cases")
    drawn = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(values.mean()), float(low), float(high))


def bootstrap_seeds_and_cases(
    values: np.ndarray, resamples: int = 10_000, level: float = 0.95, seed: int = 0
) -> Estimate:
    """Estimate the mean over seeds and cases; the percentile bootstrap draws both anew, each by itself.

    For a paired difference give the differences seed by seed and case by case. With few seeds the interval is
    too narrow rather than too wide.

    Args:
        values: shape (seeds, cases).
        resamples: draws of as many seeds and as many cases, with replacement.
        level: share of the draws' means inside the interval.
        seed: of the draws.

    Raises:
        ValueError: when there are no values, or they are no table.

    Examples:
        >>> bootstrap_seeds_and_cases(np.ones((2, 3)))
        Estimate(mean=1.0, low=1.0, high=1.0)
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"expected a table of seeds x cases, found the shape {values.shape}")
    draw = np.random.default_rng(seed)
    # how often each was drawn, as weights: a mean over drawn seeds and cases is a product with both
    seeds, cases = (_drawn_shares(draw, size, resamples) for size in values.shape)
    means = np.einsum("rs,sc,rc->r", seeds, values, cases, optimize=True)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(values.mean()), float(low), float(high))


def _drawn_shares(draw: np.random.Generator, size: int, resamples: int) -> np.ndarray:
    return draw.multinomial(size, np.full(size, 1 / size), resamples) / size
