"""Dice and distances, lesions found and missed, and what they come to."""

from dckd_ext.metrics.froc import Froc, froc_curve
from dckd_ext.metrics.lesion_summary import summarise
from dckd_ext.metrics.lesions import CaseLesions, connected_components, score_lesions
from dckd_ext.metrics.scores import binary_dice, binary_hd95, score_case, score_foreground

__all__ = [
    "CaseLesions",
    "Froc",
    "binary_dice",
    "binary_hd95",
    "connected_components",
    "froc_curve",
    "score_case",
    "score_foreground",
    "score_lesions",
    "summarise",
]
