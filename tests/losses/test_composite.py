from __future__ import annotations

import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.losses import DiceCELoss
from torch import nn

from dckd_ext.losses import (
    DecoupledContrastiveLoss,
    DistillationLoss,
    LogitsDistillationLoss,
    RankingLoss,
    Term,
)
from tests.losses.batch_examples import cubes, output_for, sampler

SEGMENTATION = DiceCELoss(to_onehot_y=True, softmax=True)


class Recorder(nn.Module):
    """Returns a constant and remembers what it was called with."""

    def __init__(self, value: float = 1.0) -> None:
        super().__init__()
        self.value = value
        self.calls: list[tuple] = []

    def forward(self, *inputs):
        self.calls.append(inputs)
        return torch.tensor(self.value)


def full_loss(**weights) -> DistillationLoss:
    weight = {"kd": 1.0, "dcl": 0.1, "ranking": 0.05} | weights
    return DistillationLoss(
        {
            "segmentation": Term(SEGMENTATION),
            "kd": Term(LogitsDistillationLoss(), weight["kd"], ramp=(0.0, 0.1)),
            "dcl": Term(DecoupledContrastiveLoss(), weight["dcl"], ramp=(0.0, 0.1)),
            "ranking": Term(RankingLoss(), weight["ranking"], ramp=(0.1, 0.2)),
        },
        pairs=sampler(),
    )


@pytest.mark.parametrize(
    ("ramp", "progress", "weight"),
    [
        (None, 0.0, 2.0),
        ((0.2, 0.6), 0.1, 0.0),
        ((0.2, 0.6), 0.3, 0.5),
        ((0.2, 0.6), 0.6, 2.0),
        ((0.2, 0.6), 1.0, 2.0),
        ((0.5, 0.5), 0.4, 0.0),
        ((0.5, 0.5), 0.5, 2.0),
        ((0.0, 0.0), 0.0, 2.0),
    ],
)
def test_ramps(ramp, progress, weight):
    assert Term(Recorder(), 2.0, ramp).weight_at(progress) == pytest.approx(weight)


def test_total_is_the_weighted_sum_and_values_are_unweighted():
    loss, label = full_loss(), cubes()
    loss.progress = 0.15
    total = loss(output_for(label), label)
    v = loss.values
    assert list(v) == ["segmentation", "kd", "dcl", "ranking", "total"]
    expected = v["segmentation"] + v["kd"] + 0.1 * v["dcl"] + 0.5 * 0.05 * v["ranking"]
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(v["total"], total.detach())
    assert not any(value.requires_grad for value in v.values())


def test_terms_that_still_ramp_up_are_not_computed_but_the_projector_stays_connected_and_the_bank_fills():
    loss, label = full_loss(), cubes()
    loss(output_for(label), label).backward()
    assert list(loss.values) == ["segmentation", "total"]
    assert all(p.grad is not None and not p.grad.any() for p in loss.pairs.projector.parameters())
    assert len(loss.pairs.bank.references().classes) > 0


def test_is_attached_to_the_graph_while_every_term_ramps_up():
    loss = DistillationLoss({"only": Term(SEGMENTATION, ramp=(0.5, 1.0))})
    logits = torch.randn(1, 2, 4, 4, 4, requires_grad=True)
    loss(logits, torch.zeros(1, 1, 4, 4, 4)).backward()
    assert logits.grad is not None
    assert not logits.grad.any()


def test_bare_logits_do_for_plain_training_and_equal_the_term():
    logits, label = torch.randn(1, 2, 4, 4, 4), torch.ones(1, 1, 4, 4, 4)
    loss = DistillationLoss({"segmentation": Term(SEGMENTATION, 0.5)})
    torch.testing.assert_close(loss(logits, label), 0.5 * SEGMENTATION(logits, label))


