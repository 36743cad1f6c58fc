"""Features by submodule name, for networks of this project and of MONAI."""

import gc
import weakref

import pytest
import torch
import torch.nn as nn
from monai.networks.nets import (
    UNETR,
    BasicUNet,
    BasicUNetPlusPlus,
    DynUNet,
    SegResNet,
    SegResNetDS,
    UNet,
)

from dckd_ext.networks import HRNet3D, Teacher
from dckd_ext.networks.taps import Tap, TapInfo, list_taps, suggest_tap, tap_channels

ROI = (32, 32, 32)


def basic_unet(classes: int = 3) -> BasicUNet:
    torch.manual_seed(0)
    return BasicUNet(3, 1, classes, features=(4, 4, 4, 4, 4, 4))


def hrnet(**options) -> HRNet3D:
    return HRNet3D(1, 3, channels=2, blocks=1, stem_channels=(4, 8), **options)


def dynunet(**options) -> DynUNet:
    return DynUNet(3, 1, 3, [3] * 3, [1, 2, 2], [2, 2], filters=[4, 8, 8], **options)


def image() -> torch.Tensor:
    return torch.randn(1, 1, *ROI, generator=torch.Generator().manual_seed(0))


def test_records_the_output_of_the_submodule():
    network, x = basic_unet(), image()
    with Tap(network, "upcat_1") as tap:
        logits = network(x)
    torch.testing.assert_close(network.final_conv(tap.output), logits)


def test_gradients_flow_through_the_record():
    network = basic_unet()
    with Tap(network, "conv_0") as tap:
        network(image())
    tap.output.sum().backward()
    assert network.conv_0.conv_0.conv.weight.grad is not None
    assert network.final_conv.weight.grad is None


def test_records_only_inside_the_block():
    network = basic_unet().eval()
    with Tap(network, "upcat_1") as tap, torch.no_grad():
        network(image())
    inside = tap.output
    with torch.no_grad():
        network(2 * image())
    assert tap.output is inside
    assert not any(module._forward_hooks for module in network.modules())


def test_hook_goes_when_the_block_fails():
    network = basic_unet()
    with pytest.raises(RuntimeError), Tap(network, "upcat_1"):
        network(torch.zeros(1, 5, *ROI))
    assert not network.upcat_1._forward_hooks


def test_network_does_not_keep_the_features():
    network = basic_unet()
    with Tap(network, "upcat_1") as tap, torch.no_grad():
        network(image())
    features = weakref.ref(tap.output)
    del tap
    gc.collect()
    assert features() is None


@pytest.mark.parametrize("wrap", [nn.DataParallel, Teacher])
def test_names_are_those_of_the_wrapped_network(wrap):
    network = wrap(basic_unet())
    with Tap(network, "upcat_1") as tap:
        network(image())
    assert tap.output.shape == (1, 4, *ROI)


def test_list_outputs_give_their_first_tensor():
    network = SegResNetDS(3, 8, 1, 2, blocks_down=(1, 1, 1)).eval()
    with Tap(network, "encoder") as tap:
        network(image())
    assert tap.output.shape == (1, 8, *ROI)


@pytest.mark.parametrize("name", ["upcat1", ""])
def test_unknown_name_lists_the_nearest(name):
    with pytest.raises(ValueError, match=rf"'{name}'.*upcat_1.*dckd taps BUNDLE"):
        Tap(basic_unet(), name)


def test_a_tap_that_was_not_called_says_so():
    with Tap(basic_unet(), "upcat_1") as tap:
        pass
    with pytest.raises(RuntimeError, match="upcat_1"):
        _ = tap.output


def test_list_of_taps():
    network = basic_unet().train()
    rows = list_taps(network, 1, ROI)
    assert TapInfo("down_1", "Down", (1, 4, 16, 16, 16)) in rows
    assert rows[-1] == TapInfo("final_conv", "Conv3d", (1, 3, *ROI))
    assert {row.name for row in rows} <= {name for name, _ in network.named_modules()}
    assert network.training


def test_channels():
    assert tap_channels(hrnet(), "neck", 1, ROI) == 14
    assert tap_channels(hrnet(refine_channels=5), "neck", 1, ROI) == 5


@pytest.mark.parametrize(
    ("network", "name", "channels", "stride"),
    [
        (basic_unet(), "upcat_1", 4, 1),
        (basic_unet(classes=4), "upcat_1", 4, 1),
        (BasicUNetPlusPlus(3, 1, 3, features=(4, 4, 4, 4, 4, 4)), "upcat_0_4", 4, 1),
        (hrnet(), "neck", 14, 2),
        (hrnet(stem_stride=1), "neck", 14, 1),
        (hrnet(refine_channels=4), "neck", 4, 1),
        (dynunet(), "skip_layers", 4, 1),
        (dynunet(deep_supervision=True, deep_supr_num=1), "skip_layers", 4, 1),
        (SegResNet(3, 8, 1, 3), "act_mod", 8, 1),
        (SegResNetDS(3, 8, 1, 3, blocks_down=(1, 1, 1), dsdepth=2), "up_layers.1.blocks", 8, 1),
        (UNet(3, 1, 3, (4, 8, 8), (2, 2)), "model.1", 8, 2),
        (UNet(3, 1, 3, (4, 8, 8), (2, 2), num_res_units=2), "model.1", 8, 2),
        (UNETR(1, 3, ROI, feature_size=4, hidden_size=24, mlp_dim=8, num_heads=2), "decoder2", 4, 1),
    ],
)
def test_suggestion_is_what_the_classifier_takes(network, name, channels, stride):
    assert suggest_tap(network, 1, ROI) == name
    shapes = {row.name: row.shape for row in list_taps(network, 1, ROI)}
    assert shapes[name] == (1, channels, *(edge // stride for edge in ROI))


def test_no_suggestion_without_a_matching_submodule():
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Conv3d(1, 4, 3, padding=1), nn.Conv3d(4, 3, 1)

        def forward(self, x):
            return self.head(self.body(x) + 1)

    with pytest.raises(ValueError, match=r"Functional.*dckd taps BUNDLE"):
        suggest_tap(Functional(), 1, ROI)
