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
from torch import nn

from dckd_ext.handlers.made_with import case_list_of, describe, differences
from dckd_ext.networks.state_dicts import load_plain, tensors_digest
from dckd_ext.utils.files import written_whole

__all__ = ["MAY_CHANGE", "ResumeCheckpoint"]

_logger = logging.getLogger(__name__)

MAY_CHANGE = frozenset(
    (
        *("epochs", "val_interval", "select", "weights_dtype", "min_teacher_dice"),
        *("device", "autocast", "num_workers", "cache_rate", "resume", "download"),
        # places: what lies there is compared
        *("bundle_root", "dataset_dir", "split_file", "checkpoint", "output_dir"),
        *("teacher_bundle", "student_bundle", "teacher_weights"),
    )
)
"""Options that a training may be continued with in another value."""
_KEYS = {"epoch", "epoch_length", "seconds", "best", "parts", "made_with"}


class ResumeCheckpoint:
    """Save all that a training needs to continue exactly, at the end of epochs, and restore it.

    Put it last among the handlers of the trainer, so that the epoch's validation, schedule and weight
    average are part of what is saved. No generator state is stored: see `EpochSeed`. The file holds tensors
    and plain values only (``torch.load(weights_only=True)``).

    It also holds what the training was made with: the options, the names of the training and the validation
    cases, the settings of the parts, and a digest of the teacher's weights. A training that differs in any
    of these is not continued, since validation cases could then have been trained on; only the options in
    `MAY_CHANGE` may differ. With more epochs than before, the schedule becomes that of the new number.

    Args:
        path: the checkpoint file; written beside, then renamed.
        parts: named objects with ``state_dict`` and ``load_state_dict`` (None is skipped).
        evaluator: engine whose best metric is part of the state.
        resume: continue from ``path``; if there is no such file, start fresh and say so.
        interval: epochs between two saves; the last epoch is always saved.
        save: False on all ranks but the first.
        options: of the training, by name.

    Raises:
        ValueError: on resume, when the file is damaged, was made with other settings (names them with both
            values), with another number of steps an epoch, or lies beyond the last epoch.
    """

    def __init__(
        self,
        path: str,
        parts: Mapping[str, Any],
        evaluator: Workflow | None = None,
        resume: bool = False,
        interval: int = 1,
        save: bool = True,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(path)
        self.parts = {name: part for name, part in parts.items() if part is not None}
        self.evaluator = evaluator
        self.resume = resume
        self.interval = interval
        self.save_here = save
        # now, before the training changes any of it
        self.made_with = _described({k: v for k, v in (options or {}).items() if k not in MAY_CHANGE})
        self.made_with |= _described(self.parts)

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
            "made_with": self.made_with,
        }
        with written_whole(self.path) as beside:
            torch.save(state, beside)

    def restore(self, engine: Workflow) -> None:
        """Restore, if asked to and if there is something to restore."""
        engine.state.started = time.monotonic()
        self.made_with |= self._made_with(engine)
        if not self.path.is_file():
            if self.resume:
                text = "resume: there is no checkpoint %s, the training starts from the beginning"
                _logger.warning(text, self.path)
            return
        if not self.resume:
            text = "%s of an earlier training will be replaced; --resume true would continue that one"
            _logger.warning(text, self.path)
            return
        state = self._read()
        self._check(state, engine)
        for name, part in self._all_parts(engine).items():
            part.load_state_dict(_with_own_end(part, state["parts"][name]))
        engine.state.epoch = state["epoch"]
        engine.state.iteration = state["epoch"] * state["epoch_length"]
        engine.state.started -= state["seconds"]
        if self.evaluator is not None:
            self.evaluator.state.best_metric, self.evaluator.state.best_metric_epoch = state["best"]
        _logger.info("resume: continuing after epoch %d of %s", state["epoch"], self.path)

    def _made_with(self, engine: Workflow) -> dict[str, Any]:
        """Describe what the engines hold: the cases and the teacher."""
        found: dict[str, Any] = {"training cases": case_list_of(engine.data_loader)}
        if self.evaluator is not None:
            found["validation cases"] = case_list_of(self.evaluator.data_loader)
        if (teacher := _teacher_of(getattr(engine, "inferer", None))) is not None:
            found["digest of the teacher's weights"] = tensors_digest(teacher.state_dict().values())
        return found

    def _read(self) -> dict[str, Any]:
        state = load_plain(self.path)
        keys = set(state) if isinstance(state, dict) else {type(state).__name__}
        if _KEYS - keys == {"made_with"}:
            raise ValueError(
                f"{self.path} was written by an earlier version, which did not note what it was made with: "
                "it cannot be continued safely, leave out --resume to start anew"
            )
        if not keys >= _KEYS:
            raise ValueError(f"{self.path}: expected a checkpoint with {sorted(_KEYS)}, found {sorted(keys)}")
        return state

    def _all_parts(self, engine: Workflow) -> dict[str, Any]:
        scaler = getattr(engine, "scaler", None)
        return {**self.parts, **({"scaler": scaler} if scaler is not None else {})}

    def _best(self) -> tuple[float, int]:
        if self.evaluator is None:
            return -1.0, -1
        return float(self.evaluator.state.best_metric), int(self.evaluator.state.best_metric_epoch)

    def _check(self, state: dict[str, Any], engine: Workflow) -> None:
        parts = self._all_parts(engine)
        if parts.keys() != state["parts"].keys():
            raise ValueError(
                f"{self.path} holds the state of {sorted(state['parts'])}, expected {sorted(parts)}: it was "
                "made with another config"
            )
        if changed := differences(state["made_with"], self.made_with):
            text = "; ".join(changed[:5]) + (f"; and {len(changed) - 5} more" if len(changed) > 5 else "")
            raise ValueError(
                f"{self.path} is of another training, so that it cannot be continued. {text}. Give what it "
                "was made with, or leave out --resume to start anew"
            )
        if state["epoch_length"] != engine.state.epoch_length:
            raise ValueError(
                f"{self.path} was made with {state['epoch_length']} steps an epoch, found "
                f"{engine.state.epoch_length}: the data, batch size or number of processes has changed"
            )
        if state["epoch"] > (engine.state.max_epochs or 0):
            raise ValueError(
                f"{self.path} was saved after epoch {state['epoch']}, expected --epochs of at least as many, "
                f"found {engine.state.max_epochs}"
            )


def _described(named: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for key, part in named.items() for name, value in describe(part, key).items()}


def _teacher_of(inferer: Any) -> nn.Module | None:
    """Look for a teacher in an inferer and in those that it wraps."""
    while inferer is not None:
        teacher = getattr(inferer, "teacher", None)
        if isinstance(teacher, nn.Module):
            return teacher
        inferer = getattr(inferer, "inferer", None)
    return None


def _with_own_end(part: Any, state: Any) -> Any:
    """Let a schedule end where this training does: torch saves its length as if it were progress."""
    return {**state, "t_total": part.t_total} if hasattr(part, "t_total") else state
