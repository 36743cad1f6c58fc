"""What stands around a network: parallel wrappers and the frozen teacher."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn as nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

__all__ = ["Teacher", "first_tensor", "unwrap"]


class Teacher(nn.Module):
    """A frozen network in eval mode that answers with one map of logits in the student's class order.

    `train()` leaves it in eval mode. `unwrap` and `Tap` look through it, so submodule names are those of
    `network`. Ours.
    """

    def __init__(self, network: nn.Module, label_map: Mapping[int, int] | None = None) -> None:
        """Freeze `network`.

        Args:
            network: gives logits or, by deep supervision, a list of them or a stack (B, heads, C, DHW).
            label_map: student class of every teacher class. Teacher classes that go to one student class are
                merged: their probabilities add up (logsumexp of the logits). Without it the order stays.

        Raises:
            ValueError: if the map leaves a gap in the teacher's or the student's classes.
        """
        super().__init__()
        self.network = network.requires_grad_(False)
        self.sources = None if label_map is None else _sources(label_map)
        self.train(False)

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
        logits = first_tensor(self.network(image))
        if logits.dim() == image.dim() + 1:
            logits = logits[:, 0]
        if self.sources is None:
            return logits
        classes = sum(len(source) for source in self.sources)
        if logits.shape[1] != classes:
            raise ValueError(
                f"label_map is for {classes} teacher classes, the teacher gives {logits.shape[1]}"
            )
        return torch.cat([logits[:, source].logsumexp(1, keepdim=True) for source in self.sources], dim=1)


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
    """Return the output of a module, or its first tensor where it is a list or tuple.

    Raises:
        TypeError: if there is no tensor.
    """
    while isinstance(output, (list, tuple)) and output:
        output = output[0]
    if not isinstance(output, torch.Tensor):
        raise TypeError(f"Expected a tensor or a list of tensors, got {type(output).__name__}")
    return output


def _sources(label_map: Mapping[int, int]) -> list[list[int]]:
    """Teacher classes of each student class; keys may be strings, as JSON has no others."""
    targets = {int(teacher): int(student) for teacher, student in label_map.items()}
    classes = sorted(set(targets.values()))
    if not targets or sorted(targets) != list(range(len(targets))) or classes != list(range(len(classes))):
        raise ValueError(
            "label_map must name every teacher class and reach every student class, each numbered from 0 "
            f"without a gap, got {dict(label_map)}"
        )
    return [[teacher for teacher in sorted(targets) if targets[teacher] == student] for student in classes]
