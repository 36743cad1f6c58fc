"""Inferers that plug distillation and mixed precision into MONAI's own engines."""

from dckd_ext.inferers.autocast import AutocastInferer
from dckd_ext.inferers.convolutions import SingleWindowsByOneDNN, SmallMapsInFloat32
from dckd_ext.inferers.distillation import DistillationInferer, DistillationOutput

__all__ = [
    "AutocastInferer",
    "DistillationInferer",
    "DistillationOutput",
    "SingleWindowsByOneDNN",
    "SmallMapsInFloat32",
]
