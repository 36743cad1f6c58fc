"""Networks that MONAI lacks, what networks cost and take, and their features by name."""

from dckd_ext.networks.cost import count_macs, count_parameters
from dckd_ext.networks.hrnet3d import HRNet3D
from dckd_ext.networks.plain_unet import MeanLogits, PlainUNet
from dckd_ext.networks.sizes import check_roi_size
from dckd_ext.networks.state_dicts import check_weights, load_weights, read_state_dict
from dckd_ext.networks.taps import Tap, TapInfo, list_taps, suggest_tap, tap_channels
from dckd_ext.networks.wrappers import Teacher, unwrap

__all__ = [
    "HRNet3D",
    "MeanLogits",
    "PlainUNet",
    "Tap",
    "TapInfo",
    "Teacher",
    "check_roi_size",
    "check_weights",
    "count_macs",
    "count_parameters",
    "list_taps",
    "load_weights",
    "read_state_dict",
    "suggest_tap",
    "tap_channels",
    "unwrap",
]
