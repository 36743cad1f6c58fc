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
from monai.data import MetaTensor

from dckd_ext.data.grids import voxel_edges
from dckd_ext.data.labels import check_classes, read_label, whole_numbers
from dckd_ext.data.volumes import warn_of
from dckd_ext.metrics.scores import class_volumes, score_case
from dckd_ext.transforms.reading import grid_of
from dckd_ext.utils.errors import named_errors
from dckd_ext.utils.files import check_writable
from dckd_ext.utils.tables import write_table

__all__ = ["CaseScores", "classes_of", "true_classes"]

_logger = logging.getLogger(__name__)


class CaseScores:
    """Score each case after postprocessing and write one CSV row a case.

    The prediction must be back in the geometry of its image file (``Invertd``). The label is read from its
    file by the rules of `dckd_ext.data.labels`, those of training: turned where its axes are stored otherwise
    than the image's, and nothing of it is resampled. Beside the scores stand the volumes of the classes, in
    ml, segmented and true. ``seconds`` is the wall time of the forward pass and the postprocessing of the
    case's batch, without reading.

    The file holds the cases of all runs of the engine since the handler was made, and is written at the end
    of each. A case that is run again replaces its row.

    Args:
        path: CSV file, written whole.
        class_names: names of the classes by number; see `dckd_ext.metrics.scores.score_case`.

    Raises:
        ValueError: as `true_classes`.
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
        label, spacing = true_classes(path, prediction, len(self.class_names))
        measured = (classes_of(prediction), label, spacing, self.class_names)
        return {**score_case(*measured), **class_volumes(*measured)}

    def _write(self, engine: Engine) -> None:
        if not self.rows:
            return
        rows = list(self.rows.values())
        write_table(self.path, list(rows[0]), rows)
        means = {
            name: np.mean([row[name] for row in rows])
            for name in rows[0]
            if name != "case" and "ml_" not in name
        }
        _logger.info(
            "%d cases: %s", len(rows), ", ".join(f"{name} {mean:.4f}" for name, mean in means.items())
        )
        _logger.info("scores of every case: %s", self.path)


def classes_of(prediction: torch.Tensor) -> np.ndarray:
    """Return the classes of a prediction ``(1, H, W, D)`` as an array ``(H, W, D)`` of a small type."""
    return whole_numbers(np.asarray(prediction.detach().cpu()[0]))


def true_classes(
    path: str, prediction: torch.Tensor, num_classes: int | None = None
) -> tuple[np.ndarray, list[float]]:
    """Read the label of a prediction onto its grid.

    Args:
        path: the label file.
        prediction: ``(1, H, W, D)``, back on the grid of the image, with the image's meta data.
        num_classes: labels must be whole numbers in ``[0, num_classes)``; None: any from 0 on.

    Returns:
        The classes, ``(H, W, D)``, and the voxel edges of the label in mm.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is damaged, lies elsewhere than the image or holds other values, or the prediction
            has no affine; names the file.
    """
    if not isinstance(prediction, MetaTensor):
        raise ValueError(
            f"label {path}: expected a prediction with an affine (MetaTensor), "
            f"found {type(prediction).__name__}"
        )
    with named_errors("label", path):
        label = read_label(path, *grid_of(prediction, prediction.shape[1:]))
        check_classes(label.voxels, num_classes or np.iinfo(np.int32).max)
    for note in label.notes:
        warn_of(path, note)
    return label.voxels, voxel_edges(label.affine).tolist()
