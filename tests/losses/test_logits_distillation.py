from __future__ import annotations

import pytest
import torch
from scipy.special import rel_entr, softmax

from dckd_ext.losses import LogitsDistillationLoss


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_equals_scipy(classes, temperature):
    student, teacher = torch.randn(2, 2, classes, 3, 4, 5, dtype=torch.float64)
    p, q = (softmax(x.numpy() / temperature, axis=1) for x in (teacher, student))
    expected = temperature**2 * rel_entr(p, q).sum(1).mean()
    assert LogitsDistillationLoss(temperature)(student, teacher).item() == pytest.approx(expected, rel=1e-5)


def test_is_zero_for_equal_logits_and_blind_to_a_shift():
    logits = torch.randn(1, 3, 2, 2, 2)
    assert LogitsDistillationLoss()(logits, logits + 5).item() == pytest.approx(0, abs=1e-6)


def test_stays_finite_for_huge_logits():
    logits = (torch.randn(1, 3, 2, 2, 2) * 1e4).requires_grad_()
    LogitsDistillationLoss()(logits, -logits.detach()).backward()
    assert logits.grad.isfinite().all()


def test_names_both_shapes_where_they_differ():
    with pytest.raises(ValueError, match=r"\(1, 2, 2, 2, 2\) of the student and \(1, 3, 2, 2, 2\)"):
        LogitsDistillationLoss()(torch.zeros(1, 2, 2, 2, 2), torch.zeros(1, 3, 2, 2, 2))


def test_refuses_a_temperature_that_is_not_positive():
    with pytest.raises(ValueError, match="temperature must be positive, got -1"):
        LogitsDistillationLoss(-1)
