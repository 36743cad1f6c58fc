from __future__ import annotations

import pytest
import torch

from dckd_ext.losses import CWDLoss, DistillationLoss, Term
from tests.losses.batch_examples import cubes, output_for
from tests.losses.map_examples import divergence, grid_cells, maps, project, softmax, vectors


def oracle(student: list[dict], teacher: list[dict], temperature: float) -> float:
    channels = len(teacher[0][0, 0, 0])
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        for c in range(channels):
            p, q = (softmax([f[cell][c] / temperature for cell in grid_cells()]) for f in (t, s))
            total += temperature**2 * divergence(p, q)
    return total / (len(student) * channels)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_equals_the_plain_loop(batch, temperature):
    student, teacher = maps(batch)
    loss = CWDLoss(3, 5, temperature)
    expected = oracle(project(vectors(student), loss), vectors(teacher), temperature)
    assert loss(student, teacher).item() == pytest.approx(expected, rel=1e-4)


def test_compares_logits_without_a_projector():
    student, _ = maps()
    _, teacher = maps(seed=1)
    teacher = teacher[:, :3]
    expected = oracle(vectors(student), vectors(teacher), 4.0)
    assert CWDLoss()(student, teacher).item() == pytest.approx(expected, rel=1e-4)

    label, output = cubes(), output_for(cubes())
    loss = DistillationLoss({"cwd": Term(CWDLoss(), inputs=("logits", "teacher_logits"))})
    torch.testing.assert_close(loss(output, label), CWDLoss()(output.logits, output.teacher_logits))


def test_is_blind_to_a_shift_of_a_channel_but_not_to_its_scale():
    features = torch.randn(1, 3, 4, 4, 4)
    assert CWDLoss()(features, features + torch.randn(1, 3, 1, 1, 1)).item() == pytest.approx(0, abs=1e-5)
    assert CWDLoss()(features, 2 * features).item() > 1e-3


def test_errors_name_what_is_wrong():
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        CWDLoss(temperature=0)
    with pytest.raises(ValueError, match="student_channels=3 and teacher_channels=None"):
        CWDLoss(3)
    with pytest.raises(ValueError, match=r"3 \(student\) and 5 \(teacher\) channels"):
        CWDLoss()(*maps())
