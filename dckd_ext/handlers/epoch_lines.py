"""What a training says while it runs: where it is made, and one line an epoch."""

from __future__ import annotations

import logging
import time
from collections import defaultdict

import torch
from ignite.engine import Events
from monai.engines import Workflow

from dckd_ext.losses import DistillationLoss

__all__ = ["EpochLines"]

_logger = logging.getLogger(__name__)


class EpochLines:
    """Log one line at the start of a training and one at the end of each of its epochs.

    The first names device, threads, cases and steps. The others have the mean of every term of the loss over
    the epoch, with its weight then, the validation if there was one, and the time that is left. Put it after
    the validation among the handlers. Ours.

    Args:
        loss: the loss of the trainer.
        evaluator: of the validation, or None.
    """

    def __init__(self, loss: DistillationLoss, evaluator: Workflow | None = None) -> None:
        self.loss, self.evaluator = loss, evaluator
        self.sums: dict[str, float] = defaultdict(float)
        self.counts: dict[str, int] = defaultdict(int)
        self.started, self.first_epoch = 0.0, 0

    def attach(self, engine: Workflow) -> None:
        """Register at the start, at every step and at the end of epochs."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.add)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.tell)

    def start(self, engine: Workflow) -> None:
        """Say what begins."""
        self.started, self.first_epoch = time.monotonic(), engine.state.epoch
        threads = f", {torch.get_num_threads()} threads" if engine.state.device.type == "cpu" else ""
        held_out = "" if self.evaluator is None else f", validation on {_cases(self.evaluator)}"
        _logger.info(
            *("training on %s%s: %s, %d epochs of %s steps%s", engine.state.device, threads),
            *(_cases(engine), engine.state.max_epochs, engine.state.epoch_length, held_out),
        )

    def add(self, engine: Workflow) -> None:
        """Take the terms of a step."""
        for name, value in self.loss.values.items():
            self.sums[name] += float(value)
            self.counts[name] += 1

    def tell(self, engine: Workflow) -> None:
        """Log the line of an epoch."""
        means = {name: total / self.counts[name] for name, total in self.sums.items()}
        self.sums.clear()
        self.counts.clear()
        epoch, epochs = engine.state.epoch, engine.state.max_epochs
        seconds = (time.monotonic() - self.started) / max(1, epoch - self.first_epoch)
        parts = [
            self._terms(means),
            *self._validation(epoch),
            f"{_duration(seconds * (epochs - epoch))} left",
        ]
        _logger.info("epoch %d of %d: %s", epoch, epochs, "; ".join(parts))

    def _terms(self, means: dict[str, float]) -> str:
        terms = [
            f"{self.loss.terms[name].weight_at(self.loss.progress):g} x {name} {value:.4f}"
            for name, value in means.items()
            if name in self.loss.terms
        ]
        return f"loss {means.get('total', float('nan')):.4f} = {' + '.join(terms)}"

    def _validation(self, epoch: int) -> list[str]:
        """Return the metrics, if they are this epoch's."""
        state = None if self.evaluator is None else self.evaluator.state
        if state is None or state.epoch != epoch:
            return []
        return [f"{name} {float(value):.4f}" for name, value in state.metrics.items()]


def _cases(engine: Workflow) -> str:
    dataset = getattr(engine.data_loader, "dataset", None)
    return f"{len(dataset)} cases" if dataset is not None else "cases"


def _duration(seconds: float) -> str:
    """Return a time in the unit that suits it.

    Examples:
        >>> _duration(42.4), _duration(600), _duration(9000)
        ('42 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
