"""Small batches for the tests of the pair sampler and the composite loss."""

from __future__ import annotations

import torch
from torch import Tensor

from dckd_ext.inferers import DistillationOutput
from dckd_ext.losses import PairSampler
from dckd_ext.losses.bank import ReferenceBank

SIZE = (8, 12, 8)


def cubes(batch: int = 2, num_classes: int = 2) -> Tensor:
    """Background with a box of each other class."""
    label = torch.zeros(batch, 1, *SIZE)
    for c in range(1, num_classes):
        label[:, :, 1:7, 4 * c - 4 + 1 : 4 * c + 1, 2:6] = c
    return label


def output_for(label: Tensor, num_classes: int = 2, features: tuple[int, ...] = SIZE) -> DistillationOutput:
    """A teacher that is right everywhere and a student that guesses."""
    batch = len(label)
    right = (label == torch.arange(num_classes).view(1, -1, 1, 1, 1)).float()
    return DistillationOutput(
        logits=torch.randn(batch, num_classes, *SIZE),
        teacher_logits=10 * right,
        features=torch.randn(batch, 3, *features, requires_grad=True),
        teacher_features=torch.randn(batch, 5, *SIZE),
        case_ids=torch.arange(10, 10 + batch),
    )


def sampler(num_classes: int = 2, bank: bool = True, **options) -> PairSampler:
    return PairSampler(num_classes, 3, 5, ReferenceBank(num_classes, 5, 64, 8) if bank else None, **options)
