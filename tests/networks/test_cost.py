"""Parameters and multiply-adds against counts by hand."""

import math

import pytest
import torch
import torch.nn as nn
from monai.networks.nets import BasicUNet, DynUNet, SwinUNETR
from torch.nn import functional

from dckd_ext.networks import HRNet3D, count_macs, count_parameters
from dckd_ext.networks.cost import dry_run


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv3d(2, 6, 3, stride=2, padding=1, groups=2)
        self.up = nn.ConvTranspose3d(6, 4, 2, stride=2)
        self.fixed = nn.Linear(4, 5).requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fixed(self.up(self.down(x)).flatten(2).transpose(1, 2))


def test_parameters_by_hand():
    assert count_parameters(Mixed()) == (1 * 6 * 27 + 6) + (6 * 4 * 8 + 4) + (4 * 5 + 5)


def test_macs_by_hand():
    fine, coarse = 8 * 6 * 4, 4 * 3 * 2
    expected = coarse * 6 * 1 * 27 + coarse * 6 * 4 * 8 + fine * 4 * 5
    assert count_macs(Mixed(), (8, 6, 4), in_channels=2) == expected


class Tokens(nn.Module):
    """An encoder of the voxels, one token each."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.encoder(x.flatten(2).transpose(1, 2))


class Attention(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.scaled_dot_product_attention(x, x, x)


class SelfAttention(nn.MultiheadAttention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x, x, x, need_weights=False)[0]


TOKENS, WIDTH = 3 * 4 * 5, 8
PRODUCTS = 2 * TOKENS * TOKENS * WIDTH  # queries with keys, then weights with values
PROJECTIONS = 4 * TOKENS * WIDTH * WIDTH  # of queries, keys, values, and the output


@pytest.mark.parametrize(
    ("encoder", "macs"),
    [
        (Attention(), PRODUCTS),
        (SelfAttention(WIDTH, 2, batch_first=True), PROJECTIONS + PRODUCTS),
        (
            nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True),
            PROJECTIONS + PRODUCTS + 2 * TOKENS * WIDTH * 16,
        ),
    ],
    ids=["bare", "module", "encoder layer"],
)
def test_attention_by_hand(encoder: nn.Module, macs: int):
    assert count_macs(Tokens(encoder), (3, 4, 5), in_channels=WIDTH) == macs


def by_modules(network: nn.Module, roi_size: tuple[int, ...]) -> int:
    """Each weight is used once per position of the output, or of the input of a transposed convolution."""
    macs = []

    def count(module, inputs, output):
        if isinstance(module, nn.Linear):
            macs.append(module.weight.numel() * output.numel() // module.out_features)
        elif isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
            grid = inputs[0] if isinstance(module, nn.ConvTranspose3d) else output
            macs.append(module.weight.numel() * grid[0, 0].numel())

    hooks = [module.register_forward_hook(count) for module in network.modules()]
    dry_run(network, roi_size)
    for hook in hooks:
        hook.remove()
    return sum(macs)


@pytest.mark.parametrize(
    "network",
    [
        BasicUNet(3, 1, 3, features=(4, 4, 8, 8, 16, 4)),
        HRNet3D(1, 3),
        DynUNet(3, 1, 3, [3, 3, 3], [1, 2, 2], [2, 2], filters=[4, 8, 16], res_block=True),
    ],
    ids=lambda network: type(network).__name__,
)
def test_convolutions_are_as_a_sum_over_the_modules(network: nn.Module):
    assert count_macs(network, (32, 48, 32)) == by_modules(network, (32, 48, 32))


def test_swin_transformers_are_their_modules_and_the_products_in_their_windows():
    network = SwinUNETR(in_channels=1, out_channels=3, feature_size=12)
    size, products = (32, 32, 64), 0
    for stage, width in enumerate((12, 24, 48, 96), start=1):
        grid = [edge // 2**stage for edge in size]
        window = [min(7, edge) for edge in grid]
        windows = math.prod(-(-edge // side) for edge, side in zip(grid, window, strict=True))
        products += 2 * windows * 2 * math.prod(window) ** 2 * width  # two blocks, each with two products
    assert count_macs(network, size) == by_modules(network, size) + products


def test_the_teacher_of_this_project():
    assert count_parameters(BasicUNet(3, 1, 3, features=(32, 64, 128, 256, 440, 32))) == 19_753_519


def test_modes_and_hooks_are_left_as_they_were():
    network = nn.Sequential(nn.Conv3d(1, 2, 1), nn.Dropout().eval())
    count_macs(network, (2, 2, 2))
    assert [module.training for module in network.modules()] == [True, True, False]
    assert not network[0]._forward_hooks
    assert torch.backends.mha.get_fastpath_enabled()


def test_hooks_go_even_if_the_network_fails():
    network = nn.Sequential(nn.Conv3d(1, 2, 3))
    with pytest.raises(RuntimeError):
        count_macs(network, (1, 1, 1))
    assert not network[0]._forward_hooks
    assert network.training
    assert torch.backends.mha.get_fastpath_enabled()
