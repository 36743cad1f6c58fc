"""Parameters and multiply-adds against counts by hand."""

import pytest
import torch
import torch.nn as nn
from monai.networks.nets import BasicUNet

from dckd_ext.networks import count_macs, count_parameters


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


def test_the_teacher_of_this_project():
    assert count_parameters(BasicUNet(3, 1, 3, features=(32, 64, 128, 256, 440, 32))) == 19_753_519


def test_modes_and_hooks_are_left_as_they_were():
    network = nn.Sequential(nn.Conv3d(1, 2, 1), nn.Dropout().eval())
    count_macs(network, (2, 2, 2))
    assert [module.training for module in network.modules()] == [True, True, False]
    assert not network[0]._forward_hooks


def test_hooks_go_even_if_the_network_fails():
    network = nn.Sequential(nn.Conv3d(1, 2, 3))
    with pytest.raises(RuntimeError):
        count_macs(network, (1, 1, 1))
    assert not network[0]._forward_hooks
    assert network.training
