"""Grids of voxels in the world: how far apart they lie, how large they may become, the nearest voxel.

A grid is a shape, ``(X, Y, Z)``, and an affine, 4 x 4, from indices to mm: right, anterior, superior.
numpy alone, since `dckd_ext.export.predict`, which is shipped by itself, takes this module along.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

__all__ = [
    "CHUNK",
    "MAX_VOXELS",
    "TOLERANCE",
    "Grid",
    "as_mm",
    "check_resampling",
    "corner_distance",
    "extent_problem",
    "nearest",
    "parts",
    "places",
    "resample_back",
    "same_grid",
    "slabs",
    "three_positive",
    "voxel_edges",
]

TOLERANCE = 0.25
"""Grids are the same place where no corner is farther off than this part of the smallest voxel edge."""
MAX_VOXELS = 10**9
"""Of a resampled volume, unless the resampling is told another number."""
CHUNK = 2**19
"""Voxels that are worked on at once."""

_BYTES = 60  # a voxel: what resampling and normalisation by MONAI take at their peak, 57 measured
_SAME = 1e-3  # MONAI's AFFINE_TOL: affines that agree so far are not resampled
_TIES = 2.0**20  # places are whole multiples of a 2**20th of a voxel


Lengths = Sequence[float] | np.ndarray


class Grid(NamedTuple):
    """Where the voxels of a volume lie."""

    shape: tuple[int, ...]
    affine: np.ndarray


def voxel_edges(affine: np.ndarray) -> np.ndarray:
    """Return the length of a voxel's three edges, mm.

    Examples:
        >>> voxel_edges(np.diag([-2.0, 1.0, 0.5, 1.0])).tolist()
        [2.0, 1.0, 0.5]
    """
    return np.sqrt((np.asarray(affine, float)[:3, :3] ** 2).sum(axis=0))


def corner_distance(one: Grid, other: Grid) -> float:
    """Return the greatest distance of the centres of the eight corner voxels, mm; shapes may differ.

    Examples:
        >>> corner_distance(Grid((11, 5, 5), np.eye(4)), Grid((11, 5, 5), np.diag([1.1, 1, 1, 1])))
        1.0
    """
    places = (_corners(grid.shape) @ np.asarray(grid.affine)[:3].T for grid in (one, other))
    return round(float(np.linalg.norm(np.subtract(*places), axis=1).max()), 9)


def extent_problem(shape: Sequence[int], spacing: Lengths, max_extent: Lengths) -> str | None:
    """Say what is wrong with a volume that is larger than can be; None if it is not.

    Args:
        shape: voxels an axis, the three spatial axes first.
        spacing: mm an axis.
        max_extent: mm an axis.

    Examples:
        >>> extent_problem((865, 682, 354), (0.2, 0.073, 0.475674), (200, 60, 250))
    """
    extent = [size * edge for size, edge in zip(shape[:3], spacing, strict=False)]
    if all(found <= most for found, most in zip(extent, max_extent, strict=False)):
        return None
    return (
        f"{' x '.join(map(str, shape[:3]))} voxels of {as_mm(spacing)} extend over {as_mm(extent)}, expected "
        f"at most {as_mm(max_extent)} along the stored axes: a wrong spacing, or exchanged axes?"
    )


def check_resampling(
    shape: Sequence[int],
    spacing: Lengths,
    size: Sequence[int] | np.ndarray,
    target: Lengths,
    max_voxels: int | None = None,
) -> None:
    """Refuse, before anything is allocated, a resampling that cannot be meant.

    Args:
        shape: voxels an axis.
        spacing: mm an axis.
        size: voxels an axis afterwards.
        target: mm an axis afterwards.
        max_voxels: the most voxels to make; by default `MAX_VOXELS`, or what this machine's memory can hold.

    Raises:
        ValueError: when there would be more voxels than that, or one voxel only of a volume that has more.
    """
    most = max_voxels or int(min(MAX_VOXELS, _memory() / _BYTES))
    count = float(np.prod(np.asarray(size, float)))
    if count <= most and not (count == 1 < np.prod(np.asarray(shape, float))):
        return
    expected = f"at most {most:.4g}" if count > most else "more than one"
    raise ValueError(
        f"{' x '.join(map(str, shape))} voxels of {as_mm(spacing)} would become "
        f"{' x '.join(map(str, size))} of {as_mm(target)}, {count:.4g} in all, expected {expected}. Does the "
        "header state the true spacing and its unit? If so, choose another spacing or max_voxels"
    )


def same_grid(one: Grid, other: Grid) -> bool:
    """Say whether two grids agree so far that nothing is resampled between them, as MONAI decides it."""
    between = np.linalg.solve(one.affine, other.affine)
    alike = np.allclose(one.affine, other.affine, atol=_SAME) or np.allclose(between, np.eye(4), atol=_SAME)
    return bool(alike) and tuple(one.shape) == tuple(other.shape)


def resample_back(mask: np.ndarray, at: Grid, native: Grid) -> np.ndarray:
    """Bring a mask from the grid that it was found on back to the grid of its image, by nearest voxel."""
    if same_grid(at, native):
        return mask
    return nearest(mask, np.linalg.solve(at.affine, native.affine), native.shape)


def nearest(volume: np.ndarray, matrix: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Return the voxels of a volume that are nearest to ``matrix`` times the indices of a grid.

    A place halfway between two voxels, give or take a millionth of one, goes to the one with the even index,
    so that rounding in an affine decides nothing. Places outside go to the edge.

    Examples:
        >>> nearest(np.array([[[0, 1, 2, 3]]]), np.diag([1, 1, 0.5, 1]), (1, 1, 7)).tolist()
        [[[0, 0, 1, 2, 2, 2, 3]]]
    """
    out = np.empty(size, volume.dtype)
    for rows, place in places(matrix, size):
        index = (
            np.rint(np.rint(axis * _TIES) / _TIES).clip(0, count - 1).astype(np.intp)
            for axis, count in zip(place, volume.shape, strict=True)
        )
        out[rows] = volume[tuple(index)]
    return out


