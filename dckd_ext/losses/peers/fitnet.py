"""Hints of FitNets."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from dckd_ext.losses.maps import channel_projector, check_channels, matched
from dckd_ext.losses.precision import in_float32

__all__ = ["FitNetLoss"]


class FitNetLoss(nn.Module):
    """Mean squared difference of the teacher's features and the student's after a trainable projector.

    After Romero et al., "FitNets: hints for thin deep nets" (ICLR 2015), with a 1x1x1 convolution as the
    regressor. There the hint is a stage of its own; here it is a term of the loss, as in later comparisons,
    which give it a weight of 100 in classification.

    Args:
        student_channels: channels of the student's features.
        teacher_channels: channels of the teacher's features.
    """

    inputs = ("features", "teacher_features")

    def __init__(self, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        self.projector = channel_projector(student_channels, teacher_channels)

    @in_float32
    def forward(self, features: Tensor, teacher_features: Tensor) -> Tensor:
        """Return the loss as a scalar.

        Args:
            features: the student's map, ``BCDHW``.
            teacher_features: the teacher's map, ``BCDHW``; its size may differ.

        Raises:
            ValueError: when the teacher's map has other channels than the projector makes.
        """
        student, teacher = matched(features, teacher_features)
        projected = self.projector(student)
        check_channels(projected, teacher)
        return F.mse_loss(projected, teacher)
