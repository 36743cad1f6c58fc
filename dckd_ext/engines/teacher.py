"""A look at the teacher before it teaches."""

from __future__ import annotations

import logging

from monai.engines import Evaluator

__all__ = ["check_teacher"]

_logger = logging.getLogger(__name__)


def check_teacher(evaluator: Evaluator, min_dice: float = 0.5) -> float:
    """Score the teacher on the validation cases through the student's own pipeline, and stop if it is poor.

    A teacher that is fed with a preprocessing other than its own can be useless without any error.

    Args:
        evaluator: an evaluator whose network is the teacher and whose key metric is the mean Dice.
        min_dice: the least mean Dice to go on with.

    Returns:
        The teacher's mean Dice.

    Raises:
        ValueError: when it is below ``min_dice``.
    """
    evaluator.run()
    dice = float(evaluator.state.metrics[evaluator.state.key_metric_name])
    _logger.info("teacher: mean Dice %.4f on the validation cases, through this pipeline", dice)
    if dice < min_dice:
        raise ValueError(
            f"the teacher's mean Dice on the validation cases is {dice:.4f}, expected at least "
            f"{min_dice} (min_teacher_dice). Most likely this pipeline's preprocessing (spacing, "
            "orientation, intensity scaling, patch_size) is not the one that the teacher was trained "
            "with; else its weights or its label_map are wrong"
        )
    return dice
