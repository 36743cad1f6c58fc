"""Losses of classes that are regions and may overlap: a sigmoid each in place of one softmax."""

from __future__ import annotations

from collections.abc import Sequence

from monai.losses import DiceLoss
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from dckd_ext.losses.maps import check_logits, check_positive
from dckd_ext.losses.precision import in_float32
from dckd_ext.transforms.regions import to_regions

__all__ = ["RegionDistillationLoss", "RegionLoss"]


class RegionLoss(nn.Module):
    """Dice and binary cross-entropy of every region, each a mean over regions.

    Args:
        regions: the label's values of every region, in the order of the channels.

    Examples:
        >>> import torch
        >>> loss = RegionLoss([[1, 2], [2]])
        >>> label = torch.tensor([0, 1, 2, 2]).view(1, 1, 4, 1, 1)
        >>> sure = torch.tensor([[-50.0, 50, 50, 50], [-50, -50, 50, 50]]).view(1, 2, 4, 1, 1)
        >>> round(loss(sure, label).item(), 4)
        0.0
    """

    def __init__(self, regions: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.regions = regions
        self.dice = DiceLoss(sigmoid=True, batch=True)

    @in_float32
    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the loss as a scalar.

        Args:
            logits: ``BKDHW``, one channel a region.
            label: class of each voxel, ``B1DHW``.
        """
        target = to_regions(label, self.regions).to(logits.dtype)
        return self.dice(logits, target) + F.binary_cross_entropy_with_logits(logits, target)


class RegionDistillationLoss(nn.Module):
    """Distillation of each region on its own, ``T^2 KL(p^t || p^s)`` of whether it holds.

    `LogitsDistillationLoss` of two classes for every region, as a plain mean over voxels and regions (our
    decision).

    Args:
        temperature: T, by which the logits are divided.

    Raises:
        ValueError: when the temperature is not positive.
    """

    inputs = ("logits", "teacher_logits")

    def __init__(self, temperature: float = 2.0) -> None:
        super().__init__()
        check_positive(temperature=temperature)
        self.temperature = temperature

    @in_float32
    def forward(self, logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """Return the loss as a scalar.

        Args:
            logits: the student's, ``BKDHW``.
            teacher_logits: the teacher's, ``BKDHW``.

        Raises:
            ValueError: when the shapes differ.
        """
        check_logits(logits, teacher_logits)
        student, teacher = logits / self.temperature, teacher_logits.detach() / self.temperature
        held = teacher.sigmoid()
        cross = F.binary_cross_entropy_with_logits(student, held)
        entropy = F.binary_cross_entropy_with_logits(teacher, held)
        return (cross - entropy) * self.temperature**2
