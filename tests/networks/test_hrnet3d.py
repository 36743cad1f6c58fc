"""HRNet3D: size, shapes, alignment, export."""

import io

import onnxruntime
import pytest
import torch

from dckd_ext.networks import HRNet3D, check_roi_size, count_parameters

TEACHER_PARAMETERS = 19_753_519
SMALL = {"channels": 4, "blocks": 1, "modules": (1, 1), "stem_channels": (4, 8)}
VARIANTS = [
    pytest.param({}, id="stride 2"),
    pytest.param({"stem_stride": 1}, id="stride 1"),
    pytest.param({"refine_channels": 4}, id="refined"),
    pytest.param({"modules": (1, 1, 1)}, id="four branches"),
]
ODD = (19, 27, 17)


def small(**options) -> HRNet3D:
    torch.manual_seed(0)
    return HRNet3D(2, 3, **{**SMALL, **options}).eval()


def image(*size: int, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, 2, *size, generator=torch.Generator().manual_seed(1))


def conv(inputs: int, outputs: int, kernel: int = 3) -> int:
    """Parameters of a convolution without bias and an affine norm."""
    return inputs * outputs * kernel**3 + 2 * outputs


def expected_parameters(classes: int) -> int:
    """VoxHRNet with its default sizes, term by term."""
    c, d, e = 14, 28, 56
    stem = conv(1, 32)
    stem += conv(32, 16, 1) + conv(16, 16) + conv(16, 64, 1) + conv(32, 64, 1)
    stem += conv(64, 16, 1) + conv(16, 16) + conv(16, 64, 1)
    blocks = {width: 4 * 2 * conv(width, width) for width in (c, d, e)}
    up = conv(d, c, 1), conv(e, c, 1), conv(e, d, 1)
    down = conv(c, d), conv(c, c) + conv(c, e), conv(d, e)
    stage2 = conv(64, c) + conv(64, d) + blocks[c] + blocks[d] + up[0] + down[0]
    stage3 = conv(d, e) + 2 * (sum(blocks.values()) + sum(up) + sum(down))
    wide = c + d + e
    return stem + stage2 + stage3 + conv(wide, wide, 1) + wide * classes + classes


def test_parameters_follow_the_formula_and_the_budget():
    network = HRNet3D(1, 3)
    assert count_parameters(network) == expected_parameters(3)
    assert count_parameters(network) <= 0.121 * TEACHER_PARAMETERS
    assert count_parameters(HRNet3D(1, 3, refine_channels=16)) <= 0.121 * TEACHER_PARAMETERS


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("size", [(16, 24, 16), ODD, (1, 1, 33)])
def test_logits_have_the_size_of_the_image(options, size):
    network = small(**options)
    assert network(image(*size, batch=2)).shape == (2, 3, *size)


@pytest.mark.parametrize("options", VARIANTS)
def test_neck_feeds_the_head(options):
    network = small(**options)
    seen = {}
    network.neck.register_forward_hook(lambda module, inputs, output: seen.update(neck=output))
    network.head.register_forward_pre_hook(lambda module, inputs: seen.update(head=inputs[0]))
    network(image(*ODD))
    stride = 1 if "refine_channels" in options else options.get("stem_stride", 2)
    assert seen["neck"] is seen["head"]
    assert seen["neck"].shape[2:] == tuple(-(-edge // stride) for edge in ODD)


@pytest.mark.parametrize("options", VARIANTS)
def test_padding_equals_repeating_the_last_voxels_by_hand(options):
    """Only the norms of the neck, which sees no padding, may differ: so compare what comes before it."""
    network = small(**options)
    d = network.divisor
    inputs = []
    network.neck.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    x = image(*ODD)
    index = [torch.arange(-(-edge // d) * d).clamp(max=edge - 1) for edge in ODD]
    padded = x[:, :, index[0]][:, :, :, index[1]][..., index[2]]
    network(x)
    network(padded)
    for own, by_hand in zip(*inputs, strict=True):
        torch.testing.assert_close(own, by_hand)


def test_gradients_reach_every_parameter():
    network = small(refine_channels=4).train()
    network(image(16, 16, 24)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("options", VARIANTS)
def test_save_and_load(options, tmp_path):
    network, x = small(**options), image(16, 16, 24)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    other = HRNet3D(2, 3, **{**SMALL, **options}).eval()
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    assert torch.equal(other(x), network(x))


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.filterwarnings("ignore")
def test_torchscript_takes_other_sizes(options):
    network, x = small(**options), image(*ODD)
    with torch.no_grad():
        traced = torch.jit.trace(network, image(16, 16, 24))
        scripted = torch.jit.script(network)
        torch.testing.assert_close(traced(x), network(x))
        torch.testing.assert_close(scripted(x), network(x))


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.filterwarnings("ignore")
def test_onnx_by_tracing_takes_other_sizes(options):
    network, file = small(**options), io.BytesIO()
    axes = {0: "batch", 2: "depth", 3: "height", 4: "width"}
    torch.onnx.export(
        network,
        (image(16, 16, 24),),
        file,
        dynamo=False,
        input_names=["image"],
        output_names=["pred"],
        dynamic_axes={"image": axes, "pred": axes},
    )
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    for x in (image(24, 32, 16, batch=2), image(*ODD)):
        (pred,) = session.run(None, {"image": x.numpy()})
        torch.testing.assert_close(torch.from_numpy(pred), network(x).detach(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("options", VARIANTS)
def test_too_small_an_image_is_refused_with_a_size_that_works(options):
    network = small(**options)
    edge = network.divisor
    with pytest.raises(ValueError, match=rf"longer than {edge}.*\[{edge + 1}, {edge}, {edge}\]"):
        network(image(edge, edge, edge))
    network(image(edge + 1, edge, edge))
    assert check_roi_size(network, (edge + 1, edge, edge)) == [edge + 1, edge, edge]
    with pytest.raises(ValueError, match=rf"\[{edge + 1}, {edge}, {edge}\]"):
        check_roi_size(network, (edge, edge, edge))


@pytest.mark.parametrize(
    ("options", "text"), [({"stem_stride": 3}, "got 3"), ({"stem_channels": (4, 6)}, "got 6")]
)
def test_bad_options_are_named(options, text):
    with pytest.raises(ValueError, match=text):
        small(**options)


def test_images_must_be_3d():
    with pytest.raises(ValueError, match="BCDHW"):
        small()(torch.zeros(2, 16, 16, 16))
