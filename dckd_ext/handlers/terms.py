"""The terms of the loss over time."""

from __future__ import annotations

from typing import Any

from ignite.engine import Events
from monai.engines import Workflow

__all__ = ["LossTerms"]


class LossTerms:
    """Tell the loss how far the training is, and hand its terms to MONAI's logging handlers.

    Use the object itself as ``output_transform`` of ``StatsHandler``, ``TensorBoardStatsHandler`` and
    ``MLFlowHandler``: each term is then logged under its name.

    Args:
        loss: a `dckd_ext.losses.DistillationLoss`.
    """

    def __init__(self, loss: Any) -> None:
        self.loss = loss

    def attach(self, engine: Workflow) -> None:
        """Register at ``EPOCH_STARTED``."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._set_progress)

    def _set_progress(self, engine: Workflow) -> None:
        self.loss.progress = (engine.state.epoch - 1) / max(engine.state.max_epochs, 1)

    def __call__(self, output: Any) -> dict[str, float]:
        """Return the value of every term of the last step."""
        return {name: float(value) for name, value in self.loss.values.items()}
