"""What MONAI's engines need besides MONAI's own handlers."""

from dckd_ext.handlers.average import WeightAverage, average_of
from dckd_ext.handlers.checkpoint import ResumeCheckpoint
from dckd_ext.handlers.epoch_lines import EpochLines
from dckd_ext.handlers.gradients import SkipBrokenSteps
from dckd_ext.handlers.lesions import LesionScores
from dckd_ext.handlers.record import training_record
from dckd_ext.handlers.scores import CaseScores
from dckd_ext.handlers.seed import EpochSeed
from dckd_ext.handlers.terms import LossProgress, LossTerms
from dckd_ext.handlers.validation import LastValidationHandler
from dckd_ext.handlers.weights_writer import WeightsWriter, save_weights

__all__ = [
    "CaseScores",
    "EpochLines",
    "EpochSeed",
    "LastValidationHandler",
    "LesionScores",
    "LossProgress",
    "LossTerms",
    "ResumeCheckpoint",
    "SkipBrokenSteps",
    "WeightAverage",
    "WeightsWriter",
    "average_of",
    "save_weights",
    "training_record",
]
