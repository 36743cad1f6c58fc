"""What the losses on maps share: one grid, its classes, their means, a divergence and a projector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from dckd_ext.losses.cells import class_share, main_class, pool
from dckd_ext.losses.distributed import SynchronisedModule

__all__ = [
    "bounded",
    "channel_projector",
    "check_channels",
    "check_logits",
    "check_positive",
    "class_means",
    "matched",
    "matched_classes",
    "pairs_of_taps",
    "softened_divergence",
]


def matched(features: Tensor, teacher_features: Tensor) -> tuple[Tensor, Tensor]:
    """Average both maps over the coarser grid of the two, axis by axis; no gradient goes to the teacher.

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


def matched_classes(
    features: Tensor, teacher_features: Tensor, label: Tensor, num_classes: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return both maps of `matched`, and the class that fills most of each cell, bool ``(B, K, N)``.

    A cell without any class is in none.
    """
    student, teacher = matched(features, teacher_features)
    depth, height, width = student.shape[2:]
    return student, teacher, main_class(class_share(label, num_classes, (depth, height, width)))


def class_means(features: Tensor, masks: Tensor) -> Tensor:
    """Average a map ``BCDHW`` over each class of each case, ``(B, K, C)``; zero for an absent class."""
    sums = torch.einsum("bcn,bkn->bkc", features.flatten(2), masks.float())
    return sums / masks.sum(2)[..., None].clamp(min=1)


def softened_divergence(student: Tensor, teacher: Tensor, temperature: float, dim: int) -> Tensor:
    """Take the mean of ``T^2 KL(p^t || p^s)``, where p is the softmax along ``dim`` of values over T."""
    log_student, log_teacher = ((values / temperature).log_softmax(dim) for values in (student, teacher))
    divergence = F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(dim)
    return divergence.mean() * temperature**2


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


def check_logits(logits: Tensor, teacher_logits: Tensor, least: int = 1) -> None:
    """Raise a ValueError when logits differ in shape, or have fewer channels than a loss needs."""
    shapes = f"got {tuple(logits.shape)} of the student and {tuple(teacher_logits.shape)} of the teacher"
    if logits.shape != teacher_logits.shape:
        raise ValueError(f"Logits must have one shape, {shapes}")
    if logits.shape[1] < least:
        raise ValueError(f"Logits must have a channel for each of {least} or more classes, {shapes}")


def pairs_of_taps(student: Any, teacher: Any) -> list[tuple[int, int]]:
    """Pair the channels of several taps of student and teacher.

    Raises:
        ValueError: when they are not equally many, or none.
    """
    several = isinstance(student, Sequence) and isinstance(teacher, Sequence)
    if not several or len(student) != len(teacher) or not student:
        raise ValueError(
            "student_tap and teacher_tap must name equally many maps, "
            f"found maps of {student} and of {teacher} channels"
        )
    return list(zip(student, teacher, strict=True))


def check_positive(**settings: float) -> None:
    """Raise a ValueError that names a setting which is not positive."""
    for name, value in settings.items():
        if not value > 0:
            raise ValueError(f"The {name} must be positive, got {value}")
