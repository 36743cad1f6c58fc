"""Reading and checking, resampling, patch centres, probabilities, writing."""

from dckd_ext.transforms.affine import RandAffineMapsd
from dckd_ext.transforms.answers import TeacherAnswersd, TeacherLabeld
from dckd_ext.transforms.axes import PermuteAxesd
from dckd_ext.transforms.checks import CheckVolumed, check_foreground
from dckd_ext.transforms.crops import CropClassesd
from dckd_ext.transforms.planned import PlannedIntensityd, PlannedSpacingd
from dckd_ext.transforms.probabilities import ForegroundProbabilityd
from dckd_ext.transforms.reading import ReadVolumed
from dckd_ext.transforms.regions import LabelToRegionsd
from dckd_ext.transforms.resample import ResampleVolumed
from dckd_ext.transforms.spacing import SpacingVolumed
from dckd_ext.transforms.writers import SaveMaskd

__all__ = [
    "CheckVolumed",
    "CropClassesd",
    "ForegroundProbabilityd",
    "LabelToRegionsd",
    "PermuteAxesd",
    "PlannedIntensityd",
    "PlannedSpacingd",
    "RandAffineMapsd",
    "ReadVolumed",
    "ResampleVolumed",
    "SaveMaskd",
    "SpacingVolumed",
    "TeacherAnswersd",
    "TeacherLabeld",
    "check_foreground",
]
