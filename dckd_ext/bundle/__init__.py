"""Configs, networks and class names of any MONAI bundle, the model zoo's included."""

from dckd_ext.bundle.config import importable, is_distillation, load_bundle_config
from dckd_ext.bundle.matching import check_compatible, class_map, label_values
from dckd_ext.bundle.metadata import class_names, in_channels, segmentation, segments
from dckd_ext.bundle.networks import student_network, teacher_network
from dckd_ext.bundle.options import check_options, is_true
from dckd_ext.bundle.split import split_file_of

__all__ = [
    "check_compatible",
    "check_options",
    "class_map",
    "class_names",
    "importable",
    "in_channels",
    "is_distillation",
    "is_true",
    "label_values",
    "load_bundle_config",
    "segmentation",
    "segments",
    "split_file_of",
    "student_network",
    "teacher_network",
]
