"""What a process has of the memory, and the largest window that fits into what it may have."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from math import ceil, prod
from pathlib import Path

import numpy as np

__all__ = ["fitting_window", "peak_bytes", "resident_bytes", "window_bytes"]

_SMALLEST = 16  # voxels an edge of a window; below, networks with five levels have nothing left to look at


def resident_bytes() -> int | None:
    """Return the memory that this process has now; None where the system does not say (Linux does)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def peak_bytes() -> int | None:
    """Return the most that it has had."""
    try:
        return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        return None


def window_bytes(network: Callable[[np.ndarray], np.ndarray], channels: int, roi: Sequence[int]) -> float:
    """Return the bytes a voxel that a network takes for a window, seen with one; 0 where nobody says."""
    before = resident_bytes()
    network(np.zeros((1, channels, *roi), np.float32))
    after = resident_bytes()
    return 0.0 if before is None or after is None else max(0, after - before) / prod(roi)


def fitting_window(
    roi: Sequence[int], step: Sequence[int], bytes_a_voxel: float, free: float
) -> list[int] | None:
    """Return a window, the longest edge halved as often as needed; None if none is small enough.

    Args:
        roi: the window that is wanted.
        step: its edges stay multiples of this.
        bytes_a_voxel: see `window_bytes`.
        free: bytes that it may take.

    Examples:
        >>> fitting_window([96, 128, 96], [1, 1, 1], 1000, 1e9)
        [96, 64, 96]
    """
    edges = list(roi)
    while prod(edges) * bytes_a_voxel > free:
        axis = max(range(3), key=edges.__getitem__)
        half = ceil(edges[axis] / 2 / step[axis]) * step[axis]
        if half < _SMALLEST or half >= edges[axis]:
            return None
        edges[axis] = half
    return edges
