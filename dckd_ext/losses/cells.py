"""The common grid of label, logits and features, and what is true in each of its cells."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

__all__ = ["Cells", "Grid", "common_grid", "pool", "voxels"]

Grid = tuple[int, int, int]


class Cells(NamedTuple):
    """Masks over the N cells of a grid; every cell counts for the class that fills most of it.

    Args:
        share: the part of the cell that the class fills, zero for all but its main class, ``(B, K, N)``.
        student_right: whether the student predicts the class there, bool, ``(B, K, N)``.
        teacher_right: whether the teacher does, bool, ``(B, K, N)``.
        interior: whether no voxel of the cell has a face neighbour of another class, bool, ``(B, N)``.
    """

    share: Tensor
    student_right: Tensor
    teacher_right: Tensor
    interior: Tensor

    @classmethod
    def of(cls, label: Tensor, logits: Tensor, teacher_logits: Tensor, grid: Grid) -> Cells:
        """Cells of a label ``B1DHW`` and logits ``BKDHW``; a label value outside the K classes is ignored."""
        num_classes = logits.shape[1]
        share = pool(_one_hot(label, num_classes), grid).flatten(2)
        classes = torch.arange(num_classes, device=label.device)[:, None]
        return cls(
            share=share * (_top_class(share) == classes),
            student_right=_predicted(logits, grid) == classes,
            teacher_right=_predicted(teacher_logits, grid) == classes,
            interior=_interior(label, grid).flatten(1),
        )


def common_grid(label: Tensor, stride: int, *maps: Tensor) -> Grid:
    """Divide the label's size by the stride; take the coarsest map's size where that is smaller."""
    sizes = [[max(size // stride, 1) for size in label.shape[2:]], *(m.shape[2:] for m in maps)]
    depth, height, width = (min(axis) for axis in zip(*sizes, strict=True))
    return depth, height, width


def pool(volume: Tensor, grid: Grid) -> Tensor:
    """Averages a volume ``BCDHW`` over the cells of a grid, in float32."""
    volume, voxels_of_a_cell = volume.float(), 1
    for axis, cells in enumerate(grid, start=2):  # sums of slices: four times faster than pooling on a CPU
        size, rest = divmod(volume.shape[axis], cells)
        if size > 1 and not rest:
            volume = reduce(torch.add, volume.unflatten(axis, (cells, size)).unbind(axis + 1))
            voxels_of_a_cell *= size
    volume = volume / voxels_of_a_cell if voxels_of_a_cell > 1 else volume
    return volume if volume.shape[2:] == grid else F.adaptive_avg_pool3d(volume, grid)


def voxels(volume: Tensor) -> Tensor:
    """Reshape a volume ``BCDHW`` to a list of voxels ``(B, N, C)``."""
    return volume.flatten(2).transpose(1, 2)


def _one_hot(label: Tensor, num_classes: int) -> Tensor:
    classes = torch.arange(num_classes, device=label.device).view(1, -1, 1, 1, 1)
    return (label == classes).float()


def _predicted(logits: Tensor, grid: Grid) -> Tensor:
    return _top_class(pool(logits.float().softmax(1), grid).flatten(2))


def _top_class(scores: Tensor) -> Tensor:
    return scores.max(1, keepdim=True).indices  # ten times faster than argmax on a CPU


def _interior(label: Tensor, grid: Grid) -> Tensor:
    edge = torch.zeros_like(label, dtype=torch.bool)
    for axis in (2, 3, 4):
        steps = label.shape[axis] - 1
        differs = label.narrow(axis, 0, steps) != label.narrow(axis, 1, steps)
        edge.narrow(axis, 0, steps).logical_or_(differs)
        edge.narrow(axis, 1, steps).logical_or_(differs)
    return pool(edge, grid) == 0
