from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from dckd_ext.losses.peers import RegionAffinityLoss
from tests.losses.map_examples import NUM_CLASSES, classes, cosine, grid_cells, maps, random_label, vectors


def oracle(student: Tensor, teacher: Tensor, label: Tensor) -> float:
    cases = []
    for s, t, y in zip(vectors(student), vectors(teacher), classes(label), strict=True):
        means = {
            c: [np.mean([f[cell] for cell in grid_cells() if y[cell] == c], axis=0) for f in (s, t)]
            for c in range(NUM_CLASSES)
            if c in y.values()
        }
        squares = [
            (cosine(means[j][0], means[k][0]) - cosine(means[j][1], means[k][1])) ** 2
            for j in means
            for k in means
            if j < k
        ]
        if squares:
            cases.append(np.mean(squares))
    return float(np.mean(cases)) if cases else 0.0


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("among", [(0, 1, 2), (0, 1), (2, 1, 255)])
def test_equals_the_plain_loop(batch, among):
    student, teacher = maps(batch)
    label = random_label(batch, among=among)
    value = RegionAffinityLoss(NUM_CLASSES)(student, teacher, label)
    assert value.item() > 0
    assert value.item() == pytest.approx(oracle(student, teacher, label), rel=1e-4)


def test_cases_with_one_class_do_not_count():
    student, teacher = maps(2)
    label = random_label(2)
    label[1] = 1
    value = RegionAffinityLoss(NUM_CLASSES)(student, teacher, label)
    assert value.item() == pytest.approx(oracle(student[:1], teacher[:1], label[:1]), rel=1e-4)


def test_an_orthogonal_change_of_the_feature_space_does_not_matter():
    student, _ = maps()
    label = random_label()
    rotation = torch.linalg.qr(torch.randn(3, 3)).Q
    rotated = torch.einsum("oc,bcdhw->bodhw", rotation, student.detach())
    assert RegionAffinityLoss(NUM_CLASSES)(student, rotated, label).item() == pytest.approx(0, abs=1e-10)
