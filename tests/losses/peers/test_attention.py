from __future__ import annotations

import math

import pytest
import torch

from dckd_ext.losses.peers import ATLoss
from tests.losses.map_examples import grid_cells, maps, vectors


def oracle(student, teacher) -> float:
    total = 0.0
    for s, t in zip(vectors(student), vectors(teacher), strict=True):
        squares = [{cell: float((f[cell] ** 2).sum()) for cell in grid_cells()} for f in (s, t)]
        lengths = [math.sqrt(sum(v**2 for v in q.values())) for q in squares]
        for cell in grid_cells():
            total += (squares[0][cell] / lengths[0] - squares[1][cell] / lengths[1]) ** 2
    return total / (len(student) * len(grid_cells()))


@pytest.mark.parametrize("batch", [1, 2])
def test_equals_the_plain_loop(batch):
    student, teacher = maps(batch)
    assert ATLoss()(student, teacher).item() == pytest.approx(oracle(student, teacher), rel=1e-5)


def test_is_blind_to_scale_and_order_of_the_channels_but_not_to_places():
    features = torch.randn(2, 4, 3, 4, 5)
    assert ATLoss()(features, -3 * features.flip(1)).item() == pytest.approx(0, abs=1e-12)
    assert ATLoss()(features, features.flip(2)).item() > 1e-4


def test_scales_each_case_by_itself():
    features, other = torch.rand(2, 2, 3, 4, 3, 3)
    scale = torch.tensor([1.0, 100.0]).view(2, 1, 1, 1, 1)
    torch.testing.assert_close(ATLoss()(scale * features, other), ATLoss()(features, other))
