"""Networks that MONAI lacks, and what networks cost and take."""

from .cost import count_macs, count_parameters
from .hrnet3d import HRNet3D
from .sizes import check_roi_size
from .weights import check_weights, load_weights
from .wrappers import Teacher, unwrap

__all__ = [
    "HRNet3D",
    "Teacher",
    "check_roi_size",
    "check_weights",
    "count_macs",
    "count_parameters",
    "load_weights",
    "unwrap",
]
