from __future__ import annotations

import numpy as np
import pytest
import torch

from dckd_ext.losses.peers import DISTLoss


def oracle(student: np.ndarray, teacher: np.ndarray, beta: float, gamma: float, temperature: float) -> float:
    """Correlations of numpy in plain loops: over classes at each voxel and over voxels."""
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        s, t = (np.exp(v / temperature) / np.exp(v / temperature).sum(0) for v in (s, t))
        s, t = s.reshape(len(s), -1), t.reshape(len(t), -1)
        classes = np.mean([1 - np.corrcoef(s[:, i], t[:, i])[0, 1] for i in range(s.shape[1])])
        places = np.mean([1 - np.corrcoef(s[k], t[k])[0, 1] for k in range(len(s))])
        total += beta * classes + gamma * places
    return temperature**2 * total / len(student)


@pytest.mark.parametrize(("beta", "gamma", "temperature"), [(1, 1, 1), (2, 0.5, 4), (0, 1, 1), (1, 0, 2)])
def test_agrees_with_plain_loops(beta, gamma, temperature):
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(2, 3, 3, 4, 2, generator=generator) for _ in range(2))
    found = DISTLoss(beta, gamma, temperature)(student, teacher)
    expected = oracle(student.double().numpy(), teacher.double().numpy(), beta, gamma, temperature)
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_only_relations_count():
    """Any mixture of the teacher's probabilities with an even share has the same relations."""
    teacher = torch.randn(1, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    flatter = (0.5 * teacher.softmax(1) + 0.5 / 3).log()
    assert float(DISTLoss()(flatter, teacher)) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("shape", "text"),
    [((1, 1, 4, 4, 4), "a channel for each of 2 or more classes"), ((1, 3, 4, 4, 2), "must have one shape")],
)
def test_refuses_other_shapes_and_a_single_class(shape, text):
    with pytest.raises(ValueError, match=text):
        DISTLoss()(torch.rand(shape), torch.rand(shape[0], shape[1], 4, 4, 4))


def test_refuses_a_temperature_of_zero():
    with pytest.raises(ValueError, match="temperature must be positive"):
        DISTLoss(temperature=0)
