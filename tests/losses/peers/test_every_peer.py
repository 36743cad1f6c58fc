"""What all peers have in common: inputs of any kind and terms of the composite from a config."""

from __future__ import annotations

import pytest
import torch
from monai.bundle import ConfigParser
from torch import Tensor

from dckd_ext.inferers import DistillationOutput
from dckd_ext.losses import DistillationLoss
from tests.losses.batch_examples import SIZE, cubes, output_for
from tests.losses.pair_examples import saved_bytes

CHANNELS = {"student_channels": 3, "teacher_channels": 5}
CLASSES = {"num_classes": 3}
PEERS = {
    "ATLoss": {},
    "CIRKDLoss": {},
    "CWDLoss": CHANNELS,
    "DISTLoss": {},
    "DKDLoss": {},
    "FitNetLoss": CHANNELS,
    "IFVDLoss": CLASSES,
    "RegionAffinityLoss": CLASSES,
}
HOMES = {"CWDLoss": "dckd_ext.losses"}  # the default is no peer, and held to the same
every_peer = pytest.mark.parametrize("name", PEERS)


def composite(name: str, weight: float = 0.5) -> DistillationLoss:
    """The peer as the one term, built from a config; weights and draws are the same every time."""
    torch.manual_seed(0)
    pairs = {
        "_target_": "dckd_ext.losses.PairSampler",
        "num_classes": 3,
        **CHANNELS,
        "anchors_per_class": 999,
    }
    bank = {"_target_": "dckd_ext.losses.ReferenceBank", "num_classes": 3, "channels": 5}
    term = {
        "_target_": "dckd_ext.losses.Term",
        "weight": weight,
        "ramp": [0.0, 0.1],
        "loss": {"_target_": f"{HOMES.get(name, 'dckd_ext.losses.peers')}.{name}", **PEERS[name]},
    }
    config = {
        "_target_": "dckd_ext.losses.DistillationLoss",
        "terms": {"peer": term},
        "pairs": {**pairs, "bank": bank, "references_per_class": 999},
    }
    loss = ConfigParser({"loss": config}).get_parsed_content("loss")
    loss.progress = 1.0
    return loss


def batch(cases: int = 2, features: tuple[int, ...] = (4, 12, 8)) -> tuple[DistillationOutput, Tensor]:
    torch.manual_seed(1)
    label = cubes(cases, 3)
    output = output_for(label, 3, features)
    teacher_logits = torch.randn_like(output.teacher_logits) + output.teacher_logits
    return output._replace(logits=output.logits.requires_grad_(), teacher_logits=teacher_logits), label


def gradient(output: DistillationOutput, name: str) -> Tensor:
    """The gradient that a peer leaves at the student: at its logits, or else at its features."""
    found = output.logits.grad if name in ("DISTLoss", "DKDLoss") else output.features.grad
    assert found is not None
    return found


@every_peer
@pytest.mark.parametrize("cases", [1, 2])
def test_is_a_term_with_a_finite_gradient_for_student_and_projector(name, cases):
    loss = composite(name)
    output, label = batch(cases)
    total = loss(output, label)
    total.backward()
    torch.testing.assert_close(total, 0.5 * loss.values["peer"])
    assert total.item() > 0
    assert gradient(output, name).isfinite().all()
    assert gradient(output, name).any()
    for parameter in loss.losses.parameters():
        assert parameter.grad.isfinite().all()
    assert any(p.grad.any() for p in loss.losses.parameters()) == (name in ("CWDLoss", "FitNetLoss"))


@every_peer
def test_sends_no_gradient_to_the_teacher(name):
    output, label = batch()
    output.teacher_logits.requires_grad_()
    output.teacher_features.requires_grad_()
    composite(name)(output, label).backward()
    assert output.teacher_logits.grad is None
    assert output.teacher_features.grad is None


@every_peer
@pytest.mark.parametrize("autocast", [False, True])
def test_computes_in_float32_whatever_it_is_given(name, autocast):
    output, label = batch()
    low = output._replace(**{k: getattr(output, k).bfloat16() for k in output._fields if k != "case_ids"})
    rounded = low._replace(**{k: getattr(low, k).float() for k in low._fields if k != "case_ids"})
    expected = composite(name)(rounded, label)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        value = composite(name)(low, label)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)


@every_peer
def test_computes_in_float32_without_the_composite(name):
    loss = composite(name)
    output, label = batch()
    given = {**output._asdict(), "classes": label, "pairs": loss.pairs(output, label)}
    peer = loss.losses["peer"]
    inputs = {key: given[key] for key in peer.inputs}
    expected = peer(**inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(peer(*inputs.values()), expected)


@every_peer
@pytest.mark.parametrize("value", [0, 2, 254], ids=["background", "one class", "no class"])
def test_an_absent_class_leaves_a_finite_loss_that_is_attached(name, value):
    loss = composite(name)
    output, label = batch()
    total = loss(output, torch.full_like(label, value))
    total.backward()
    assert total.isfinite()
    assert gradient(output, name).isfinite().all()
    if value == 254 and name in ("DKDLoss", "IFVDLoss", "RegionAffinityLoss"):
        assert total.item() == 0


@every_peer
def test_is_the_same_for_the_cases_in_another_order(name):
    output, label = batch()
    flipped = DistillationOutput(*(value.flip(0) for value in output))
    torch.testing.assert_close(composite(name)(flipped, label.flip(0)), composite(name)(output, label))


@every_peer
@pytest.mark.parametrize("features", [SIZE, (4, 6, 4), (5, 7, 3)])
def test_takes_features_of_another_size(name, features):
    output, label = batch(features=features)
    total = composite(name)(output, label)
    total.backward()
    assert total.item() > 0
    assert gradient(output, name).any()


@every_peer
def test_memory_grows_linearly_with_the_voxels(name):
    def saved(edge: int) -> int:
        label = torch.randint(3, (1, 1, edge, edge, edge)).float()
        shape = (edge, edge, edge)
        output = DistillationOutput(
            torch.randn(1, 3, *shape, requires_grad=True),
            torch.randn(1, 3, *shape),
            torch.randn(1, 3, *shape, requires_grad=True),
            torch.randn(1, 5, *shape),
            torch.zeros(1).long(),
        )
        loss = composite(name)
        loss.pairs.anchors_per_class = loss.pairs.references_per_class = 16
        return saved_bytes(lambda given: loss(given, label), output)

    assert saved(32) < 12 * saved(16)  # eight times the voxels; voxels by voxels would be 64 times
