"""The common grid of label, logits and features, and what is true in each of its cells."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

__all__ = ["Cells", "Grid", "class_share", "common_grid", "main_class", "pool", "voxels"]

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
        """Make cells of a label ``B1DHW`` and logits ``BKDHW``; labels outside the K classes are ignored."""
        share = class_share(label, logits.shape[1], grid)
        student, teacher = (pool(volume.softmax(1), grid).flatten(2) for volume in (logits, teacher_logits))
        return cls(
            share=share * main_class(share),
            student_right=main_class(student),
            teacher_right=main_class(teacher),
            interior=_interior(label, grid).flatten(1),
        )


def common_grid(label: Tensor, stride: int, *maps: Tensor) -> Grid:
    """Divide the label's size by the stride; take the coarsest map's size where that is smaller."""
    sizes = [[max(size // stride, 1) for size in label.shape[2:]], *(m.shape[2:] for m in maps)]
    depth, height, width = (min(axis) for axis in zip(*sizes, strict=True))
    return depth, height, width


def pool(volume: Tensor, grid: Grid) -> Tensor:
    """Average a volume ``BCDHW`` over the cells of a grid, in float32."""
    volume, voxels_of_a_cell = volume.float(), 1
    for axis, cells in enumerate(grid, start=2):  # sums of slices: four times faster than pooling on a CPU
        size, rest = divmod(volume.shape[axis], cells)
        if size > 1 and not rest:
            volume = reduce(torch.add, volume.unflatten(axis, (cells, size)).unbind(axis + 1))
            voxels_of_a_cell *= size
    volume = volume / voxels_of_a_cell if voxels_of_a_cell > 1 else volume
    return volume if volume.shape[2:] == grid else F.adaptive_avg_pool3d(volume, grid)


def class_share(label: Tensor, num_classes: int, grid: Grid) -> Tensor:
    """Measure the part of each of the N cells that each class fills, ``(B, K, N)``.

    Args:
        label: class of each voxel, ``B1DHW``; a value outside the K classes is ignored.
        num_classes: K, the background included.
        grid: cells along each axis.
    """
    classes = torch.arange(num_classes, device=label.device).view(1, -1, 1, 1, 1)
    return pool(label == classes, grid).flatten(2)


def main_class(share: Tensor) -> Tensor:
    """Mark the class with most of each cell, bool ``(B, K, N)``; none where all have nothing."""
    most, main = share.max(1, keepdim=True)  # ten times faster than argmax on a CPU
    classes = torch.arange(share.shape[1], device=share.device)
    return (main == classes[:, None]) & (most > 0)


def voxels(volume: Tensor) -> Tensor:
    """Reshape a volume ``BCDHW`` to a list of voxels ``(B, N, C)``."""
    return volume.flatten(2).transpose(1, 2)


def _interior(label: Tensor, grid: Grid) -> Tensor:
    edge = torch.zeros_like(label, dtype=torch.bool)
    for axis in (2, 3, 4):
        steps = label.shape[axis] - 1
        differs = label.narrow(axis, 0, steps) != label.narrow(axis, 1, steps)
        edge.narrow(axis, 0, steps).logical_or_(differs)
        edge.narrow(axis, 1, steps).logical_or_(differs)
    return pool(edge, grid) == 0
