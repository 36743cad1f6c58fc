"""Pictures of cases: image, truth and every run's mask as outlines, in three planes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .runs import Run

_PLANES = ("sagittal", "coronal", "axial")
_WIDTH = 2.4  # of a panel, in inches
_MARGIN = 8  # voxels around the outlines
_COLOURS = ("gold", "deepskyblue", "violet", "limegreen", "tomato", "orange")


def pick_cases(runs: Sequence[Run]) -> dict[str, str]:
    """The median and the worst case by the mean Dice over all runs, each with what it is."""
    order = np.argsort(np.mean([run.scores["dice_mean"] for run in runs], axis=0))
    cases = runs[0].cases
    picked = {cases[order[len(order) // 2]]: "median case"}
    return picked if len(cases) == 1 else {**picked, cases[order[0]]: "worst case"}


def draw_case(case: str, what: str, runs: Sequence[Run], dataset_dir: str | Path) -> Figure:
    """Draw one case: a row a plane, a column each for image, truth and the masks of the runs.

    Raises:
        FileNotFoundError: when image, label or a mask is missing.
        ValueError: when their shapes differ.
    """
    files = {folder: _volume_file(Path(dataset_dir) / folder, case) for folder in ("imagesTr", "labelsTr")}
    image, spacing = _read(files["imagesTr"])
    masks = {"truth": _read(files["labelsTr"])[0]}
    masks |= {run.name: _read(run.mask(case))[0] for run in runs}
    for name, mask in masks.items():
        if mask.shape != image.shape:
            raise ValueError(f"{case}: the mask of {name} has shape {mask.shape}, the image {image.shape}")
    box = _box(list(masks.values()))
    image, masks = image[box], {name: mask[box] for name, mask in masks.items()}
    figure = _draw_planes(image, spacing, masks, runs[0].classes)
    for panel, run in zip(figure.axes[2:], runs, strict=False):
        panel.set_title(f"{run.name}\nDice {run.scores['dice_mean'][run.cases.index(case)]:.3f}", fontsize=10)
    figure.suptitle(f"{case}, {what}")
    return figure


def _draw_planes(
    image: np.ndarray, spacing: np.ndarray, masks: dict[str, np.ndarray], classes: Sequence[str]
) -> Figure:
    columns: dict[str, np.ndarray | None] = {"image": None, **masks}
    heights = [_height_by_width(np.multiply(image.shape, spacing), axis) for axis in range(3)]
    figure = Figure(figsize=(_WIDTH * len(columns), _WIDTH * sum(heights) + 1), layout="constrained")
    panels = figure.subplots(3, len(columns), squeeze=False, height_ratios=heights)
    window = np.percentile(image, [0.5, 99.5])
    for axis, plane in enumerate(_PLANES):
        index = _fullest_slice(masks["truth"], axis)
        across, up = np.delete(spacing, axis)
        for panel, mask in zip(panels[axis], columns.values(), strict=True):
            grey = np.take(image, index, axis).T
            panel.imshow(
                grey, cmap="gray", vmin=window[0], vmax=window[1], origin="lower", aspect=up / across
            )
            if mask is not None:
                _outline(panel, np.take(mask, index, axis).T, len(classes))
            panel.set(xticks=[], yticks=[])
        panels[axis, 0].set_ylabel(plane)
    for panel, name in zip(panels[0], columns, strict=True):
        panel.set_title(name, fontsize=10)
    lines = [Line2D([], [], color=_colour(number)) for number in range(1, len(classes) + 1)]
    figure.legend(lines, classes, loc="outside lower center", ncols=len(classes), frameon=False)
    return figure


def _height_by_width(extent: np.ndarray, axis: int) -> float:
    across, up = np.delete(extent, axis)
    return float(up / across)


def _outline(panel: Axes, mask: np.ndarray, num_classes: int) -> None:
    for number in range(1, num_classes + 1):
        if (mask == number).any():
            panel.contour(mask == number, levels=[0.5], colors=[_colour(number)], linewidths=1.5)


def _colour(number: int) -> str:
    return _COLOURS[(number - 1) % len(_COLOURS)]


def _fullest_slice(truth: np.ndarray, axis: int) -> int:
    others = tuple(other for other in range(3) if other != axis)
    return int((truth > 0).sum(axis=others).argmax())


def _box(masks: Sequence[np.ndarray]) -> tuple[slice, ...]:
    inside = np.argwhere(np.any([mask > 0 for mask in masks], axis=0))
    if len(inside) == 0:
        return (slice(None),) * 3
    low, high = inside.min(0) - _MARGIN, inside.max(0) + _MARGIN + 1
    return tuple(slice(max(start, 0), stop) for start, stop in zip(low, high, strict=True))


def _volume_file(folder: Path, case: str) -> Path:
    for ending in (".nii.gz", ".nii"):
        if (folder / f"{case}{ending}").is_file():
            return folder / f"{case}{ending}"
    raise FileNotFoundError(f"{folder} holds no {case}.nii.gz")


def _read(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Array and spacing in mm, with the axes turned to right, anterior, superior."""
    volume = nib.as_closest_canonical(nib.Nifti1Image.from_filename(file))
    return np.asarray(volume.dataobj), nib.affines.voxel_sizes(volume.affine)
