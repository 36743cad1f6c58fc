"""Exponential moving average of the weights."""

from __future__ import annotations

import torch
from ignite.engine import Engine, Events
from torch.optim.swa_utils import AveragedModel

__all__ = ["WeightAverage", "average_of"]


class _WarmDecay:
    """Decay ``min(decay, (1 + n) / (10 + n))`` at step n, so that short trainings forget their start too."""

    def __init__(self, decay: float) -> None:
        self.decay = decay

    def __call__(
        self, average: torch.Tensor, current: torch.Tensor, steps: torch.Tensor | int
    ) -> torch.Tensor:
        decay = min(self.decay, (1 + int(steps)) / (10 + int(steps)))
        return torch.lerp(current, average, decay)


def average_of(network: torch.nn.Module, decay: float = 0.995) -> AveragedModel:
    """Return torch's `AveragedModel` of ``network``, as an exponential average with a warm-up.

    The averaged network itself is its ``module``.

    Raises:
        ValueError: when ``decay`` is not in [0, 1).
    """
    if not 0 <= decay < 1:
        raise ValueError(f"decay of the weight average must be in [0, 1), found {decay}")
    return AveragedModel(network, avg_fn=_WarmDecay(decay))


class WeightAverage:
    """Update the average after every optimizer step.

    Args:
        average: from `average_of`.
        network: the network that is trained (not its DistributedDataParallel wrapper).
    """

    def __init__(self, average: AveragedModel, network: torch.nn.Module) -> None:
        self.average = average
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Register at ``ITERATION_COMPLETED``."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Take one step of the average."""
        self.average.update_parameters(self.network)
