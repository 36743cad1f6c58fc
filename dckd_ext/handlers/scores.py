"""Scores of every case, against the untouched label files."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events

from dckd_ext.metrics.scores import score_case
from dckd_ext.transforms.labels import read_label_for, whole_numbers
from dckd_ext.utils.files import check_writable
from dckd_ext.utils.tables import write_table

__all__ = ["CaseScores", "classes_of"]

_logger = logging.getLogger(__name__)


class CaseScores:
    """Score each case after postprocessing and write one CSV row a case.

    The prediction must be back in the geometry of its image file (``Invertd``). The label is read from its
    file as it is (NIfTI or NRRD): nothing of it is resampled. Its spacing is its own; that of a NRRD label is
    the prediction's, which has the affine of the image as it was read. ``seconds`` is the wall time of the
    forward pass and the postprocessing of the case's batch, without reading.

    The file holds the cases of all runs of the engine since the handler was made, and is written at the end
    of each. A case that is run again replaces its row.

    Args:
        path: CSV file, written whole.
        class_names: names of the classes by number; see `dckd_ext.metrics.scores.score_case`.

    Raises:
        ValueError: when a prediction and its label have different shapes; the error names the file.
        OSError: before the first case, when ``path`` cannot be written.
    """

    def __init__(self, path: str, class_names: Mapping[int, str]) -> None:
        self.path = Path(path)
        self.class_names = class_names
        self.rows: dict[str, dict[str, Any]] = {}

    def attach(self, engine: Engine) -> None:
        """Register on an evaluator."""
        engine.add_event_handler(Events.STARTED, lambda: check_writable(self.path))
        engine.add_event_handler(Events.ITERATION_STARTED, self._start_clock)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._score)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start_clock(self, engine: Engine) -> None:
        self.clock = time.perf_counter()

    def _score(self, engine: Engine) -> None:
        seconds = time.perf_counter() - self.clock
        state: Any = engine.state
        for case, output in zip(state.batch, state.output, strict=True):
            scores = self._score_file(case["label"], output["pred"])
            rounded = {name: round(value, 5) for name, value in scores.items()}
            self.rows[case["case"]] = {"case": case["case"], **rounded, "seconds": round(seconds, 4)}

    def _score_file(self, path: str, prediction: torch.Tensor) -> dict[str, float]:
        label, spacing = read_label_for(prediction, path)
        try:
            return score_case(classes_of(prediction), label, spacing.tolist(), self.class_names)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def _write(self, engine: Engine) -> None:
        if not self.rows:
            return
        rows = list(self.rows.values())
        write_table(self.path, list(rows[0]), rows)
        means = {name: np.mean([row[name] for row in rows]) for name in rows[0] if name != "case"}
        _logger.info(
            "%d cases: %s", len(rows), ", ".join(f"{name} {mean:.4f}" for name, mean in means.items())
        )
        _logger.info("scores of every case: %s", self.path)


def classes_of(prediction: torch.Tensor) -> np.ndarray:
    """Return the classes of a prediction ``(1, H, W, D)`` as an array ``(H, W, D)`` of a small type."""
    return whole_numbers(np.asarray(prediction.detach().cpu()[0]))
