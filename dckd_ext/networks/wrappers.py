"""What stands around a network: parallel wrappers and the frozen teacher."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn as nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from dckd_ext.networks.class_maps import ClassMap, plain_class_map

__all__ = ["Teacher", "first_map", "first_tensor", "unwrap"]


class Teacher(nn.Module):
    """A frozen network in eval mode that answers with one map of logits in the student's class order.

    `train()` leaves it in eval mode. `unwrap` and `Tap` look through it, so submodule names are those of
    `network`. Ours.
    """

    def __init__(self, network: nn.Module, label_map: Mapping[int, int] | ClassMap | None = None) -> None:
        """Freeze `network`.

        Args:
            network: gives logits or, by deep supervision, a list of them, a stack (B, heads, C, DHW) or a
                dict whose first entry they are.
            label_map: student class of every teacher class, or a `ClassMap`. Teacher classes that go to one
                student class are merged: their probabilities add up. Without it the order stays.

        Raises:
            ValueError: if the map leaves a gap in the teacher's or the student's classes.
        """
        super().__init__()
        self.network = network
        self.class_map = plain_class_map(label_map) if isinstance(label_map, Mapping) else label_map
        self.requires_grad_(False).train(False)  # not of `network`: a scripted one has no such method

    @property
    def regions(self) -> bool:
        """Whether it answers with regions that may overlap, a sigmoid each, in place of classes."""
        return self.class_map is not None and self.class_map.to_regions

    @property
    def tapped(self) -> nn.Module:
        """The network whose features a tap records."""
        return self.network

    def train(self, mode: bool = True) -> Teacher:
        """Stay in eval mode, whatever `mode` says."""
        return super().train(False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Segment.

        Args:
            image: BCDHW.

        Returns:
            Logits, B x student classes x DHW.

        Raises:
            ValueError: if the label map is for another number of classes than the network gives.
        """
        logits = first_map(self.network(image), image, "teacher")
        return logits if self.class_map is None else self.class_map(logits)


def unwrap(network: nn.Module) -> nn.Module:
    """Return the network inside (Distributed)DataParallel and whatever names the one to tap (`Teacher`)."""
    while True:
        if isinstance(network, (DataParallel, DistributedDataParallel)):
            network = network.module
        elif isinstance(tapped := getattr(network, "tapped", None), nn.Module):
            network = tapped
        else:
            return network


def first_tensor(output: object) -> torch.Tensor:
    """Return the output of a module, or the first tensor of its list, tuple or dict.

    Raises:
        TypeError: if there is no tensor.
    """
    while isinstance(output, (list, tuple, Mapping)) and output:
        output = next(iter(output.values())) if isinstance(output, Mapping) else output[0]
    if not isinstance(output, torch.Tensor):
        raise TypeError(f"Expected a tensor or a list of tensors, got {type(output).__name__}")
    return output


def first_map(output: object, image: torch.Tensor, whose: str = "network") -> torch.Tensor:
    """Return the logits ``BKDHW`` among the outputs of a network (`first_tensor`, or the first of a stack).

    Args:
        output: of the network; MONAI's DynUNet stacks its heads as (B, heads, K, DHW).
        image: that it was given, ``BCDHW``.
        whose: output it is, for the text of the error.

    Raises:
        TypeError: if there is no tensor.
        ValueError: if the first map has another size than the image.
    """
    logits = first_tensor(output)
    if logits.dim() == image.dim() + 1:
        logits = logits[:, 0]
    if logits.shape[2:] != image.shape[2:]:
        raise ValueError(
            f"the {whose}'s first output has {_size(logits)} voxels, expected those of its image, "
            f"{_size(image)}: its first head must be the one of full resolution"
        )
    return logits


def _size(tensor: torch.Tensor) -> str:
    return " x ".join(map(str, tensor.shape[2:]))
