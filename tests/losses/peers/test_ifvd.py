from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from dckd_ext.losses.peers import IFVDLoss
from tests.losses.map_examples import NUM_CLASSES, classes, cosine, grid_cells, maps, random_label, vectors


def variation(cells: dict, labels: dict) -> dict:
    result = {}
    for cell in grid_cells():
        if labels[cell] is not None:
            mean = np.mean([cells[i] for i in grid_cells() if labels[i] == labels[cell]], axis=0)
            result[cell] = cosine(cells[cell], mean)
    return result


def oracle(student: Tensor, teacher: Tensor, label: Tensor) -> float:
    squares = []
    for s, t, y in zip(vectors(student), vectors(teacher), classes(label), strict=True):
        of_student, of_teacher = variation(s, y), variation(t, y)
        squares += [(of_student[cell] - of_teacher[cell]) ** 2 for cell in of_student]
    return float(np.mean(squares)) if squares else 0.0


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("among", [(0, 1, 2), (0, 1), (0,), (0, 2, 255), (1, 255)])
def test_equals_the_plain_loop(batch, among):
    student, teacher = maps(batch)
    label = random_label(batch, among=among)
    value = IFVDLoss(NUM_CLASSES)(student, teacher, label)
    assert value.item() == pytest.approx(oracle(student, teacher, label), rel=1e-4)


def test_a_class_that_only_one_case_has_does_not_disturb_the_other():
    student, teacher = maps(2)
    label = random_label(2)
    label[0] = 0
    value = IFVDLoss(NUM_CLASSES)(student, teacher, label)
    assert value.item() == pytest.approx(oracle(student, teacher, label), rel=1e-4)


def test_the_scale_of_features_does_not_matter():
    student, teacher = maps()
    label = random_label()
    value = IFVDLoss(NUM_CLASSES)(student, teacher, label)
    torch.testing.assert_close(IFVDLoss(NUM_CLASSES)(50 * student, 0.01 * teacher, label), value)


def test_refuses_a_number_of_classes_that_is_not_positive():
    with pytest.raises(ValueError, match="num_classes must be positive, got 0"):
        IFVDLoss(0)
