"""Region affinity distillation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from dckd_ext.losses.maps import check_positive, class_means, matched_classes
from dckd_ext.losses.precision import in_float32

__all__ = ["RegionAffinityLoss"]


class RegionAffinityLoss(nn.Module):
    """Region affinity: how alike the regions of a case are, as the mean features of its classes.

    After Qin et al., "Efficient medical image segmentation based on knowledge distillation" (EMKD, IEEE TMI
    2021), for any number of classes: the mean over the pairs of classes that a case has, then over cases, of

        (cos(mu^s_j, mu^s_k) - cos(mu^t_j, mu^t_k))^2,   j < k

    EMKD is this term at weight 0.9 with logits distillation at 0.1 and T = 4 (`LogitsDistillationLoss`) and
    attention transfer at 0.9 (as `ATLoss`, but summed over the cells). Our decisions: a cell's class is
    the one that fills most of it, and cases with fewer than two classes do not count.

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
        """Return the loss as a scalar, a zero attached to the graph where no case has two classes.

        Args:
            features: the student's map, ``BCDHW``.
            teacher_features: the teacher's map, ``BCDHW``; channels and size may differ.
            classes: class of each voxel, ``B1DHW``; a value outside the classes is ignored.
        """
        student, teacher, masks = matched_classes(features, teacher_features, classes, self.num_classes)
        present = masks.any(2)
        pairs = (present[:, :, None] & present[:, None, :]).triu(1)
        squared = (_affinity(student, masks) - _affinity(teacher, masks)).square() * pairs
        count = pairs.sum((1, 2))
        return (squared.sum((1, 2)) / count.clamp(min=1)).sum() / (count > 0).sum().clamp(min=1)


def _affinity(features: Tensor, masks: Tensor) -> Tensor:
    """Cosines between the regions of each case, ``(B, K, K)``."""
    means = F.normalize(class_means(features, masks), dim=2)
    return torch.einsum("bjc,bkc->bjk", means, means)
