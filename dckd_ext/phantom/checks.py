"""Checks of arguments."""

from __future__ import annotations

import numpy as np

__all__ = ["are_numbers", "expect", "is_whole"]


def is_whole(value: object, least: int) -> bool:
    """Tell whether it is a whole number of at least that."""
    return isinstance(value, (int, np.integer)) and bool(value >= least)


def expect(condition: bool, otherwise: str) -> None:
    """Raise a ValueError with this text unless the condition holds."""
    if not condition:
        raise ValueError(otherwise)


def are_numbers(values: object, count: int) -> bool:
    """Tell whether it is a sequence of that many finite numbers."""
    try:
        numbers = np.array(values, dtype=float)
    except (TypeError, ValueError):
        return False
    return numbers.shape == (count,) and bool(np.isfinite(numbers).all())
