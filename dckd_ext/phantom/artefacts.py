"""What the coupling of the probe adds: gel, lost contact, reverberation, the shadow of the nipple."""

from __future__ import annotations

import numpy as np

from dckd_ext.phantom.fields import RandomField

__all__ = ["Coupling"]

_KEPT = 1.2  # mm of gel through which the contact holds
_LOSS = 60.0  # dB / mm beyond that
_NIPPLE_LOSS = 9.0  # dB
_ECHOES = 6  # of the gel layer


class Coupling:
    """The gel layer between probe and skin, and the nipple.

    The skin falls away from the probe towards one lateral margin and sometimes towards an end of the sweep;
    gel fills the gap, and where it becomes too wide the image is black.

    Args:
        rng: source of randomness.
        extent: size of the volume in mm.
        depth: depths of the voxels in mm.
    """

    def __init__(self, rng: np.random.Generator, extent: np.ndarray, depth: np.ndarray) -> None:
        self._extent, self._depth = extent, depth
        self._wave = RandomField(rng, (15, np.inf, 15), depth[:1])
        # Widths of the margins in mm: lateral low and high, sweep low and high; negative for full contact.
        self._margins = np.array([0.13, 0.13, 0.08, 0.08]) * extent[[0, 0, 2, 2]] * rng.uniform(0, 1, 4)
        self._margins[rng.integers(2)] = -10
        self._margins[2:][rng.random(2) < 0.6] = -10
        self._nipple = extent[[0, 2]] * rng.uniform(0.15, 0.85, 2)
        self._nipple_radius = rng.uniform(3.5, 6.0) if rng.random() < 0.7 else 0.0

    def gap(self, lateral: np.ndarray, sweep: float) -> np.ndarray:
        """Return the thickness of the gel in mm (X,)."""
        low, high, start, end = self._margins
        beyond = np.maximum(low - lateral, lateral - self._extent[0] + high)
        beyond = np.maximum(beyond, max(start - sweep, sweep - self._extent[2] + end))
        return np.maximum(0.35 * (beyond + 2.0 * self._wave.line(lateral, sweep)) + 0.2, 0)

    def loss(self, lateral: np.ndarray, sweep: float) -> np.ndarray:
        """Return the loss in dB at all depths (X, Y) below lost contact and below the nipple."""
        lost = np.minimum(np.maximum(self.gap(lateral, sweep) - _KEPT, 0) * _LOSS, 90)[:, None]
        if not self._nipple_radius:
            return lost + np.zeros_like(self._depth)
        distance = np.hypot(lateral - self._nipple[0], sweep - self._nipple[1]) / self._nipple_radius
        below = np.minimum(self._depth / (0.15 * self._extent[1]), 1)
        return lost + _NIPPLE_LOSS * np.exp(-(distance**4))[:, None] * below

    def is_clear(self, lateral: np.ndarray, sweep: float) -> bool:
        """Tell whether the probe touches the skin, away from the nipple, at all these lateral positions."""
        return bool((self.loss(lateral, sweep) < 1).all())

    def reverberation(self, lateral: np.ndarray, sweep: float) -> np.ndarray:
        """Return the amplitude (X, Y) of echoes in the gel, to and fro: lines at multiples of its depth."""
        gap, amplitude = self.gap(lateral, sweep), np.zeros((len(lateral), len(self._depth)), np.float32)
        step = self._depth[1] - self._depth[0]
        for echo in range(2, _ECHOES):
            row = np.rint(echo * gap / step).astype(int)
            column = np.flatnonzero((gap > 0.3) & (row < len(self._depth)))
            amplitude[column, row[column]] += (10 ** (-(10 + 6 * echo) / 20) * np.exp(-gap / 4))[column]
        return amplitude
