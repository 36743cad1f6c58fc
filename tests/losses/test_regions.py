"""Losses of regions that may overlap, against plain sums over voxels."""

import math

import pytest
import torch

from dckd_ext.losses import RegionDistillationLoss, RegionLoss

LOGITS = torch.randn(2, 2, 2, 3, 2, generator=torch.Generator().manual_seed(0))
TEACHER = torch.randn(2, 2, 2, 3, 2, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_distillation_is_the_divergence_of_each_region(temperature):
    total = 0.0
    for s, t in zip(LOGITS.flatten().tolist(), TEACHER.flatten().tolist(), strict=True):
        p, q = (1 / (1 + math.exp(-value / temperature)) for value in (t, s))
        total += p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    found = RegionDistillationLoss(temperature)(LOGITS, TEACHER)
    assert found.item() == pytest.approx(temperature**2 * total / LOGITS.numel(), rel=1e-5)
    assert RegionDistillationLoss(temperature)(TEACHER, TEACHER).item() == pytest.approx(0, abs=1e-6)


def test_distillation_takes_logits_of_one_shape():
    with pytest.raises(ValueError, match="one shape"):
        RegionDistillationLoss()(LOGITS, TEACHER[:, :1])
    with pytest.raises(ValueError, match="temperature must be positive"):
        RegionDistillationLoss(0)


def test_supervision_is_dice_and_cross_entropy_of_each_region():
    label = torch.randint(0, 3, (2, 1, 2, 3, 2), generator=torch.Generator().manual_seed(2))
    dice, entropy = [], 0.0
    for channel, values in enumerate(([1, 2], [2])):
        both, sums = 0.0, 0.0
        flat = zip(LOGITS[:, channel].flatten().tolist(), label.flatten().tolist(), strict=True)
        for logit, value in flat:
            p, y = 1 / (1 + math.exp(-logit)), float(value in values)
            both, sums = both + p * y, sums + p + y
            entropy -= y * math.log(p) + (1 - y) * math.log(1 - p)
        dice.append(1 - (2 * both + 1e-5) / (sums + 1e-5))
    found = RegionLoss([[1, 2], [2]])(LOGITS, label)
    assert found.item() == pytest.approx(sum(dice) / 2 + entropy / LOGITS.numel(), rel=1e-5)
