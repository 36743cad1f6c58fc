from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import PrepareBatchExtraInput, SupervisedTrainer
from monai.inferers import SimpleInferer, SlidingWindowInferer
from torch import nn

from dckd_ext.inferers import AutocastInferer, DistillationInferer


class Net(nn.Module):
    """Two convolutions; `heads` makes it answer as networks with deep supervision do."""

    def __init__(self, width: int, heads: str = "tensor") -> None:
        super().__init__()
        self.body = nn.Conv3d(1, width, 1)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Conv3d(width, 2, 1)
        self.heads = heads

    def forward(self, x):
        y = self.head(self.drop(self.body(x)))
        return {"tensor": y, "list": [y, y[..., ::2]], "stack": torch.stack([y, -y], 1)}[self.heads]


X = torch.rand(2, 1, 4, 4, 4)


@pytest.mark.parametrize(("dtype", "inside"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_autocast_runs_in_its_dtype_and_returns_float32(dtype, inside):
    seen = []
    network = Net(2)
    network.body.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    out = AutocastInferer(SimpleInferer(), dtype)(X, network)
    assert seen == [inside]
    assert out.dtype == torch.float32


@pytest.mark.parametrize(("size", "stride"), [((2, 3, 2), 1), ((8, 8, 1), 2), ((4, 6, 4), 1)])
def test_gradients_of_small_maps_are_those_of_float32(size, stride):
    """With plain autocast the first two are NaN or nonsense on some CPUs, as what was in memory has it."""
    torch.manual_seed(0)
    low, full = (nn.Conv3d(16, 24, 3, stride, padding=1) for _ in range(2))
    low.load_state_dict(full.state_dict())
    for _ in range(20):
        dirt = [torch.full((count,), torch.nan) for count in (1000, 50_000, 200_000)]
        del dirt
        x = torch.randn(2, 16, *size)
        low.zero_grad()
        full.zero_grad()
        expected = full(x)
        weights = torch.randn(expected.shape)
        expected.backward(weights)
        AutocastInferer(SimpleInferer(), "bfloat16")(x, low).backward(weights)
        error = (low.weight.grad - full.weight.grad).abs().max() / full.weight.grad.abs().max()
        assert error < 0.03


def test_small_maps_are_found_whichever_way_a_convolution_is_called():
    weight = torch.rand(2, 1, 3, 3, 3, requires_grad=True)
    for call in (
        lambda x: nn.functional.conv3d(x, weight, padding=1),
        lambda x: nn.functional.conv3d(input=x, weight=weight, padding=1),
    ):
        inside = []
        AutocastInferer(SimpleInferer(), "bfloat16")(
            torch.rand(1, 1, 2, 3, 2), lambda x, call=call, inside=inside: inside.append(call(x).dtype)
        )
        assert inside == [torch.float32]


def test_float32_switches_an_outer_autocast_off():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = AutocastInferer(SimpleInferer())(
            X, lambda x: {"is_low": torch.is_autocast_enabled("cpu"), "y": x}
        )
    assert out["is_low"] is False


def test_autocast_converts_floating_tensors_in_containers_only():
    class Out(NamedTuple):
        y: torch.Tensor
        ids: torch.Tensor

    low, ids = torch.ones(2, dtype=torch.bfloat16), torch.arange(2)
    result = AutocastInferer(SimpleInferer())(
        X, lambda x: {"named": Out(low, ids), "list": [low, (low, None)]}
    )
    assert isinstance(result["named"], Out)
    assert result["named"].y.dtype == result["list"][0].dtype == result["list"][1][0].dtype == torch.float32
    assert result["named"].ids.dtype == torch.int64
    assert result["list"][1][1] is None


def test_autocast_passes_arguments_on_and_wraps_sliding_windows():
    out = AutocastInferer(SlidingWindowInferer(roi_size=(4, 4, 4)), "bfloat16")(
        X.repeat(1, 1, 2, 1, 1), Net(2)
    )
    assert out.shape == (2, 2, 8, 4, 4)
    assert AutocastInferer(SimpleInferer())(X, lambda x, y, z: y + z, 1, z=2) == 3


def test_autocast_refuses_float16_on_a_cpu_and_unknown_names():
    with pytest.raises(ValueError, match="use bfloat16"):
        AutocastInferer(SimpleInferer(), "float16")(X, Net(2))
    with pytest.raises(ValueError, match="'half': choose one of float32, bfloat16, float16"):
        AutocastInferer(SimpleInferer(), "half")


@pytest.mark.parametrize("heads", ["tensor", "list", "stack"])
def test_gives_logits_and_features_of_both(heads):
    student, teacher = Net(3, heads), Net(5, heads)
    student.eval()
    out = DistillationInferer(teacher, "body", "body")(X, student, case_ids=[7, 8])
    torch.testing.assert_close(out.logits, student.head(student.body(X)))
    torch.testing.assert_close(out.teacher_logits, teacher.head(teacher.body(X)))
    torch.testing.assert_close(out.features, student.body(X))
    torch.testing.assert_close(out.teacher_features, teacher.body(X))
    assert out.case_ids.tolist() == [7, 8]


def test_the_teacher_is_frozen_in_eval_mode_and_without_gradient():
    student, teacher = Net(3).train(), Net(5).train()
    out = DistillationInferer(teacher, "body", "body")(X, student)
    assert not teacher.training
    assert student.training
    assert not any(p.requires_grad for p in teacher.parameters())
    assert out.logits.requires_grad
    assert out.features.requires_grad
    assert not out.teacher_logits.requires_grad
    assert not out.teacher_features.requires_grad


def test_without_taps_there_are_no_features():
    out = DistillationInferer(Net(5))(X, Net(3))
    assert out.features is None
    assert out.teacher_features is None


def test_an_unknown_tap_is_an_error():
    with pytest.raises(ValueError, match="boddy"):
        DistillationInferer(Net(5), student_tap="boddy")(X, Net(3))


@pytest.mark.parametrize(
    "case_ids",
    [
        [3, 4],
        (3, 4),
        torch.tensor([[3], [4]]),
        MetaTensor(torch.tensor([3, 4])),
        np.array([3, 4]),
        [torch.tensor(3), 4],
    ],
)
def test_case_ids_come_in_many_forms(case_ids):
    out = DistillationInferer(Net(5))(X, Net(3), case_ids=case_ids)
    assert type(out.case_ids) is torch.Tensor
    assert out.case_ids.dtype == torch.int64
    assert out.case_ids.tolist() == [3, 4]


def test_without_case_ids_all_samples_differ():
    assert DistillationInferer(Net(5))(X, Net(3)).case_ids.tolist() == [-1, -2]


@pytest.mark.parametrize("case_ids", [[1], [1, 2, 3], [0.5, 1.5], ["a", "b"]])
def test_refuses_case_ids_that_do_not_fit(case_ids):
    with pytest.raises(ValueError, match="case_ids must be"):
        DistillationInferer(Net(5))(X, Net(3), case_ids=case_ids)


def test_trains_under_the_engine_of_monai():
    teacher, student = Net(5), Net(3)
    data = [{"image": X[0], "label": X[0], "case_id": 40 + i} for i in range(4)]
    seen = []

    def loss(output, label):
        seen.append(output.case_ids.tolist())
        return (output.logits - output.teacher_logits).square().mean()

    before = student.head.weight.clone()
    SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=DataLoader(Dataset(data), batch_size=2),
        network=student,
        optimizer=torch.optim.SGD(student.parameters(), 0.1),
        loss_function=loss,
        inferer=AutocastInferer(DistillationInferer(teacher, "body", "body"), "bfloat16"),
        prepare_batch=PrepareBatchExtraInput({"case_ids": "case_id"}),
    ).run()
    assert seen == [[40, 41], [42, 43]]
    assert not torch.equal(before, student.head.weight)


def test_answers_that_are_given_spare_the_teacher_a_call():
    teacher, student = Net(3).eval(), Net(2)
    calls = []
    teacher.register_forward_hook(lambda *_: calls.append(True))
    inferer = DistillationInferer(teacher, "body", "body")
    asked = inferer(X, student.eval())
    given = inferer(X, student, teacher_logits=asked.teacher_logits, teacher_features=asked.teacher_features)
    assert len(calls) == 1
    assert torch.equal(given.logits, asked.logits)
    assert torch.equal(given.features, asked.features)
    assert given.teacher_logits is asked.teacher_logits
    assert given.teacher_features is asked.teacher_features
