"""Smooth random fields that can be evaluated one sweep slice at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["RandomField"]


class RandomField:
    """Gaussian random field of zero mean and unit variance: a sum of plane waves (random Fourier features).

    It is a function of the position and not an array, so a volume needs no memory for it and any slice can be
    computed alone. Its correlation falls as ``exp(-d**2 / (2 * lengths**2))``.

    Args:
        rng: source of the waves.
        lengths: correlation lengths along (lateral, depth, sweep) in mm; infinity where it does not vary.
        depth: depths in mm at which `plane` gives values.
        waves: number of waves.
    """

    def __init__(
        self, rng: np.random.Generator, lengths: Sequence[float], depth: np.ndarray, waves: int = 40
    ) -> None:
        self._lateral, along_depth, self._sweep = (rng.normal(size=(waves, 3)) / lengths).T[..., None]
        self._phase = rng.uniform(0, 2 * np.pi, waves)[:, None]
        angles = along_depth * depth
        self._depth_waves = np.concatenate([np.cos(angles), -np.sin(angles)]).astype(np.float32)
        self._scale = np.sqrt(2 / waves)

    def plane(self, lateral: np.ndarray, sweep: float) -> np.ndarray:
        """Return values at lateral positions times depths, for one sweep position (mm): float32 (X, Y)."""
        angles = self._angles(lateral, sweep)
        waves = np.concatenate([np.cos(angles), np.sin(angles)]) * self._scale
        return waves.astype(np.float32).T @ self._depth_waves

    def line(self, lateral: np.ndarray, sweep: float) -> np.ndarray:
        """Return values at the lateral positions at depth 0, for one sweep position (mm): float64 (X,)."""
        return np.cos(self._angles(lateral, sweep)).sum(0) * self._scale

    def _angles(self, lateral: np.ndarray, sweep: float) -> np.ndarray:
        return self._lateral * lateral + self._sweep * sweep + self._phase
