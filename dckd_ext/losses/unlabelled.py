"""Samples without a label in a batch: how they are marked, and what the teacher says of them."""

from __future__ import annotations

import torch
from torch import Tensor

from dckd_ext.utils.labels import UNLABELLED

__all__ = ["confident_classes", "labelled_samples"]


def labelled_samples(label: Tensor) -> Tensor:
    """Mark the samples of a batch that have a label, bool ``(B,)``: those without any `UNLABELLED` voxel.

    Examples:
        >>> labelled_samples(torch.tensor([[0, 1], [0, 255]]).view(2, 1, 2, 1, 1)).tolist()
        [True, False]
    """
    return (label != UNLABELLED).flatten(1).all(1)


def confident_classes(label: Tensor, teacher_logits: Tensor, min_confidence: float) -> Tensor:
    """Put the teacher's confident classes in the place of labels that there are not.

    Args:
        label: class of each voxel, ``B1DHW``; samples without a label are filled with `UNLABELLED`.
        teacher_logits: ``BKDHW``.
        min_confidence: least probability of the teacher's class; a voxel below it stays `UNLABELLED`.
    """
    labelled = labelled_samples(label)
    if labelled.all():
        return label
    confidence, teacher = teacher_logits.softmax(1).max(1, keepdim=True)
    teacher = teacher.to(label.dtype).masked_fill(confidence < min_confidence, UNLABELLED)
    return torch.where(labelled.view(-1, 1, 1, 1, 1), label, teacher)
