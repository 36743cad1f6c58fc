"""Bodies in the gland: ellipsoids with lobes and spicules."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

__all__ = ["Body", "Surface", "turned"]


class Surface:
    """Bumps on a unit sphere, as a function of the direction.

    Args:
        rng: source of randomness.
        lobes: height of gentle undulations (standard deviation), over a radius of 1.
        frequency: of the undulations; larger values give more of them.
        spicules: number of spikes.
        heights: range of the spikes' heights.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        lobes: float,
        frequency: float = 3.0,
        spicules: int = 0,
        heights: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        waves = 12
        self._lobes = rng.normal(size=waves) * lobes * np.sqrt(2 / waves)
        self._phases, self._waves = rng.uniform(0, 2 * np.pi, waves), rng.normal(size=(waves, 3)) * frequency
        self._heights, self._sharpness = rng.uniform(*heights, spicules), rng.uniform(25, 70, spicules)
        towards = rng.normal(size=(spicules, 3))
        self._towards = towards / np.linalg.norm(towards, axis=1, keepdims=True)

    def __call__(self, direction: np.ndarray) -> np.ndarray:
        """Radius (...) in the directions (..., 3) of unit length."""
        radius = np.ones(direction.shape[:-1])
        for height, phase, wave in zip(self._lobes, self._phases, self._waves, strict=True):
            radius += height * np.cos(direction @ wave + phase)
        for height, sharpness, towards in zip(self._heights, self._sharpness, self._towards, strict=True):
            radius += height * np.exp(sharpness * (direction @ towards - 1))
        return np.maximum(radius, 0.3)

    @cached_property
    def samples(self) -> np.ndarray:
        """The radius in 2000 directions that are spread evenly (a Fibonacci lattice)."""
        number = np.arange(2000) + 0.5
        height, around = 1 - number / 1000, np.pi * (1 + 5**0.5) * number
        flat = np.sqrt(1 - height**2)
        return self(np.stack([np.cos(around) * flat, np.sin(around) * flat, height], axis=-1))


@dataclass(frozen=True)
class Body:
    """A star-shaped body: an ellipsoid times a bumpy surface, and a rim around it.

    Attributes:
        axes: semi-axes of the ellipsoid in mm.
        rotation: (3, 3), from the volume's axes to those of the ellipsoid.
        surface: factor on the ellipsoid by direction.
        label: value in the tissue map.
        rim: label and thickness in mm of a layer around it.
        centre: mm, along (lateral, depth, sweep).
    """

    axes: np.ndarray
    rotation: np.ndarray
    surface: Surface
    label: int
    rim: tuple[int, float]
    centre: np.ndarray

    @property
    def reach(self) -> np.ndarray:
        """Half of the box that holds the body, in mm."""
        ellipsoid = np.linalg.norm(self.rotation * self.axes[:, None], axis=0)
        return ellipsoid * self.surface.samples.max() * 1.03  # the samples may miss a tip

    @property
    def volume(self) -> float:
        """Volume in ml."""
        return float(4 / 3 * np.pi * self.axes.prod() * (self.surface.samples**3).mean() / 1000)

    def scaled(self, factor: float) -> Body:
        """Return the same shape, larger or smaller; the rim stays as thick as it is."""
        return replace(self, axes=self.axes * factor)

    def at(self, centre: np.ndarray) -> Body:
        """Return the same shape elsewhere (mm)."""
        return replace(self, centre=centre)

    def level(self, lateral: np.ndarray, depth: np.ndarray, sweep: float) -> np.ndarray:
        """Return the distance from the centre over that of the surface (X, Y): below 1 inside."""
        x, y, z = self.centre
        offset = np.empty((len(lateral), len(depth), 3))
        offset[..., 0], offset[..., 1], offset[..., 2] = lateral[:, None] - x, depth - y, sweep - z
        offset = offset @ self.rotation.T / self.axes
        distance = np.sqrt((offset**2).sum(-1)) + 1e-9
        return distance / self.surface(offset / distance[..., None])


def turned(rng: np.random.Generator, tilt: float) -> np.ndarray:
    """Draw a rotation (3, 3): by any angle within the coronal plane, and up to ``tilt`` radians out of it."""
    angle, lean = rng.uniform(0, 2 * np.pi), rng.uniform(-tilt, tilt)
    c, s, a, b = np.cos(angle), np.sin(angle), np.cos(lean), np.sin(lean)
    return np.array([[a, -b, 0], [b, a, 0], [0, 0, 1]]) @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
