"""What the volumes were like that a network was trained on, and whether another one is far from that.

The standard library and numpy alone, since `dckd_ext.export.predict`, which is shipped by itself, takes this
module along. The page of `make web` has the same rule in web/src/known.ts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dckd_ext.data.grids import as_mm

__all__ = ["FACTOR", "far_notes", "intensities", "known_problem"]

FACTOR = 1.25
"""A value is far that is below the least of the training volumes by this factor, or above the greatest."""

_INTENSITIES = ("mean", "deviation")


def intensities(voxels: np.ndarray) -> dict[str, float]:
    """Return mean and standard deviation of scaled voxels, as they are before they are normalised."""
    return {"mean": float(voxels.mean(dtype=np.float64)), "deviation": float(voxels.std(dtype=np.float64))}


def far_notes(
    known: Mapping[str, Any] | None, extent: Sequence[float] | np.ndarray, seen: Mapping[str, float]
) -> list[str]:
    """Say what of a volume is far from the training volumes.

    Args:
        known: least and greatest of them: `extent`, mm, a pair an axis, and a pair for `mean` and `deviation`
            each, where they were normalised; None or nothing: no note.
        extent: of the volume as the network gets it, mm an axis.
        seen: its `intensities`, where there are any.

    Examples:
        >>> known = {"extent": [[31, 42], [40, 58], [24, 47]], "mean": [0.4, 0.6], "deviation": [0.2, 0.3]}
        >>> far_notes(known, (36, 50, 35), {"mean": 0.45, "deviation": 0.24})
        []
        >>> [note] = far_notes(known, (256, 256, 180), {})
        >>> note.partition(",")[0], note.partition(": ")[2]
        ('it extends over 256 x 256 x 180 mm', 'what is found in it may mean nothing')
    """
    if not known:
        return []
    notes = []
    if any(_far(edge, pair) for edge, pair in zip(extent, known["extent"], strict=True)):
        pairs = " x ".join(f"{low:g} to {high:g}" for low, high in known["extent"])
        notes.append(f"it extends over {as_mm(extent)}, the training volumes over {pairs} mm")
    for name in [name for name in _INTENSITIES if name in seen and name in known]:
        if _far(seen[name], known[name]):
            low, high = known[name]
            notes.append(
                f"the {name} of its scaled intensities is {seen[name]:.3g}, "
                f"of the training volumes {low:g} to {high:g}"
            )
    return [f"{note}: what is found in it may mean nothing" for note in notes]


def known_problem(known: Any) -> str | None:
    """Say what is wrong with what a bundle's metadata states; None if nothing is.

    Examples:
        >>> known_problem({"extent": [[31, 42]], "mean": [0.4, 0.6], "deviation": [0.2, 0.3]})
        'expected three pairs as extent, found [[31, 42]]'
    """
    if not isinstance(known, Mapping) or "extent" not in known or set(known) - {"extent", *_INTENSITIES}:
        return f"expected extent and, where there are any, {' and '.join(_INTENSITIES)}, found {known!r}"
    for name in known:
        pairs = known[name] if name == "extent" else [known[name]]
        if not isinstance(pairs, list) or len(pairs) != (3 if name == "extent" else 1):
            return f"expected three pairs as {name}, found {known[name]!r}"
        if not all(_is_pair(pair) for pair in pairs):
            return f"expected pairs of a least and a greatest number as {name}, found {known[name]!r}"
    return None


def _far(value: float, pair: Sequence[float]) -> bool:
    return not pair[0] / FACTOR <= value <= pair[1] * FACTOR


def _is_pair(pair: Any) -> bool:
    numbers = isinstance(pair, list) and len(pair) == 2 and all(isinstance(n, int | float) for n in pair)
    return numbers and 0 <= pair[0] <= pair[1]
