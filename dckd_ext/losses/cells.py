"""The common grid of label, logits and features, and what is true in each of its cells."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


class Cells(NamedTuple):
    """Masks over the N cells of a grid; every cell counts for the class that fills most of it.

    Args:
        share: the part of the cell that the class fills, zero for all but its main class, ``(B, K, N)``.
        student_right: whether the student predicts the class there, bool, ``(B, K, N)``.
        teacher_right: whether the teacher does, bool, ``(B, K, N)``.
        interior: whether no voxel of the cell is within one voxel of a class boundary, bool, ``(B, N)``.
    """

    share: Tensor
    student_right: Tensor
    teacher_right: Tensor
    interior: Tensor

    @classmethod
    def of(cls, label: Tensor, logits: Tensor, teacher_logits: Tensor, grid: tuple[int, ...]) -> Cells:
        """Cells of a label ``B1DHW`` and logits ``BKDHW``; a label value outside the K classes is ignored."""
        num_classes = logits.shape[1]
        share = pool(_one_hot(label, num_classes), grid).flatten(2)
        classes = torch.arange(num_classes, device=label.device)[:, None]
        return cls(
            share=share * (share.argmax(1, keepdim=True) == classes),
            student_right=_predicted(logits, grid) == classes,
            teacher_right=_predicted(teacher_logits, grid) == classes,
            interior=_interior(label, grid).flatten(1),
        )


def common_grid(label: Tensor, stride: int, *maps: Tensor) -> tuple[int, ...]:
    """The label's size divided by the stride, or the coarsest map's size where that is smaller."""
    sizes = [[max(size // stride, 1) for size in label.shape[2:]], *(m.shape[2:] for m in maps)]
    return tuple(min(axis) for axis in zip(*sizes, strict=True))


def pool(volume: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Averages a volume ``BCDHW`` over the cells of a grid, in float32."""
    volume = volume.float()
    return volume if volume.shape[2:] == grid else F.adaptive_avg_pool3d(volume, grid)


def voxels(volume: Tensor) -> Tensor:
    """A volume ``BCDHW`` as a list of voxels ``(B, N, C)``."""
    return volume.flatten(2).transpose(1, 2)


def _one_hot(label: Tensor, num_classes: int) -> Tensor:
    classes = torch.arange(num_classes, device=label.device).view(1, -1, 1, 1, 1)
    return (label == classes).float()


def _predicted(logits: Tensor, grid: tuple[int, ...]) -> Tensor:
    return pool(logits.float().softmax(1), grid).flatten(2).argmax(1, keepdim=True)


def _interior(label: Tensor, grid: tuple[int, ...]) -> Tensor:
    label = label.float()
    highest = F.max_pool3d(label, 3, stride=1, padding=1)
    lowest = -F.max_pool3d(-label, 3, stride=1, padding=1)
    return pool(highest == lowest, grid) > 0.999
