"""Lesions, and the harmless bodies that resemble them."""

from __future__ import annotations

import numpy as np

from dckd_ext.phantom.shapes import Body, Surface, turned
from dckd_ext.phantom.tissues import Label, Tissue

__all__ = ["draw_cyst", "draw_fat_lobule", "draw_lesion"]

_TILT = 0.25  # of an axis out of the plane of the skin, at most, in radians
_IMPEDANCE = 1.46  # MRayl


def draw_lesion(rng: np.random.Generator, kind: str, label: int) -> tuple[Body, Tissue]:
    """Draw shape (about 1 mm large, to be scaled) and tissue of a lesion.

    Args:
        rng: source of randomness.
        kind: "M": taller than wide, lobed, spiculated, with an echogenic halo, attenuating; or "B": oval,
            parallel to the skin, smooth, with a thin capsule, hardly attenuating. Sources disagree about the
            attenuation of tumours (0.6 to 1.3 dB / cm / MHz): malignant ones get the upper part of it.
        label: its value in the tissue map.
    """
    if kind == "M":
        tissue = Tissue(rng.uniform(-54, -50), rng.uniform(0.95, 1.3), _IMPEDANCE, rng.uniform(1.5, 3))
        surface = Surface(rng, 0.1, spicules=int(rng.integers(14, 24)), heights=(0.1, 0.4))
        return _body(rng, (0.9, 1.2, 0.9), surface, label, (Label.HALO, rng.uniform(1.0, 2.0))), tissue
    tissue = Tissue(rng.uniform(-54, -50), rng.uniform(0.60, 0.75), _IMPEDANCE, rng.uniform(5, 10))
    surface = Surface(rng, 0.03, frequency=1.5)
    return _body(rng, (1.25, 0.75, 1.05), surface, label, (Label.LIGAMENT, 0.4)), tissue


def draw_cyst(rng: np.random.Generator) -> Body:
    """Draw a cyst: black, smooth and nearly round."""
    size = rng.uniform(1.5, 5.0)
    return _body(rng, (size, size, size), Surface(rng, 0.03), Label.CYST, (Label.LIGAMENT, 0.3))


def draw_fat_lobule(rng: np.random.Generator) -> Body:
    """Draw a fat lobule: as dark as fat, flat, with a capsule; no shadow and no halo."""
    size = rng.uniform(3.0, 7.0)
    axes = (size, 0.45 * size, 0.8 * size)
    return _body(rng, axes, Surface(rng, 0.08), Label.FAT, (Label.LIGAMENT, 0.35))


def _body(
    rng: np.random.Generator,
    axes: tuple[float, float, float],
    surface: Surface,
    label: int,
    rim: tuple[int, float],
) -> Body:
    return Body(
        np.array(axes) * rng.uniform(0.9, 1.1, 3), turned(rng, _TILT), surface, label, rim, np.zeros(3)
    )
