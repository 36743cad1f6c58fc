"""A look at the teacher before it teaches."""

from __future__ import annotations

import logging

from monai.engines import SupervisedEvaluator
from monai.inferers import Inferer

__all__ = ["check_teacher"]

_logger = logging.getLogger(__name__)


def check_teacher(
    evaluator: SupervisedEvaluator,
    min_dice: float = 0.5,
    sight: Inferer | None = None,
    own: bool = True,
    most_lost: float = 0.02,
) -> float:
    """Score the teacher on the validation cases, as it will teach, and stop if it is poor.

    A teacher that is fed with a preprocessing other than its own can be useless without any error. So
    where the
    two differ and it is to teach through the student's, it is scored through both.

    Args:
        evaluator: an evaluator whose network is the teacher and whose key metric is the mean Dice.
        min_dice: the least mean Dice to go on with.
        sight: the teacher's own preprocessing and window, see `dckd_ext.teachers.OwnSight`, where they
            differ.
        own: whether it teaches through those.
        most_lost: the most that the mean Dice may be below that through its own preprocessing.

    Returns:
        The teacher's mean Dice, as it teaches.

    Raises:
        ValueError: when it is below ``min_dice``, or too far below that through its own preprocessing.
    """
    best = None if sight is None else _score(evaluator, sight, "its own preprocessing")
    dice = best if own and best is not None else _score(evaluator, evaluator.inferer, "this pipeline")
    if best is not None and dice < best - most_lost:
        raise ValueError(
            f"the teacher's mean Dice on the validation cases is {dice:.4f} through this pipeline and "
            f"{best:.4f} through its own preprocessing, expected at most {most_lost} less: "
            "--own_preprocessing true asks it through that"
        )
    if dice < min_dice:
        reason = (
            "its weights or its label_map are wrong"
            if best is not None
            else "this pipeline's preprocessing (spacing, orientation, intensity scaling, patch_size) is not "
            "the one that the teacher was trained with; else its weights or its label_map are wrong"
        )
        raise ValueError(
            f"the teacher's mean Dice on the validation cases is {dice:.4f}, expected at least "
            f"{min_dice} (min_teacher_dice). Most likely {reason}"
        )
    return dice


def _score(evaluator: SupervisedEvaluator, inferer: Inferer, through: str) -> float:
    usual, evaluator.inferer = evaluator.inferer, inferer
    try:
        evaluator.run()
    finally:
        evaluator.inferer = usual
    dice = float(evaluator.state.metrics[evaluator.state.key_metric_name])
    _logger.info("teacher: mean Dice %.4f on the validation cases, through %s", dice, through)
    return dice