def test_weight_zero_switches_a_term_off_so_that_no_teacher_is_needed():
    loss = full_loss(kd=0.0, dcl=0.0, ranking=0.0)
    loss.progress = 1.0
    loss(torch.randn(2, 2, 8, 12, 8), cubes())
    assert list(loss.values) == ["segmentation", "total"]


def test_terms_get_their_named_inputs_in_float32_without_autocast_or_metadata():
    label, recorder = cubes(), Recorder()
    output = output_for(label)
    names = ("teacher_features", "label", "logits")
    loss = DistillationLoss({"probe": Term(recorder, inputs=names)})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss(output._replace(logits=MetaTensor(output.logits.bfloat16())), MetaTensor(label))
    teacher_features, got_label, logits = recorder.calls[0]
    assert teacher_features is output.teacher_features
    assert got_label.shape == label.shape
    assert logits.dtype == torch.float32
    assert not isinstance(logits, MetaTensor)
    assert not isinstance(got_label, MetaTensor)


def test_errors_name_the_term_and_what_there_is():
    label = cubes()
    output = output_for(label)
    with pytest.raises(
        ValueError, match=r"'kd' takes \['teacher_logits'\], but there is only \['label', 'logits'\]"
    ):
        full_loss()(output.logits, label)
    with pytest.raises(ValueError, match=r"'dcl' takes \['features', 'teacher_features'\]"):
        full_loss()(output._replace(features=None, teacher_features=None), label)
    with pytest.raises(ValueError, match="'dcl' takes pairs, but the loss was given no pair sampler"):
        DistillationLoss({"dcl": Term(DecoupledContrastiveLoss())})
    with pytest.raises(ValueError, match=r"Unknown inputs \['prediction'\].*choose from \['logits'"):
        Term(Recorder(), inputs=("prediction",))
    with pytest.raises(ValueError, match="at least one term"):
        DistillationLoss({})
    with pytest.raises(ValueError, match="at least one term"):
        DistillationLoss({"left_out": None})
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        Term(Recorder(), -1.0)
    for ramp in [(0.5, 0.1), (0.0, 2.0), (0.5,)]:
        with pytest.raises(ValueError, match="ramp must be"):
            Term(Recorder(), ramp=ramp)


def test_none_leaves_a_term_out():
    loss = DistillationLoss({"kept": Term(DiceCELoss(to_onehot_y=True, softmax=True)), "left_out": None})
    value = loss(torch.rand(1, 2, 4, 4, 4), torch.ones(1, 1, 4, 4, 4))
    assert list(loss.values) == ["kept", "total"]
    assert value == loss.values["kept"]


def test_builds_from_a_bundle_config():
    parser = ConfigParser(
        {
            "loss": {
                "_target_": "dckd_ext.losses.DistillationLoss",
                "terms": {
                    "segmentation": {
                        "_target_": "dckd_ext.losses.Term",
                        "loss": {"_target_": "DiceCELoss", "to_onehot_y": True, "softmax": True},
                    },
                    "dcl": {
                        "_target_": "dckd_ext.losses.Term",
                        "loss": {"_target_": "dckd_ext.losses.DecoupledContrastiveLoss"},
                        "weight": 0.1,
                        "ramp": [0.0, 0.1],
                    },
                },
                "pairs": {
                    "_target_": "dckd_ext.losses.PairSampler",
                    "num_classes": 2,
                    "student_channels": 3,
                    "teacher_channels": 5,
                    "bank": {"_target_": "dckd_ext.losses.ReferenceBank", "num_classes": 2, "channels": 5},
                },
            }
        }
    )
    loss, label = parser.get_parsed_content("loss"), cubes()
    loss.progress = 1.0
    loss(output_for(label), label).backward()
    assert list(loss.values) == ["segmentation", "dcl", "total"]


def test_state_dict_round_trips():
    loss, copy, label = full_loss(), full_loss(), cubes()
    loss(output_for(label), label)
    copy.load_state_dict(loss.state_dict())
    for key, value in loss.state_dict().items():
        assert torch.equal(copy.state_dict()[key], value)
