"""What the losses on feature maps share: one grid, its classes, their means and a projector."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import torch
from torch import Tensor, nn

from dckd_ext.losses.cells import Grid, pool
from dckd_ext.losses.distributed import SynchronisedModule

__all__ = [
    "bounded",
    "channel_projector",
    "check_channels",
    "check_positive",
    "class_masks",
    "class_means",
    "in_float32",
    "matched",
    "matched_classes",
]

P = ParamSpec("P")


def in_float32(forward: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Make a loss compute in float32, outside autocast and whatever the dtype of its tensors."""

    @wraps(forward)
    def run(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        device = next(value.device for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        with torch.autocast(device.type, enabled=False):
            return forward(*map(_float32, args), **{key: _float32(value) for key, value in kwargs.items()})

    return run


def matched(features: Tensor, teacher_features: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps averaged over the coarser grid of the two, axis by axis; no gradient goes to the teacher.

    The papers interpolate one map to the size of the other; averaging the finer one invents no detail and
    costs less in three dimensions (our decision).

    Raises:
        ValueError: when the maps have another number of cases.
    """
    if len(features) != len(teacher_features):
        raise ValueError(
            f"Expected features of the same cases, got {len(features)} of the student "
            f"and {len(teacher_features)} of the teacher"
        )
    sizes = zip(features.shape[2:], teacher_features.shape[2:], strict=True)
    depth, height, width = (min(pair) for pair in sizes)
    grid = depth, height, width
    return pool(features, grid), pool(teacher_features.detach(), grid)


def bounded(volume: Tensor, cells: int) -> Tensor:
    """Average a volume ``BCDHW`` over at most so many cells, its longest axis halved until it fits."""
    depth, height, width = volume.shape[2:]
    grid = [depth, height, width]
    while grid[0] * grid[1] * grid[2] > cells:
        longest = grid.index(max(grid))
        grid[longest] = (grid[longest] + 1) // 2
    return pool(volume, (grid[0], grid[1], grid[2]))


def class_masks(label: Tensor, num_classes: int, grid: Grid) -> Tensor:
    """Which class fills most of each of the N cells, bool ``(B, K, N)``; a cell without any class is in none.

    Args:
        label: class of each voxel, ``B1DHW``; a value outside the K classes is ignored.
        num_classes: K, the background included.
        grid: cells along each axis.
    """
    classes = torch.arange(num_classes, device=label.device)
    share = pool(label == classes.view(1, -1, 1, 1, 1), grid).flatten(2)
    most, main = share.max(1, keepdim=True)
    return (main == classes[:, None]) & (most > 0)


def matched_classes(
    features: Tensor, teacher_features: Tensor, label: Tensor, num_classes: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Both maps of `matched` and the `class_masks` on their grid."""
    student, teacher = matched(features, teacher_features)
    depth, height, width = student.shape[2:]
    return student, teacher, class_masks(label, num_classes, (depth, height, width))


def class_means(features: Tensor, masks: Tensor) -> Tensor:
    """Mean vector of each class of each case, ``(B, K, C)``, of a map ``BCDHW``; zero for an absent class."""
    sums = torch.einsum("bcn,bkn->bkc", features.flatten(2), masks.float())
    return sums / masks.sum(2)[..., None].clamp(min=1)


def channel_projector(student_channels: int, teacher_channels: int) -> SynchronisedModule:
    """Make a trainable 1x1x1 convolution from the student's channels to the teacher's."""
    return SynchronisedModule(nn.Conv3d(student_channels, teacher_channels, 1))


def check_channels(student: Tensor, teacher: Tensor) -> None:
    """Raise a ValueError when two maps differ in their channels."""
    if student.shape[1] != teacher.shape[1]:
        raise ValueError(
            f"The maps have {student.shape[1]} (student) and {teacher.shape[1]} (teacher) channels: "
            "they must be equal, after the projector where the loss has one"
        )


def check_positive(**settings: float) -> None:
    """Raise a ValueError that names a setting which is not positive."""
    for name, value in settings.items():
        if not value > 0:
            raise ValueError(f"The {name} must be positive, got {value}")


def _float32(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
