"""The terms of the loss over time."""

from __future__ import annotations

import logging
from typing import Any

from ignite.engine import Events
from monai.engines import Workflow

from dckd_ext.losses import DistillationLoss
from dckd_ext.utils.errors import listed

__all__ = ["LossProgress", "LossTerms"]

_logger = logging.getLogger(__name__)


class LossProgress:
    """Tell the loss, at the start of each epoch, which fraction of the training is done, for its ramps.

    Args:
        loss: the loss of the trainer.
    """

    def __init__(self, loss: DistillationLoss) -> None:
        self.loss = loss

    def attach(self, engine: Workflow) -> None:
        """Register at ``EPOCH_STARTED``, and at ``STARTED`` to name terms that will never count."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)
        engine.add_event_handler(Events.STARTED, self.warn)

    def warn(self, engine: Workflow) -> None:
        """Warn of terms whose ramp has not begun when the last epoch does, as in a training of one epoch."""
        last = (engine.state.max_epochs - 1) / engine.state.max_epochs
        if idle := [
            name for name, term in self.loss.terms.items() if term.weight and not term.weight_at(last)
        ]:
            epochs = engine.state.max_epochs
            _logger.warning("epochs: %d ends before these terms begin to count: %s", epochs, listed(idle))

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
