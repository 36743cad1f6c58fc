"""Data lists, reading and checking, resampling, patch centres, writing, and synthetic ABUS volumes."""

from .case_list import case_list
from .checks import CheckVolumed, check_foreground
from .crops import CropClassesd
from .msd import download_msd, image_files, msd_datalist
from .probabilities import ForegroundProbabilityd
from .reading import ReadVolumed
from .resample import ResampleVolumed
from .spacing import SpacingVolumed
from .tdsc import ABUS_MAX_EXTENT, ABUS_SPACING, tdsc_datalist
from .writers import WholeNibabelWriter

__all__ = [
    "ABUS_MAX_EXTENT",
    "ABUS_SPACING",
    "CheckVolumed",
    "CropClassesd",
    "ForegroundProbabilityd",
    "ReadVolumed",
    "ResampleVolumed",
    "SpacingVolumed",
    "WholeNibabelWriter",
    "case_list",
    "check_foreground",
    "download_msd",
    "image_files",
    "msd_datalist",
    "tdsc_datalist",
]
