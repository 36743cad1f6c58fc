from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from dckd_ext.losses import CWDLoss, DecoupledContrastiveLoss, LogitsDistillationLoss, RankingLoss
from dckd_ext.losses.precision import in_float32
from tests.losses.pair_examples import random_pairs


class Nested(NamedTuple):
    volume: Tensor
    cases: Tensor
    missing: None = None


@pytest.mark.parametrize("as_keyword", [False, True])
def test_tensors_come_in_float32_from_within_tuples(as_keyword):
    @in_float32
    def forward(given: Nested, name: str) -> Tensor:
        assert given.volume.dtype == torch.float32
        assert given.cases.dtype == torch.int64
        assert (given.missing, name) == (None, "loss")
        return given.volume @ given.volume

    given = Nested(torch.rand(3, 3).bfloat16(), torch.arange(3))
    expected = given.volume.float() @ given.volume.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = forward(given=given, name="loss") if as_keyword else forward(given, "loss")
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("loss", "given"),
    [
        (CWDLoss(), (torch.randn(2, 3, 4, 4, 4), torch.randn(2, 3, 4, 4, 4))),
        (LogitsDistillationLoss(), (torch.randn(2, 3, 4, 4, 4), torch.randn(2, 3, 4, 4, 4))),
        (DecoupledContrastiveLoss(), (random_pairs(),)),
        (RankingLoss(), (random_pairs(),)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_losses_compute_in_float32_under_autocast(loss, given):
    expected = loss(*given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss(*given), expected)