def places(matrix: np.ndarray, size: Sequence[int]) -> Iterator[tuple[slice, list[np.ndarray]]]:
    """Yield ``matrix`` times the indices of a grid, a slab of its first axis at a time.

    Yields:
        The slab, and three arrays of its shape, one an axis.
    """
    for rows in slabs(size[0], int(np.prod(size))):
        x, y, z = np.ogrid[rows, : size[1], : size[2]]
        yield rows, [row[0] * x + row[1] * y + row[2] * z + row[3] for row in np.asarray(matrix)[:3]]


def slabs(length: int, voxels: int) -> Iterator[slice]:
    """Cut an axis of a volume of so many voxels into slabs of about `CHUNK` voxels."""
    step = max(1, CHUNK * length // max(1, voxels))
    return (slice(start, min(start + step, length)) for start in range(0, length, step))


def parts(volume: np.ndarray) -> Iterator[np.ndarray]:
    """Yield a volume in parts of about `CHUNK` voxels along its longest axis, to look at one by one."""
    axis = int(np.argmax(volume.shape))
    for slab in slabs(volume.shape[axis], volume.size) if volume.size else ():
        yield volume[(slice(None),) * axis + (slab,)]


def as_mm(edges: Lengths) -> str:
    """Write lengths along the axes for a text.

    Examples:
        >>> as_mm([0.2, 0.073, 0.475674])
        '0.2 x 0.073 x 0.4757 mm'
    """
    return " x ".join(f"{edge:.4g}" for edge in edges) + " mm"


def three_positive(name: str, values: Sequence[float] | None) -> tuple[float, ...] | None:
    """Return three lengths as floats, or None for None.

    Raises:
        ValueError: when they are no three positive numbers.
    """
    if values is None:
        return None
    try:
        numbers = tuple(map(float, values))
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != 3 or not all(0 < number < np.inf for number in numbers):
        raise ValueError(f"{name}: expected three positive numbers (mm, one a stored axis), found {values}")
    return numbers


def _corners(shape: Sequence[int]) -> np.ndarray:
    return np.array([(*corner, 1.0) for corner in product(*((0.0, n - 1.0) for n in shape[:3]))])


def _memory() -> float:
    """Bytes of this machine's memory; without a limit where the system does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return float("inf")
