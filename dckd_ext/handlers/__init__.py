"""What MONAI's engines need besides MONAI's own handlers."""

from .average import WeightAverage, average_of
from .checkpoint import ResumeCheckpoint
from .gradients import SkipBrokenSteps
from .lesions import LesionScores
from .scores import CaseScores
from .seed import EpochSeed
from .teacher import TeacherCheck
from .terms import LossProgress, LossTerms
from .weights import WeightsWriter, save_weights

__all__ = [
    "CaseScores",
    "EpochSeed",
    "LesionScores",
    "LossProgress",
    "LossTerms",
    "ResumeCheckpoint",
    "SkipBrokenSteps",
    "TeacherCheck",
    "WeightAverage",
    "WeightsWriter",
    "average_of",
    "save_weights",
]
