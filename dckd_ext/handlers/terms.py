"""The terms of the loss over time."""

from __future__ import annotations

from typing import Any

from ignite.engine import Events
from monai.engines import Workflow

from dckd_ext.losses import DistillationLoss

__all__ = ["LossProgress", "LossTerms"]


class LossProgress:
    """Tell the loss, at the start of each epoch, which fraction of the training is done, for its ramps.

    Args:
        loss: the loss of the trainer.
    """

    def __init__(self, loss: DistillationLoss) -> None:
        self.loss = loss

    def attach(self, engine: Workflow) -> None:
        """Register at ``EPOCH_STARTED``."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Workflow) -> None:
        """Set the progress."""
        self.loss.progress = (engine.state.epoch - 1) / engine.state.max_epochs


class LossTerms:
    """The ``output_transform`` with which MONAI's logging handlers show each term under its name.

    Args:
        loss: the loss of the trainer.
    """

    def __init__(self, loss: DistillationLoss) -> None:
        self.loss = loss

    def __call__(self, output: Any) -> dict[str, float]:
        """Return the value of every term of the last step, whatever the engine's output."""
        return {name: float(value) for name, value in self.loss.values.items()}
