"""Intensities as MONAI's transforms scale them, and boxes as they cut and pad them, with numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["crop_foreground", "normalize_channels", "scale", "scale_range", "spatial_pad"]


def scale_range(
    voxels: np.ndarray,
    affine: np.ndarray,
    a_min: float,
    a_max: float,
    b_min: Any,
    b_max: Any,
    clip: bool,
) -> tuple[np.ndarray, np.ndarray, Any]:
    """Do as MONAI's ScaleIntensityRange."""
    voxels = voxels.astype(np.float32)
    if a_min == a_max:
        return voxels - np.float32(a_min) + np.float32(b_min or 0), affine, _as_it_is
    voxels = (voxels - np.float32(a_min)) / np.float32(a_max - a_min)
    if b_min is not None and b_max is not None:
        voxels = voxels * np.float32(b_max - b_min) + np.float32(b_min)
    return voxels.clip(b_min, b_max) if clip else voxels, affine, _as_it_is


def scale(
    voxels: np.ndarray, affine: np.ndarray, minv: float, maxv: float, channel_wise: bool
) -> tuple[np.ndarray, np.ndarray, Any]:
    """Do as MONAI's ScaleIntensity: the smallest value to ``minv``, the largest to ``maxv``."""
    scaled = voxels.astype(np.float32)
    for part in scaled if channel_wise else [scaled]:
        low, high = part.min(), part.max()
        if low == high:
            part *= np.float32(minv)
        else:
            part[...] = (part - low) / (high - low) * np.float32(maxv - minv) + np.float32(minv)
    return scaled, affine, _as_it_is


def normalize_channels(
    voxels: np.ndarray,
    affine: np.ndarray,
    nonzero: bool,
    channel_wise: bool,
    subtrahend: Sequence[float] | None = None,
    divisor: Sequence[float] | None = None,
) -> tuple[np.ndarray, np.ndarray, Any]:
    """Do as MONAI's NormalizeIntensity, with its options."""
    scaled = voxels.astype(np.float32)
    for number, part in enumerate(scaled if channel_wise else [scaled]):
        here = part != 0 if nonzero else np.ones(part.shape, bool)
        if not here.any():
            continue
        mean = part[here].mean(dtype=np.float64) if subtrahend is None else subtrahend[number]
        deviation = part[here].std(dtype=np.float64) if divisor is None else divisor[number]
        part[here] = (part[here] - np.float32(mean)) / np.float32(deviation or 1)
    return scaled, affine, _as_it_is


def crop_foreground(
    voxels: np.ndarray, affine: np.ndarray, margin: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, Any]:
    """Do as MONAI's CropForeground: the box of the values above zero, with a margin that the volume limits.

    Raises:
        ValueError: when there are none.
    """
    above: np.ndarray = np.asarray((voxels > 0).any(axis=0))
    if not above.any():
        raise ValueError("expected values above zero after the preprocessing so far, found none")
    box = []
    for axis, edge in enumerate(above.shape):
        found = np.flatnonzero(np.moveaxis(above, axis, 0).reshape(edge, -1).any(axis=1))
        box.append(slice(max(found[0] - margin[axis], 0), min(found[-1] + 1 + margin[axis], edge)))
    return (*_boxed(voxels, affine, box), _padded_back(above.shape, box))


def spatial_pad(
    voxels: np.ndarray, affine: np.ndarray, spatial_size: Sequence[int], method: str, mode: str
) -> tuple[np.ndarray, np.ndarray, Any]:
    """Do as MONAI's SpatialPad, which adds half of what is missing before, rounded down, or all after."""
    shape = voxels.shape[1:]
    gaps = [max(size - edge, 0) for size, edge in zip(spatial_size, shape, strict=True)]
    before = [gap // 2 if method == "symmetric" else 0 for gap in gaps]
    widths = [(0, 0), *((first, gap - first) for first, gap in zip(before, gaps, strict=True))]
    moved = affine.copy()
    moved[:3, 3] -= affine[:3, :3] @ np.array(before)
    box = tuple(slice(first, first + edge) for first, edge in zip(before, shape, strict=True))
    return np.pad(voxels, widths, mode=mode), moved, lambda mask, linear=False: mask[box]  # type: ignore[call-overload]


def _boxed(voxels: np.ndarray, affine: np.ndarray, box: Sequence[slice]) -> tuple[np.ndarray, np.ndarray]:
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ np.array([part.start for part in box])
    return voxels[(slice(None), *box)], moved


def _padded_back(shape: Sequence[int], box: Sequence[slice]) -> Any:
    def back(mask: np.ndarray, linear: bool = False) -> np.ndarray:
        whole = np.zeros(shape, mask.dtype)
        whole[tuple(box)] = mask
        return whole

    return back


def _as_it_is(mask: np.ndarray, linear: bool = False) -> np.ndarray:
    return mask
