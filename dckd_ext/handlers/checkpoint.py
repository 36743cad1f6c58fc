"""Stopping and continuing a training without a trace."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import Workflow

from dckd_ext.utils.files import written_whole

__all__ = ["ResumeCheckpoint"]

_logger = logging.getLogger(__name__)


class ResumeCheckpoint:
    """Save all that a training needs to continue exactly, at the end of epochs, and restore it.

    Put it last among the handlers of the trainer, so that the epoch's validation, schedule and weight
    average are part of what is saved. No generator state is stored: see `EpochSeed`. The file holds tensors
    and plain numbers only (``torch.load(weights_only=True)``).

    Args:
        path: the checkpoint file; written beside, then renamed.
        parts: named objects with ``state_dict`` and ``load_state_dict`` (None is skipped).
        evaluator: engine whose best metric is part of the state.
        resume: continue from ``path``; if there is no such file, start fresh and say so.
        interval: epochs between two saves; the last epoch is always saved.
        save: False on all ranks but the first.

    Raises:
        ValueError: on resume, when the checkpoint lacks a part or was made with another number of steps an
            epoch.
    """

    def __init__(
        self,
        path: str,
        parts: Mapping[str, Any],
        evaluator: Workflow | None = None,
        resume: bool = False,
        interval: int = 1,
        save: bool = True,
    ) -> None:
        self.path = Path(path)
        self.parts = {name: part for name, part in parts.items() if part is not None}
        self.evaluator = evaluator
        self.resume = resume
        self.interval = interval
        self.save_here = save

    def attach(self, engine: Workflow) -> None:
        """Register at ``STARTED`` and ``EPOCH_COMPLETED``."""
        engine.add_event_handler(Events.STARTED, self.restore)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)

    def save(self, engine: Workflow) -> None:
        """Save, if this epoch's turn has come."""
        last = engine.state.epoch == engine.state.max_epochs
        if not self.save_here or not (last or engine.state.epoch % self.interval == 0):
            return
        state = {
            "epoch": engine.state.epoch,
            "epoch_length": engine.state.epoch_length,
            "seconds": time.monotonic() - engine.state.started,
            "best": self._best(),
            "parts": {name: part.state_dict() for name, part in self._all_parts(engine).items()},
        }
        with written_whole(self.path) as beside:
            torch.save(state, beside)

    def restore(self, engine: Workflow) -> None:
        """Restore, if asked to and if there is something to restore."""
        engine.state.started = time.monotonic()
        if not self.resume:
            return
        if not self.path.is_file():
            _logger.warning(
                "resume: there is no checkpoint %s, the training starts from the beginning", self.path
            )
            return
        state = torch.load(self.path, map_location="cpu", weights_only=True)
        self._check(state, engine)
        for name, part in self._all_parts(engine).items():
            part.load_state_dict(state["parts"][name])
        engine.state.epoch = state["epoch"]
        engine.state.iteration = state["epoch"] * state["epoch_length"]
        engine.state.started -= state["seconds"]
        if self.evaluator is not None:
            self.evaluator.state.best_metric, self.evaluator.state.best_metric_epoch = state["best"]
        _logger.info("resume: continuing after epoch %d of %s", state["epoch"], self.path)

    def _all_parts(self, engine: Workflow) -> dict[str, Any]:
        scaler = getattr(engine, "scaler", None)
        return {**self.parts, **({"scaler": scaler} if scaler is not None else {})}

    def _best(self) -> tuple[float, int]:
        if self.evaluator is None:
            return -1.0, -1
        return float(self.evaluator.state.best_metric), int(self.evaluator.state.best_metric_epoch)

    def _check(self, state: dict[str, Any], engine: Workflow) -> None:
        missing = sorted(set(self._all_parts(engine)) ^ set(state["parts"]))
        if missing:
            raise ValueError(
                f"{self.path} holds the state of {sorted(state['parts'])}, expected "
                f"{sorted(self._all_parts(engine))}: it was made with another config"
            )
        if state["epoch_length"] != engine.state.epoch_length:
            raise ValueError(
                f"{self.path} was made with {state['epoch_length']} steps an epoch, found "
                f"{engine.state.epoch_length}: the data, batch size or number of processes has changed"
            )
