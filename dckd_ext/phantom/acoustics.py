"""From tissues to grey levels: scatterers, attenuation, interfaces, point spread, noise, log compression.

A convolution model in complex baseband (our choice of its parameters): the envelope of the echo is the
absolute value of scatterers and interfaces, weakened on the way down and back, blurred by the pulse and the
beam. Slices are (lateral, depth) arrays, depth last.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from scipy.ndimage import correlate1d, gaussian_filter1d

__all__ = ["Beam", "interfaces", "kernel", "log_compress", "noise", "scatterers", "transmission"]

FREQUENCY = 8.0  # MHz, centre of the pulse
TGC = 0.62  # dB / cm / MHz, the attenuation that the time-gain compensation expects
DYNAMIC_RANGE = 60.0  # dB
_NOISE = -100.0  # dB, at the skin; the time-gain compensation raises it with depth
_SPECULAR = 0.25  # amplitude of full reflection over full scale
_MIRROR = 1.2  # mm, width over which an interface has to be flat to be seen in full
# Full width at half maximum in mm along (lateral, depth, sweep), at the skin and at 45 mm.
_WIDTH_BY_SIGMA = 2.3548
_NEAR, _FAR, _FAR_DEPTH = (0.30, 0.12, 1.0), (0.50, 0.12, 1.5), 45.0


def scatterers(rng: np.random.Generator, power: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Draw complex scatterers whose intensity is K distributed: ``<I^2> / <I>^2 = 2 (1 + 1 / alpha)``.

    Args:
        rng: source of randomness.
        power: mean intensity (X, Y).
        alpha: shape of the gamma distribution of the local intensity (X, Y); infinite gives Rayleigh speckle.

    Returns:
        complex64 (X, Y).
    """
    normal = rng.standard_normal((*power.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
    finite = np.where(np.isfinite(alpha), alpha, 1).astype(np.float32)
    texture = np.where(np.isfinite(alpha), rng.standard_gamma(finite, dtype=np.float32) / finite, 1)
    return normal * np.sqrt(texture * power / 2).astype(np.float32)


def transmission(attenuation: np.ndarray, step: float) -> np.ndarray:
    """Return the gain in dB on the way to each voxel and back, after time-gain compensation.

    ``-2 FREQUENCY * sum(attenuation - TGC) * step`` over all voxels above and half of its own: shadows and
    enhancement in one.

    Args:
        attenuation: dB / cm / MHz (X, Y).
        step: depth of a voxel in mm.
    """
    excess = (attenuation - TGC) * np.float32(-2 * FREQUENCY * step / 10)
    return np.cumsum(excess, axis=1) - excess / 2


def interfaces(impedance: np.ndarray, step: float) -> np.ndarray:
    """Return the amplitude ``|dZ| / (2 Z)`` of the interfaces along depth, float32 (X, Y).

    It is averaged over about a millimetre along the lateral axis: a mirror throws an echo back to the probe
    only where it is flat, so walls of cysts and capsules shine at the top and the bottom.

    Args:
        impedance: (X, Y), in any unit.
        step: lateral size of a voxel in mm.
    """
    reflection = np.zeros(impedance.shape, np.float32)
    reflection[:, 1:] = np.abs(np.diff(impedance)) / (impedance[:, 1:] + impedance[:, :-1])
    return gaussian_filter1d(reflection, _MIRROR / step / _WIDTH_BY_SIGMA, axis=0) * np.float32(_SPECULAR)


def noise(rng: np.random.Generator, shape: Sequence[int], depth: np.ndarray) -> np.ndarray:
    """Draw the receiver's noise, which the time-gain compensation raises with depth: complex64 (X, Y)."""
    normal = rng.standard_normal((*shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
    level = _NOISE + 2 * FREQUENCY * TGC * depth / 10
    return normal * np.float32(np.sqrt(0.5)) * (10 ** (level / 20)).astype(np.float32)


def log_compress(envelope: np.ndarray) -> np.ndarray:
    """Return grey levels (uint8) of an envelope: 255 at amplitude 1, 0 at ``DYNAMIC_RANGE`` dB below that."""
    decibel = 20 * np.log10(np.maximum(envelope, 1e-6))
    return np.rint(255 * np.clip(1 + decibel / DYNAMIC_RANGE, 0, 1)).astype(np.uint8)


def kernel(width: float, step: float) -> np.ndarray:
    """Return a Gaussian with unit energy, so that it leaves the mean intensity of speckle as it is.

    Args:
        width: full width at half maximum in mm.
        step: mm between voxels.
    """
    sigma = width / step / _WIDTH_BY_SIGMA
    radius = int(np.ceil(3 * sigma))
    values = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return (values / np.sqrt((values**2).sum())).astype(np.float32)


class Beam:
    """The point spread: a narrow beam near the skin that widens with depth, blended from two Gaussian ones.

    Args:
        depth: of the voxels in mm.
        spacing: mm along (lateral, depth, sweep).
    """

    def __init__(self, depth: np.ndarray, spacing: Sequence[float]) -> None:
        self._near = [kernel(width, step) for width, step in zip(_NEAR, spacing, strict=True)]
        self._far = [kernel(width, step) for width, step in zip(_FAR, spacing, strict=True)]
        self.halo = len(self._far[2]) // 2
        far = np.clip(depth / _FAR_DEPTH, 0, 1)
        shared = np.prod([_overlap(*pair) for pair in zip(self._near, self._far, strict=True)])
        power = (1 - far) ** 2 + far**2 + 2 * far * (1 - far) * shared
        self._shares = [(share / np.sqrt(power)).astype(np.float32) for share in (1 - far, far)]

    @cached_property
    def cell(self) -> float:
        """Share of one voxel in a resolution cell, ``sum(h**4)``: divides the variance of the texture."""
        cells = [np.prod([(values**4).sum() for values in kernels]) for kernels in (self._near, self._far)]
        return float(np.mean(cells))

    def in_plane(self, field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Blur a slice along lateral and depth: the near and the far beam's, weighted for each depth."""
        pulse = correlate1d(field, self._near[1], axis=1)
        near, far = (correlate1d(pulse, kernels[0], axis=0) for kernels in (self._near, self._far))
        return near * self._shares[0], far * self._shares[1]

    def across(self, slices: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """Blur along the sweep: the middle one of ``2 * halo + 1`` slices from `in_plane`."""
        total = np.zeros_like(slices[0][0])
        for beam, values in enumerate((self._near[2], self._far[2])):
            start = self.halo - len(values) // 2
            for number, value in enumerate(values):
                total += value * slices[start + number][beam]
        return total


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    size = min(len(one), len(other)) // 2
    middle = [values[len(values) // 2 - size : len(values) // 2 + size + 1] for values in (one, other)]
    return float(np.dot(*middle))
