"""What a network costs: parameters and multiply-adds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn as nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["count_macs", "count_parameters", "dry_run"]


def count_parameters(network: nn.Module) -> int:
    """Count the parameters of a network, trainable and frozen."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: nn.Module, roi_size: Sequence[int], in_channels: int = 1) -> int:
    """Count the multiply-adds of one forward pass on one image.

    Counts convolutions, transposed convolutions, linear layers, matrix products and attention, as
    `torch.utils.flop_counter.FlopCounterMode` does at two operations each. Biases, norms, activations,
    interpolation and recurrent layers are left out.

    Args:
        network: its modes (train or eval) stay as they are.
        roi_size: size of the image in voxels.
        in_channels: channels of the image.
    """
    with _attention_as_matrix_products(), FlopCounterMode(display=False) as counter:
        dry_run(network, roi_size, in_channels)
    return int(counter.get_total_flops()) // 2


def dry_run(network: nn.Module, roi_size: Sequence[int], in_channels: int = 1) -> object:
    """Return what a network makes of one blank image, in eval mode and without gradients.

    Args:
        network: takes one image; its modes (train or eval) stay as they are.
        roi_size: size of the image in voxels.
        in_channels: channels of the image.
    """
    like = next(network.parameters(), torch.empty(0))
    image = torch.zeros(1, in_channels, *roi_size, device=like.device, dtype=like.dtype)
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        with torch.no_grad():
            return network(image)
    finally:
        for module in training:
            module.training = True


@contextmanager
def _attention_as_matrix_products() -> Iterator[None]:
    """Keep torch from its fused kernels for attention: the counter takes those of CPUs for nothing."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
