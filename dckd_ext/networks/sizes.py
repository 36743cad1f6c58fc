"""Which image sizes a network takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch.nn as nn
from monai.networks.nets import BasicUNet, DynUNet, SegResNet, SegResNetDS, UNet
from torch.nn.modules.instancenorm import _InstanceNorm

from dckd_ext.networks.hrnet3d import HRNet3D
from dckd_ext.networks.wrappers import unwrap

__all__ = ["check_roi_size", "multiples"]


class _Rule(NamedTuple):
    """Edges must be multiples of `step`; with instance norm, one of them must be at least `split` long."""

    step: list[int]
    least: list[int]
    split: list[int]


def check_roi_size(network: nn.Module, roi_size: Sequence[int]) -> list[int]:
    """Return the size as a list if the network can take it; networks of unknown type are not judged.

    Known are HRNet3D and MONAI's BasicUNet, DynUNet, UNet, SegResNet and SegResNetDS.

    Args:
        network: may be wrapped (parallel, `Teacher`).
        roi_size: size in voxels.

    Raises:
        ValueError: if the network cannot; the message states the next larger size that works.
    """
    network = unwrap(network)
    size = [int(edge) for edge in roi_size]
    rule = _rule(network, len(size))
    if rule is None:
        return size
    steps = zip(size, rule.step, rule.least, strict=True)
    fitting = [math.ceil(max(edge, least) / step) * step for edge, step, least in steps]
    single = all(edge < split for edge, split in zip(fitting, rule.split, strict=True))
    if single and any(isinstance(module, _InstanceNorm) for module in network.modules()):
        longest = fitting.index(max(fitting))
        fitting[longest] = rule.split[longest]
    if fitting != size:
        raise ValueError(
            f"{type(network).__name__} cannot take images of {size} voxels, but {fitting}: edges in steps of "
            f"{rule.step}, at least {rule.least}, and more than one voxel on the coarsest grid"
        )
    return size


def multiples(network: nn.Module) -> list[int] | None:
    """Return what the edges of a network's volumes have to be multiples of; None for one of unknown type."""
    rule = _rule(unwrap(network), 3)
    return None if rule is None else rule.step


def _rule(network: nn.Module, dims: int) -> _Rule | None:
    if isinstance(network, HRNet3D):
        return _Rule([1] * dims, [1] * dims, [network.divisor + 1] * dims)
    if isinstance(network, BasicUNet):
        return _Rule([1] * dims, [16] * dims, [32] * dims)
    step = _step(network, dims)
    return None if step is None else _Rule(step, step, [2 * edge for edge in step])


def _step(network: nn.Module, dims: int) -> list[int] | None:
    """Product of the strides along each axis."""
    if isinstance(network, (DynUNet, UNet)):
        strides = [[s] * dims if isinstance(s, int) else list(s) for s in network.strides]
        return [math.prod(axis) for axis in zip(*strides, strict=True)]
    if isinstance(network, SegResNet):
        return [2 ** (len(network.blocks_down) - 1)] * dims
    if isinstance(network, SegResNetDS):
        return [int(edge) for edge in network.shape_factor()]
    return None
