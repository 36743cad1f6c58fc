from __future__ import annotations

import pytest
import torch
from monai.inferers import SimpleInferer
from monai.networks.nets import BasicUNet
from torch import nn
from torch.profiler import ProfilerActivity, profile

from dckd_ext.inferers import AutocastInferer, SingleWindowsByOneDNN

FAST, SLOW = "aten::mkldnn_convolution", "aten::slow_conv3d_forward"
pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")


def kernels(run) -> set[str]:
    with profile(activities=[ProfilerActivity.CPU]) as record:
        run()
    return {event.key for event in record.key_averages()} & {FAST, SLOW}


@pytest.mark.parametrize(
    ("convolution", "size"),
    [
        (nn.Conv3d(8, 8, 3, padding=1), (20, 24, 20)),
        (nn.Conv3d(4, 6, 3, stride=2, padding=1, bias=False), (9, 12, 7)),
        (nn.Conv3d(4, 6, (1, 3, 5), padding=(0, 1, 2)), (8, 8, 8)),
        (nn.Conv3d(32, 16, 3, padding=1), (2, 3, 2)),
    ],
)
def test_gives_and_trains_what_float64_does_by_the_fast_kernel(convolution: nn.Conv3d, size):
    image = torch.rand(1, convolution.in_channels, *size, requires_grad=True)
    exact = torch.nn.functional.conv3d(
        image.double(),
        convolution.weight.double(),
        None if convolution.bias is None else convolution.bias.double(),
        convolution.stride,
        convolution.padding,
    )
    expected = torch.autograd.grad(exact.square().sum(), [image, convolution.weight])
    with SingleWindowsByOneDNN():
        found = convolution(image)
        assert kernels(lambda: convolution(image)) == {FAST}
    gradients = torch.autograd.grad(found.square().sum(), [image, convolution.weight])
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours, theirs.float(), rtol=1e-4, atol=1e-4)


def test_torch_itself_is_slow_for_one_window_and_fast_for_two():
    """The rule of torch that this is about; where it is mended, the mode may go."""
    convolution = nn.Conv3d(8, 8, 3, padding=1)
    assert kernels(lambda: convolution(torch.rand(1, 8, 20, 24, 20))) == {SLOW}
    assert kernels(lambda: convolution(torch.rand(2, 8, 20, 24, 20))) == {FAST}
    assert kernels(lambda: convolution(torch.rand(1, 8, 64, 41, 4))) == {FAST}  # 8 x 64 x 41 > 20,480


def test_kernels_of_one_groups_and_text_padding_are_left_to_torch():
    image = torch.rand(1, 8, 6, 6, 6)
    pointwise, same = nn.Conv3d(8, 3, 1), nn.Conv3d(8, 3, 3, padding="same")
    with SingleWindowsByOneDNN():
        assert kernels(lambda: pointwise(image)) == {SLOW}
        assert same(image).shape == (1, 3, 6, 6, 6)
        assert nn.Conv3d(8, 8, 3, groups=8)(image).shape == (1, 8, 4, 4, 4)


def test_arguments_are_found_whichever_way_they_are_given():
    image, weight, bias = torch.rand(1, 2, 6, 6, 6), torch.rand(3, 2, 3, 3, 3), torch.rand(3)
    expected = torch.conv3d(image, weight, bias, 2, 1)
    with SingleWindowsByOneDNN():
        for found in (
            torch.conv3d(image, weight, bias, 2, 1),
            torch.conv3d(input=image, weight=weight, bias=bias, stride=(2, 2, 2), padding=[1, 1, 1]),
        ):
            torch.testing.assert_close(found, expected)


def test_a_trace_holds_no_private_kernel():
    with SingleWindowsByOneDNN():
        traced = torch.jit.trace(nn.Conv3d(1, 2, 3), torch.rand(1, 1, 8, 8, 8))
    assert "mkldnn" not in str(traced.inlined_graph)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_network_answers_the_same_inside_the_inferer(dtype: str):
    torch.manual_seed(0)
    network = BasicUNet(3, 1, 3, features=(4, 4, 8, 8, 8, 4)).eval()
    image = torch.rand(1, 1, 32, 48, 32)
    with torch.inference_mode():
        expected = network(image)
        found = AutocastInferer(SimpleInferer(), dtype)(image, network)
    tolerance = 1e-5 if dtype == "float32" else 0.1
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
