"""Scores of every case, against the untouched label files."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from ignite.engine import Engine, Events

from dckd_ext.files import written_whole
from dckd_ext.scores import score_case

__all__ = ["CaseScores"]

_logger = logging.getLogger(__name__)


class CaseScores:
    """Score each case after postprocessing and write one CSV row a case.

    The prediction must be back in the geometry of its image file (``Invertd``). The label is read from its
    file as it is, with its own spacing: nothing of it is resampled. ``seconds`` is the wall time of the
    forward pass and the postprocessing of the case's batch, without reading.

    Args:
        path: CSV file, written whole at the end.
        class_names: names of the classes by number; see `dckd_ext.scores.score_case`.

    Raises:
        ValueError: when a prediction and its label have different shapes; the error names the file.
    """

    def __init__(self, path: str, class_names: Mapping[int, str]) -> None:
        self.path = Path(path)
        self.class_names = class_names
        self.rows: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Register on an evaluator."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_STARTED, self._start_clock)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._score)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self, engine: Engine) -> None:
        self.rows = []

    def _start_clock(self, engine: Engine) -> None:
        self.clock = time.perf_counter()

    def _score(self, engine: Engine) -> None:
        seconds = time.perf_counter() - self.clock
        state: Any = engine.state
        for case, output in zip(state.batch, state.output, strict=True):
            self.rows.append({**self._score_file(case, output["pred"]), "seconds": round(seconds, 4)})

    def _score_file(self, case: Mapping[str, Any], prediction: Any) -> dict[str, Any]:
        label = nib.Nifti1Image.from_filename(case["label"])
        spacing = nib.affines.voxel_sizes(label.affine)
        try:
            scores = score_case(
                _classes(prediction.detach().cpu()[0]), _classes(label.dataobj), spacing, self.class_names
            )
        except ValueError as error:
            raise ValueError(f"{case['label']}: {error}") from error
        return {"case": case["case"], **{name: round(value, 5) for name, value in scores.items()}}

    def _write(self, engine: Engine) -> None:
        with written_whole(self.path) as beside, open(beside, "w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)
        means = {name: np.mean([row[name] for row in self.rows]) for name in self.rows[0] if name != "case"}
        _logger.info(
            "%d cases: %s", len(self.rows), ", ".join(f"{name} {mean:.4f}" for name, mean in means.items())
        )
        _logger.info("scores of every case: %s", self.path)


def _classes(volume: Any) -> npt.NDArray[np.int64]:
    return np.asarray(volume).round().astype(np.int64)
