"""Inferers that plug distillation and mixed precision into MONAI's own engines."""

from dckd_ext.inferers.autocast import AutocastInferer
from dckd_ext.inferers.convolutions import SingleWindowsByOneDNN, SmallMapsInFloat32
from dckd_ext.inferers.distillation import DistillationInferer, DistillationOutput
from dckd_ext.inferers.even_windows import EvenWindowInferer

__all__ = [
    "AutocastInferer",
    "DistillationInferer",
    "DistillationOutput",
    "EvenWindowInferer",
    "SingleWindowsByOneDNN",
    "SmallMapsInFloat32",
]
