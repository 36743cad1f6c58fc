"""Acoustic properties of what the phantom is made of."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

__all__ = ["TISSUES", "Label", "Tissue"]


class Tissue(NamedTuple):
    """Acoustic properties of one tissue.

    Attributes:
        echo: mean scattered power in dB, 0 dB being the brightest grey level.
        attenuation: dB / cm / MHz.
        impedance: density times speed of sound, MRayl.
        alpha: shape of the K distribution of its speckle; large values give Rayleigh speckle.
    """

    echo: float
    attenuation: float
    impedance: float
    alpha: float


class Label(IntEnum):
    """Values of the tissue map. Lesions follow after the last one, each with a tissue of its own."""

    GEL = 0
    SKIN = 1
    FAT = 2
    LIGAMENT = 3
    GLAND = 4
    DUCT = 5
    CYST = 6
    HALO = 7
    MUSCLE = 8
    FIBRE = 9
    RIB = 10
    LUNG = 11


# Attenuation, and density times speed of sound: literature values of soft tissue; rib and lung merely stop
# the beam. Echoes are set by eye and by the grey levels of one real slice.
TISSUES: dict[Label, Tissue] = {
    Label.GEL: Tissue(-75, 0.05, 1.52, 20),
    Label.SKIN: Tissue(-34, 1.84, 1.72, 10),
    Label.FAT: Tissue(-51, 0.50, 1.31, 6),
    Label.LIGAMENT: Tissue(-41, 1.26, 1.64, 4),
    Label.GLAND: Tissue(-38.5, 0.75, 1.58, 5),
    Label.DUCT: Tissue(-58, 0.10, 1.52, 10),
    Label.CYST: Tissue(-78, 0.002, 1.52, 20),
    Label.HALO: Tissue(-36, 1.00, 1.58, 4),
    Label.MUSCLE: Tissue(-53, 0.70, 1.62, 6),
    Label.FIBRE: Tissue(-45, 0.80, 1.66, 4),
    Label.RIB: Tissue(-48, 8.00, 4.00, 3),
    Label.LUNG: Tissue(-50, 3.00, 1.30, 3),
}
