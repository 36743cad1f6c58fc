"""Data lists, checks of what is read, and writers."""

from .checks import CheckVolumed, ReadVolumed
from .msd import download_msd, image_files, msd_datalist
from .writers import WholeNibabelWriter

__all__ = ["CheckVolumed", "ReadVolumed", "WholeNibabelWriter", "download_msd", "image_files", "msd_datalist"]
