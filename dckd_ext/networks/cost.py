"""What a network costs: parameters and multiply-adds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn as nn

__all__ = ["count_macs", "count_parameters", "dry_run"]

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_COUNTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, *_TRANSPOSED)


def count_parameters(network: nn.Module) -> int:
    """Count the parameters of a network, trainable and frozen."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: nn.Module, roi_size: Sequence[int], in_channels: int = 1) -> int:
    """Count the multiply-adds of one forward pass on one image.

    Counts what convolution, transposed convolution and linear modules do, without biases; norms,
    activations, upsampling and bare matrix products are left out.

    Args:
        network: its modes (train or eval) stay as they are.
        roi_size: size of the image in voxels.
        in_channels: channels of the image.
    """
    macs: list[int] = []

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        macs.append(_macs(module, inputs[0], output))

    hooks = [
        module.register_forward_hook(count) for module in network.modules() if isinstance(module, _COUNTED)
    ]
    try:
        dry_run(network, roi_size, in_channels)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(macs)


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


def _macs(module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> int:
    """Each weight is used once per position of the output, or of the input if transposed."""
    weight = module.get_parameter("weight")
    if isinstance(module, nn.Linear):
        return weight.numel() * (y.numel() // module.out_features)
    positions = x[:, 0] if isinstance(module, _TRANSPOSED) else y[:, 0]
    return weight.numel() * positions.numel()
