"""Steps whose gradients are not finite."""

from __future__ import annotations

import logging

import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents

__all__ = ["SkipBrokenSteps"]

_logger = logging.getLogger(__name__)


class SkipBrokenSteps:
    """Leave out optimizer steps whose gradients hold NaN or infinity, and stop when that goes on.

    A single NaN would else spread to all weights, their average and the checkpoint. In float16 the gradient
    scaler sees to that, and this does nothing. Ours, after one NaN cost a training in bfloat16 on a CPU.

    Args:
        patience: broken steps in a row until the training stops.

    Raises:
        ValueError: (while training) when ``patience`` steps in a row were broken; the checkpoint of the last
            finished epoch is left as it is.
    """

    def __init__(self, patience: int = 10) -> None:
        self.patience = patience
        self.broken = 0

    def attach(self, engine: SupervisedTrainer) -> None:
        """Register between the backward pass and the optimizer's step."""
        engine.add_event_handler(Events.STARTED, self._reset)
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: SupervisedTrainer) -> None:
        """Drop all gradients of the step if one is not finite; optimizers then change nothing."""
        parameters = [each for group in engine.optimizer.param_groups for each in group["params"]]
        gradients = [each.grad for each in parameters if each.grad is not None]
        if engine.scaler is not None or not gradients or _finite(gradients):
            self.broken = 0
            return
        self.broken += 1
        where = f"epoch {engine.state.epoch}, iteration {engine.state.iteration}"
        if self.broken == self.patience:
            raise ValueError(
                f"{where}: the gradients of {self.patience} steps in a row hold NaN or infinity. "
                "Continue after the last finished epoch with --resume true and another --autocast, or start "
                "again with a lower --learning_rate"
            )
        _logger.warning("%s: step left out, its gradients hold NaN or infinity", where)
        for parameter in parameters:
            parameter.grad = None

    def _reset(self, engine: SupervisedTrainer) -> None:
        self.broken = 0


def _finite(gradients: list[torch.Tensor]) -> bool:
    return bool(torch.stack(torch._foreach_norm(gradients)).isfinite().all())
