"""The frozen teacher and what unwraps it."""

import pytest
import torch
import torch.nn as nn

from dckd_ext.networks import Teacher, unwrap


class Heads(nn.Module):
    """Answers with what it was built with."""

    def __init__(self, output) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.output = output

    def forward(self, image):
        return self.output


LOGITS = torch.randn(2, 4, 3, 5, 4, generator=torch.Generator().manual_seed(0))
IMAGE = torch.zeros(2, 1, 3, 5, 4)


@pytest.mark.parametrize(
    "output",
    [LOGITS, [LOGITS, LOGITS[..., ::2]], (LOGITS,), {"out": LOGITS}, torch.stack([LOGITS, -LOGITS], dim=1)],
    ids=["tensor", "list", "tuple", "dict", "stack"],
)
def test_output_is_one_map_of_logits(output):
    assert torch.equal(Teacher(Heads(output))(IMAGE), LOGITS)


def test_label_map_reorders():
    logits = Teacher(Heads(LOGITS), {0: 0, 1: 3, 2: 1, 3: 2})(IMAGE)
    assert torch.equal(logits, LOGITS[:, [0, 2, 3, 1]])


def test_label_map_adds_probabilities_of_merged_classes():
    logits = Teacher(Heads(LOGITS), {"0": 0, "1": 1, "2": 1, "3": 0})(IMAGE)
    p = LOGITS.softmax(1)
    torch.testing.assert_close(logits.softmax(1), torch.stack([p[:, 0] + p[:, 3], p[:, 1] + p[:, 2]], dim=1))


@pytest.mark.parametrize("label_map", [{0: 0, 2: 1}, {0: 0, 1: 2}, {1: 0, 2: 1}, {}])
def test_label_map_with_gaps_is_refused(label_map):
    with pytest.raises(ValueError, match="without a gap"):
        Teacher(Heads(LOGITS), label_map)


def test_label_map_must_fit_the_network():
    with pytest.raises(ValueError, match="3 teacher classes, the teacher gives 4"):
        Teacher(Heads(LOGITS), {0: 0, 1: 1, 2: 1})(IMAGE)


def test_output_without_a_tensor_is_refused():
    with pytest.raises(TypeError, match="dict"):
        Teacher(Heads({}))(IMAGE)


def test_a_first_head_of_lower_resolution_is_refused():
    with pytest.raises(
        ValueError, match=r"the teacher's first output has 3 x 5 x 2 voxels, expected .* 3 x 5 x 4"
    ):
        Teacher(Heads([LOGITS[..., ::2], LOGITS]))(IMAGE)


def test_stays_frozen_and_in_eval_mode():
    teacher = Teacher(nn.Sequential(nn.Conv3d(1, 2, 1), nn.Dropout()))
    nn.Sequential(teacher).train()
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_unwrap():
    network = nn.Conv3d(1, 2, 1)
    assert unwrap(nn.DataParallel(Teacher(network))) is network
    assert unwrap(network) is network
