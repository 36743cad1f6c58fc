from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from dckd_ext.losses import LogitsDistillationLoss
from dckd_ext.losses.peers import DKDLoss
from tests.losses.map_examples import divergence, softmax

SIZE = (2, 3, 2)


def oracle(student: Tensor, teacher: Tensor, label: Tensor, alpha: float, beta: float, temperature: float):
    losses = []
    for b, *voxel in itertools.product(range(len(student)), *map(range, SIZE)):
        true = int(label[(b, 0, *voxel)])
        if true >= student.shape[1]:
            continue
        p, q = (
            softmax([v / temperature for v in x[(b, slice(None), *voxel)].tolist()])
            for x in (teacher, student)
        )
        rest_p, rest_q = ([v / (1 - x[true]) for k, v in enumerate(x) if k != true] for x in (p, q))
        target = divergence([p[true], 1 - p[true]], [q[true], 1 - q[true]])
        losses.append(temperature**2 * (alpha * target + beta * divergence(rest_p, rest_q)))
    return sum(losses) / len(losses) if losses else 0.0


def example(num_classes: int, batch: int = 2, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(num_classes)
    student, teacher = scale * torch.randn(2, batch, num_classes, *SIZE, generator=generator)
    return student.requires_grad_(), teacher, torch.randint(num_classes, (batch, 1, *SIZE)).float()


@pytest.mark.parametrize("num_classes", [2, 3, 5])
@pytest.mark.parametrize("settings", [(1.0, 8.0, 4.0), (0.5, 0.0, 1.0), (0.0, 2.0, 2.0)])
def test_equals_the_plain_loop(num_classes, settings):
    student, teacher, label = example(num_classes)
    label[0, 0, 0] = 255
    value = DKDLoss(*settings)(student, teacher, label)
    assert value.item() == pytest.approx(oracle(student, teacher, label, *settings), rel=1e-4, abs=1e-7)


def test_the_second_part_is_zero_for_two_classes():
    student, teacher, label = example(2)
    assert DKDLoss(alpha=0.0)(student, teacher, label).item() == 0
    # and the first is all of plain distillation then
    plain = LogitsDistillationLoss(4.0)(student, teacher)
    torch.testing.assert_close(DKDLoss()(student, teacher, label), plain)


def test_adds_up_to_plain_distillation_with_the_weights_that_it_hides():
    """KD = TCKD + (1 - p_y of the teacher) NCKD, equation 7 of the paper, voxel by voxel."""
    student, teacher, label = (x[:1, ..., :1, :1, :1] for x in example(4))
    other = 1 - teacher.softmax(1)[0, int(label)].item()
    decoupled = DKDLoss(1.0, other, temperature=1.0)(student, teacher, label)
    torch.testing.assert_close(decoupled, LogitsDistillationLoss(1.0)(student, teacher))


def test_classes_are_read_from_the_channel_axis():
    """A reshape of (B, K, ...) to (-1, K) would mix places and classes."""
    student, teacher, label = example(3, batch=1)
    order = torch.randperm(math.prod(SIZE))

    def moved(volume: Tensor) -> Tensor:
        return volume.flatten(2)[..., order].view_as(volume)

    torch.testing.assert_close(
        DKDLoss()(moved(student), moved(teacher), moved(label)), DKDLoss()(student, teacher, label)
    )


def test_stays_finite_for_very_sure_networks():
    student, teacher, label = example(3, scale=1e4)
    value = DKDLoss()(student, teacher, label)
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()
    assert student.grad.any()


def test_an_error_of_the_network_is_not_hidden():
    student, teacher, label = example(3)
    broken = student.detach().clone()
    broken[0, 0, 0, 0, 0] = torch.nan
    assert DKDLoss()(broken, teacher, label).isnan()


def test_errors_name_what_is_wrong():
    student, teacher, label = example(3)
    with pytest.raises(ValueError, match=r"one shape, .* and \(2, 2, 2, 3, 2\) of the teacher"):
        DKDLoss()(student, teacher[:, :2], label)
    with pytest.raises(ValueError, match=r"label .* \(2, 3, 2, 3, 2\), got \(2, 2, 3, 2\)"):
        DKDLoss()(student, teacher, label[:, 0])
    with pytest.raises(ValueError, match="a channel for each of 2 or more classes"):
        DKDLoss()(student[:, :1], teacher[:, :1], label)
    with pytest.raises(ValueError, match="temperature must be positive"):
        DKDLoss(temperature=-1.0)
