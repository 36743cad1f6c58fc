"""The weights that a training leaves in its bundle."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import Workflow
from torch import nn

from dckd_ext.handlers.record import file_digest, training_record
from dckd_ext.networks.state_dicts import not_finite
from dckd_ext.utils.errors import listed
from dckd_ext.utils.files import check_writable, written_whole

__all__ = ["WeightsWriter", "save_weights"]

_logger = logging.getLogger(__name__)


def save_weights(network: nn.Module, path: str | os.PathLike[str], dtype: str = "float32") -> None:
    """Save a flat state dict with its floating-point tensors in ``dtype``; other tensors keep theirs.

    Raises:
        ValueError: when a value is NaN or infinite, as 70000 is in float16; nothing is written then.
    """
    kind = getattr(torch, dtype)
    state = {
        name: (tensor.to(kind) if tensor.is_floating_point() else tensor).detach().cpu().clone()
        for name, tensor in network.state_dict().items()
    }
    if broken := not_finite(state):
        raise ValueError(
            f"{path}: not written, since {len(broken)} of {len(state)} tensors hold NaN or infinite values "
            f"in {dtype}: {listed(broken, 3)}"
        )
    with written_whole(path) as beside:
        torch.save(state, beside)


class WeightsWriter:
    """Write the bundle's weights, at the end of the training or whenever the validation improves.

    An existing file is never lost: it is moved to ``previous/`` beside it first. A record of the training
    (`dckd_ext.handlers.training_record`) is written to ``record`` and beside the weights, ``model.json`` of
    ``model.pt``, with the digest of the weights; the seconds are those of all its runs, as `ResumeCheckpoint`
    counts them.

    Args:
        network: the network whose weights are written (its average, usually).
        path: ``models/model.pt`` of a bundle.
        select: "last" or "best" (by the evaluator's key metric).
        dtype: of the saved floating-point tensors.
        evaluator: needed for "best".
        record: JSON file for the record, or None.
        save: False on all ranks but the first.
        options: of the training, for its record.

    Raises:
        ValueError: for an unknown ``select``.
        OSError: before the first step, when ``path`` cannot be written.
    """

    def __init__(
        self,
        network: nn.Module,
        path: str,
        select: str = "last",
        dtype: str = "float32",
        evaluator: Workflow | None = None,
        record: str | None = None,
        save: bool = True,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if select not in ("last", "best"):
            raise ValueError(f"select must be 'last' or 'best', found {select!r}")
        if select == "best" and evaluator is None:
            raise ValueError(
                "select='best' needs the evaluator whose key metric tells which weights are best"
            )
        self.network, self.path, self.select, self.dtype = network, Path(path), select, dtype
        self.evaluator, self.record, self.save_here = evaluator, record, save
        self.options = options
        self.previous_kept = False

    def attach(self, engine: Workflow) -> None:
        """Register on the trainer, and on the evaluator for "best"."""
        if not self.save_here:
            return
        engine.add_event_handler(Events.STARTED, lambda: check_writable(self.path))
        if self.select == "best" and self.evaluator is not None:
            self.evaluator.add_event_handler(Events.EPOCH_COMPLETED, self._write_if_best)
        else:
            engine.add_event_handler(Events.COMPLETED, self._write)
        engine.add_event_handler(Events.COMPLETED, self._write_record)

    def _write_if_best(self, evaluator: Workflow) -> None:
        if evaluator.state.best_metric_epoch == evaluator.state.epoch:
            self._write(evaluator)

    def _write(self, engine: Workflow) -> None:
        self._keep_previous()
        save_weights(self.network, self.path, self.dtype)
        _logger.info("weights saved: %s", self.path)

    def _keep_previous(self) -> None:
        if self.previous_kept or not self.path.is_file():
            self.previous_kept = True
            return
        stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(self.path.stat().st_mtime))
        kept = self.path.parent / "previous" / f"{self.path.stem}_{stamp}{self.path.suffix}"
        with written_whole(kept) as beside:
            shutil.copy2(self.path, beside)
        self.previous_kept = True
        _logger.warning("%s existed: the old weights are kept as %s", self.path, kept)

    def _write_record(self, engine: Workflow) -> None:
        if self.record is None or not self.path.is_file():
            return
        record = {
            **training_record(engine, self.evaluator, self.options),
            "select": self.select,
            "weights": self.path.name,
            "sha256": file_digest(self.path),
        }
        for file in (Path(self.record), self.path.with_suffix(".json")):
            with written_whole(file) as beside:
                beside.write_text(json.dumps(record, indent=4), encoding="utf-8")
