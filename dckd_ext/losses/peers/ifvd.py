"""Intra-class feature variation distillation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from dckd_ext.losses.maps import check_positive, class_means, matched_classes
from dckd_ext.losses.precision import in_float32

__all__ = ["IFVDLoss"]


class IFVDLoss(nn.Module):
    """Intra-class feature variation: how far each place is from the mean of its class.

    After Wang et al., "Intra-class feature variation distillation for semantic segmentation" (ECCV 2020):

        L = 1/N sum_i (M^s_i - M^t_i)^2,   M_i = cos(F_i, mu_{y_i})

    with the mean feature of each class of each case. M has one channel, so no projector is needed.
    Our decisions: a cell's class is the one that fills most of it (theirs is the nearest voxel's), and cells
    without a class do not count.

    Args:
        num_classes: classes, the background included.

    Raises:
        ValueError: when the number of classes is not positive.
    """

    inputs = ("features", "teacher_features", "classes")

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        check_positive(num_classes=num_classes)
        self.num_classes = num_classes

    @in_float32
    def forward(self, features: Tensor, teacher_features: Tensor, classes: Tensor) -> Tensor:
        """Return the loss as a scalar, a zero attached to the graph where no voxel has a class.

        Args:
            features: the student's map, ``BCDHW``.
            teacher_features: the teacher's map, ``BCDHW``; channels and size may differ.
            classes: class of each voxel, ``B1DHW``; a value outside the classes is ignored.
        """
        student, teacher, masks = matched_classes(features, teacher_features, classes, self.num_classes)
        squared = (_variation(student, masks) - _variation(teacher, masks)).square()
        return squared.sum() / masks.sum().clamp(min=1)


def _variation(features: Tensor, masks: Tensor) -> Tensor:
    """Cosine of each cell to the mean of its class, ``(B, N)``; zero in a cell without a class."""
    means = F.normalize(class_means(features, masks), dim=2)
    cosine = torch.einsum("bkc,bcn->bkn", means, F.normalize(features.flatten(2), dim=1))
    return (cosine * masks).sum(1)
