from __future__ import annotations

import pytest
import torch

from dckd_ext.losses.peers import FitNetLoss
from tests.losses.map_examples import grid_cells, maps, project, vectors


@pytest.mark.parametrize("batch", [1, 2])
def test_equals_the_plain_loop(batch):
    student, teacher = maps(batch)
    loss = FitNetLoss(3, 5)
    differences = [
        float(p - t) ** 2
        for s, case in zip(project(vectors(student), loss), vectors(teacher), strict=True)
        for cell in grid_cells()
        for p, t in zip(s[cell], case[cell], strict=True)
    ]
    assert loss(student, teacher).item() == pytest.approx(sum(differences) / len(differences), rel=1e-5)


def test_the_projector_learns_a_linear_relation():
    torch.manual_seed(0)
    student = torch.randn(2, 3, 4, 4, 4)
    teacher = torch.einsum("oc,bcdhw->bodhw", torch.randn(5, 3), student)
    loss = FitNetLoss(3, 5)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.1)
    start = loss(student, teacher).item()
    for _ in range(150):
        optimizer.zero_grad()
        loss(student, teacher).backward()
        optimizer.step()
    assert loss(student, teacher).item() < 1e-3 * start


def test_names_the_channels_that_do_not_fit():
    student, teacher = maps()
    with pytest.raises(ValueError, match=r"4 \(student\) and 5 \(teacher\) channels"):
        FitNetLoss(3, 4)(student, teacher)
