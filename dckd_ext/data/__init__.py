"""Case lists: folders of the Medical Segmentation Decathlon and of TDSC-ABUS, and surveys of them."""

from dckd_ext.data.folders import case_list
from dckd_ext.data.msd import download_msd, image_files, msd_datalist
from dckd_ext.data.sampling import MixedSampler
from dckd_ext.data.tdsc import ABUS_MAX_EXTENT, ABUS_SPACING, tdsc_datalist
from dckd_ext.data.unlabelled import unlabelled_cases, without_labels

__all__ = [
    "ABUS_MAX_EXTENT",
    "ABUS_SPACING",
    "MixedSampler",
    "case_list",
    "download_msd",
    "image_files",
    "msd_datalist",
    "tdsc_datalist",
    "unlabelled_cases",
    "without_labels",
]
