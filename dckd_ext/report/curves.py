"""Training curves from TensorBoard files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dckd_ext.report.runs import Run

__all__ = ["draw_curves", "read_curves"]

Curves = dict[str, tuple[np.ndarray, np.ndarray]]
_COLUMNS = 3
_POINTS = 100  # of a drawn line; longer series are averaged in blocks


def draw_curves(runs: Sequence[Run]) -> Figure | None:
    """Draw a panel for every logged quantity, one line a run; None if no run has TensorBoard files."""
    series = {run.name: read_curves(run.folder) for run in runs}
    tags = list(dict.fromkeys(tag for curves in series.values() for tag in curves))
    if not tags:
        return None
    rows = -(-len(tags) // _COLUMNS)
    figure = Figure(figsize=(4 * _COLUMNS, 3 * rows), layout="constrained")
    for number, tag in enumerate(tags, start=1):
        _draw_panel(figure.add_subplot(rows, _COLUMNS, number), tag, series)
    return figure


def _draw_panel(panel: Axes, tag: str, series: dict[str, Curves]) -> None:
    for number, (name, curves) in enumerate(series.items()):
        if tag in curves:
            steps, values = _thinned(*curves[tag])
            marker = "." if len(steps) < 15 else None
            panel.plot(steps, values, color=f"C{number}", label=name, marker=marker)
    panel.set(title=tag, xlabel="epoch" if tag.startswith("val_") else "step")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    panel.grid(alpha=0.3)
    panel.legend(fontsize=8)


def read_curves(folder: Path) -> Curves:
    """Read steps and values of all that TensorBoard files in a folder hold; nothing without such files."""
    if not any(folder.glob("events.out.tfevents.*")):
        return {}
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logging.getLogger("tensorboard").setLevel(logging.WARNING)  # else a line for every file it goes through
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: _arrays(events.Scalars(tag)) for tag in events.Tags()["scalars"]}


def _arrays(scalars: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and values in order; of a step that a resumed run repeated, the last value."""
    latest = dict(sorted({scalar.step: scalar.value for scalar in scalars}.items()))
    return np.array(list(latest)), np.array(list(latest.values()))


def _thinned(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    blocks = min(_POINTS, len(steps))
    return _block_means(steps, blocks), _block_means(values, blocks)


def _block_means(series: np.ndarray, blocks: int) -> np.ndarray:
    return np.array([block.mean() for block in np.array_split(series, blocks)])
