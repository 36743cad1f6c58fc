"""Sizes that are refused fail in the network, and the size that the error states works."""

import re

import pytest
import torch
import torch.nn as nn
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.networks.nets import BasicUNet, DynUNet, SegResNet, SegResNetDS, UNet

from dckd_ext.networks import HRNet3D, Teacher, check_roi_size

NETWORKS = {
    "BasicUNet": BasicUNet(3, 1, 2, features=(2, 2, 2, 2, 2, 2)),
    "DynUNet": DynUNet(3, 1, 2, [3] * 3, [1, 2, (2, 2, 1)], [2, (2, 2, 1)], filters=[2, 4, 4]),
    "UNet": UNet(3, 1, 2, (2, 4, 4), (2, 2)),
    "SegResNet": SegResNet(3, 8, 1, 2, blocks_down=(1, 1, 1), blocks_up=(1, 1)),
    "SegResNetDS": SegResNetDS(3, 8, 1, 2, blocks_down=(1, 1, 1)),
    "HRNet3D": HRNet3D(1, 2, channels=2, blocks=1, modules=(1, 1), stem_channels=(2, 4)),
}
REFUSED = {
    "BasicUNet": [((16, 16, 15), [32, 16, 16]), ((31, 16, 16), [32, 16, 16]), ((40, 8, 8), [40, 16, 16])],
    "DynUNet": [((9, 8, 8), [12, 8, 8]), ((4, 4, 2), [8, 4, 2]), ((4, 8, 3), [4, 8, 4])],
    "UNet": [((9, 8, 8), [12, 8, 8]), ((4, 4, 4), [8, 4, 4])],
    "SegResNet": [((9, 8, 8), [12, 8, 8])],
    "SegResNetDS": [((9, 8, 8), [12, 8, 8])],
    "HRNet3D": [((8, 8, 8), [9, 8, 8])],
}
CASES = [(name, size, fitting) for name, cases in REFUSED.items() for size, fitting in cases]


def runs(network: nn.Module, size: list[int]) -> bool:
    try:
        with torch.no_grad():
            output = network.train()(torch.zeros(1, 1, *size))
    except (RuntimeError, ValueError):
        return False
    output = output[0] if isinstance(output, list) else output
    return list(output.shape[2:]) == list(size)


@pytest.mark.parametrize(("name", "size", "fitting"), CASES)
def test_the_error_states_a_size_that_works(name, size, fitting):
    network = NETWORKS[name]
    with pytest.raises(ValueError, match=re.escape(str(fitting))):
        check_roi_size(network, size)
    assert not runs(network, size)
    assert runs(network, fitting)
    assert check_roi_size(network, fitting) == fitting


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=12, deadline=None)
@given(size=st.tuples(*[st.integers(1, 36)] * 3))
def test_the_judgement_agrees_with_the_network(name, size):
    network = NETWORKS[name]
    try:
        check_roi_size(network, size)
    except ValueError:
        assert not runs(network, size)
    else:
        assert runs(network, size)


def test_wrappers_are_looked_through():
    with pytest.raises(ValueError, match="BasicUNet"):
        check_roi_size(Teacher(NETWORKS["BasicUNet"]), (8, 8, 8))


def test_unknown_networks_are_not_judged():
    assert check_roi_size(nn.Conv3d(1, 1, 3), (1, 2, 3)) == [1, 2, 3]
