"""The layers of the breast under the probe: which tissue is where."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dckd_ext.phantom.artefacts import Coupling
from dckd_ext.phantom.fields import RandomField
from dckd_ext.phantom.tissues import Label

__all__ = ["Layers"]

_FULL_DEPTH = 32.0  # mm; a volume that shows less has the same layers, only smaller
_RIB_DISTANCE, _RIB_WIDTH, _RIB_HEIGHT = 25.0, 12.0, 7.0  # mm


class Layers:
    """Skin, fat with ligaments, gland with ducts, muscle, ribs and lung, as functions of the position.

    Positions are in mm from the corner of the volume, along (lateral, depth, sweep).

    Args:
        rng: source of all that is random.
        shape: voxels.
        spacing: mm.
    """

    def __init__(self, rng: np.random.Generator, shape: Sequence[int], spacing: Sequence[float]) -> None:
        self.extent = np.multiply(spacing, shape)
        self.lateral = (np.arange(shape[0]) + 0.5) * spacing[0]
        self.depth = (np.arange(shape[1]) + 0.5) * spacing[1]
        self.scale = scale = min(1.0, self.extent[1] / _FULL_DEPTH)
        self.coupling = Coupling(rng, self.extent, self.depth)

        def field(*lengths: float) -> RandomField:
            return RandomField(rng, np.array(lengths) * scale, self.depth)

        self._skin = rng.uniform(1.2, 2.0) * scale
        self._fat, self._fat_wave = rng.uniform(3.0, 6.0) * scale, field(9, np.inf, 9)
        self._chest, self._chest_wave = rng.uniform(0.68, 0.80) * self.extent[1], field(20, np.inf, 20)
        self._muscle = rng.uniform(3.5, 6.0) * scale
        self._rib_angle, self._rib_start = rng.uniform(-0.4, 0.4), rng.uniform(0, _RIB_DISTANCE)
        self._gland, self._gland_share = field(4, 2, 4), rng.uniform(-0.2, 0.4)
        self._gland_centre = self.extent[[0, 2]] * rng.uniform(0.4, 0.6, 2)
        self._septa, self._fibres = field(4.5, 3.5, 4.5), field(9, 0.45, 5)
        self._ducts = field(4, 3, 4), field(4, 3, 4)
        self._brightness = field(5, 4, 5), field(2, 0.8, 2)

    def gland_top(self, lateral: np.ndarray, sweep: float) -> np.ndarray:
        """Return the depth of the lower side of the subcutaneous fat in mm (X,)."""
        fat = self._fat * np.maximum(1 + 0.35 * self._fat_wave.line(lateral, sweep), 0.3)
        return self.coupling.gap(lateral, sweep) + self._skin + fat

    def chest(self, lateral: np.ndarray, sweep: float) -> np.ndarray:
        """Return the depth of the fascia of the pectoral muscle in mm (X,)."""
        return self._chest + 0.8 * self.scale * np.clip(self._chest_wave.line(lateral, sweep), -2, 2)

    @property
    def lesion_depths(self) -> tuple[float, float]:
        """Depths in mm between which lesions may lie: below the skin and above the muscle."""
        return self._skin + 1.0 * self.scale, self._chest - 1.6 * self.scale

    def labels(self, sweep: float, gland_around: np.ndarray) -> np.ndarray:
        """Return the tissue map of the sweep slice at a position in mm: uint8 (X, Y).

        Args:
            sweep: position in mm.
            gland_around: (X, Y), above 0 where gland shall surround something.
        """
        x = self.lateral
        labels = np.full((len(x), len(self.depth)), Label.FAT, np.uint8)
        labels[np.abs(self._septa.plane(x, sweep)) < 0.055] = Label.LIGAMENT
        gland = self._gland.plane(x, sweep) + self._gland_share + gland_around > self._gland_threshold(sweep)
        labels[gland] = Label.GLAND
        ducts = self._ducts[0].plane(x, sweep) ** 2 + self._ducts[1].plane(x, sweep) ** 2 < 0.04
        labels[gland & ducts] = Label.DUCT
        self._paint_chest_wall(labels, sweep)
        return labels

    def paint_skin(self, labels: np.ndarray, sweep: float) -> None:
        """Put skin and gel over what else is there."""
        gap = self.coupling.gap(self.lateral, sweep)[:, None]
        labels[self.depth < gap + self._skin] = Label.SKIN
        labels[self.depth < gap] = Label.GEL

    def brightness(self, sweep: float) -> np.ndarray:
        """Return the slow variation of the echoes in dB: float32 (X, Y)."""
        coarse, fine = (field.plane(self.lateral, sweep) for field in self._brightness)
        return 2.0 * (coarse + fine)

    def _gland_threshold(self, sweep: float) -> np.ndarray:
        """Of the gland's random field: low in mid-depth, higher near its borders, infinite beyond (X, Y)."""
        x, y = self.lateral, self.depth
        top, bottom = self.gland_top(x, sweep)[:, None], self.chest(x, sweep)[:, None] - self.scale
        inner = np.minimum(y - top, bottom - y) / np.maximum(bottom - top, 1e-3)
        outwards = np.hypot(x - self._gland_centre[0], sweep - self._gland_centre[1])[:, None] / 55
        threshold = 0.9 - 4.2 * np.minimum(inner, 0.4) + outwards**4
        return np.where(inner > 0, threshold, np.inf)

    def _paint_chest_wall(self, labels: np.ndarray, sweep: float) -> None:
        y, scale, chest = self.depth, self.scale, self.chest(self.lateral, sweep)[:, None]
        muscle, ribs = y > chest, chest + self._muscle
        labels[muscle] = Label.MUSCLE
        labels[muscle & (self._fibres.plane(self.lateral, sweep) > 0.9)] = Label.FIBRE
        labels[np.abs(y - chest) < 0.25 * scale] = Label.LIGAMENT
        labels[y > ribs + 0.9 * _RIB_HEIGHT * scale] = Label.LUNG
        # Ribs run across the sweep, somewhat obliquely.
        along = sweep * np.cos(self._rib_angle) + self.lateral * np.sin(self._rib_angle) + self._rib_start
        across = ((along % _RIB_DISTANCE) - _RIB_DISTANCE / 2)[:, None] / (_RIB_WIDTH / 2)
        upright = (y - ribs) / (_RIB_HEIGHT / 2 * scale) - 1
        labels[across**2 + upright**2 < 1] = Label.RIB
