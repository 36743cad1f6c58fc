"""Pictures of cases: image, truth and every run's mask as outlines, in three planes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

from dckd_ext.data.grids import voxel_edges
from dckd_ext.data.labels import read_label
from dckd_ext.data.volumes import read_volume, read_voxels
from dckd_ext.report.runs import Run
from dckd_ext.utils.errors import named_errors

__all__ = ["CONVENTIONS", "PLANES", "Plane", "draw_case", "pick_cases"]


Masks = dict[str, np.ndarray]


class Plane(NamedTuple):
    """How a slice is shown: the axis that it cuts, those along and up the page, and where the last starts.

    ``letters`` are of the page's left, right, bottom and top, as a neurologist has them: the patient's
    left at the left; none where axes have no anatomical direction.
    """

    name: str
    cut: int
    across: int
    upright: int
    origin: str
    letters: tuple[str, ...] = ()


PLANES = {
    # axes turned to right, anterior, superior
    "anatomical": (
        Plane("sagittal", 0, 1, 2, "lower", tuple("PAIS")),
        Plane("coronal", 1, 0, 2, "lower", tuple("LRIS")),
        Plane("axial", 2, 0, 1, "lower", tuple("LRPA")),
    ),
    # axes as stored: lateral, depth from the skin on, sweep
    "abus": (
        Plane("transverse", 2, 0, 1, "upper"),
        Plane("sagittal", 0, 2, 1, "upper"),
        Plane("coronal", 1, 0, 2, "lower"),
    ),
}
_WIDTH = 2.4  # of a panel, in inches
_MARGIN = 8  # voxels around the outlines
_COLOURS = ("gold", "deepskyblue", "violet", "limegreen", "tomato", "orange")


CONVENTIONS = ("radiological", "neurological")
"""Where the patient's left is on the page: at the right, as if seen from the feet, or at the left."""


def pick_cases(runs: Sequence[Run]) -> dict[str, str]:
    """Find the median and the worst case by the mean Dice over all runs, each with what it is."""
    order = np.argsort(np.mean([run.scores["dice_mean"] for run in runs], axis=0))
    cases = runs[0].cases
    picked = {cases[order[len(order) // 2]]: "median case"}
    return picked if len(cases) == 1 else {**picked, cases[order[0]]: "worst case"}


def draw_case(
    case: Mapping[str, Any],
    what: str,
    runs: Sequence[Run],
    planes: Sequence[Plane] = PLANES["anatomical"],
    convention: str = "radiological",
) -> Figure:
    """Draw one case: a row a plane, a column each for image, truth and the masks of the runs.

    Args:
        case: its name and files, of `dckd_ext.data.folders.all_cases`.
        what: why it is shown.
        runs: with masks of it.
        planes: one set of `PLANES`.
        convention: one of `CONVENTIONS`, for planes with anatomical directions.

    Raises:
        FileNotFoundError: when image, label or a mask is missing.
        ValueError: when one cannot be read or lies elsewhere than the image; names the file.
    """
    name = case["case"]
    files = {"truth": case["label"], **{run.name: run.mask(name) for run in runs}}
    image, masks, spacing = (_turned if planes is PLANES["anatomical"] else _stored)(case["image"], files)
    box = _box(list(masks.values()))
    image, masks = image[box], {whose: mask[box] for whose, mask in masks.items()}
    figure = _draw_planes(image, spacing, masks, runs[0].classes, planes)
    for number, panel in enumerate(figure.axes):
        plane = planes[number // (len(masks) + 1)]
        if plane.letters:
            _orient(panel, plane, convention, letters=number % (len(masks) + 1) == 0)
        _scale_bar(panel, spacing[plane.across])
    for panel, run in zip(figure.axes[2:], runs, strict=False):
        panel.set_title(f"{run.name}\nDice {run.scores['dice_mean'][run.cases.index(name)]:.3f}", fontsize=10)
    seen = f"; {convention}, bars of 10 mm" if planes[0].letters else "; bars of 10 mm"
    figure.suptitle(f"{name}, {what}{seen}", fontsize=11)
    return figure


def _draw_planes(
    image: np.ndarray,
    spacing: np.ndarray,
    masks: dict[str, np.ndarray],
    classes: Sequence[str],
    planes: Sequence[Plane],
) -> Figure:
    columns: dict[str, np.ndarray | None] = {"image": None, **masks}
    extent = np.multiply(image.shape, spacing)
    heights = [extent[plane.upright] / extent[plane.across] for plane in planes]
    figure = Figure(figsize=(_WIDTH * len(columns), _WIDTH * sum(heights) + 1), layout="constrained")
    panels = figure.subplots(3, len(columns), squeeze=False, height_ratios=heights)
    window = np.percentile(image, [0.5, 99.5])
    for row, plane in zip(panels, planes, strict=True):
        index = _fullest_slice(masks["truth"], plane.cut)
        aspect = spacing[plane.upright] / spacing[plane.across]
        grey = _slice(image, plane, index)
        for panel, mask in zip(row, columns.values(), strict=True):
            panel.imshow(
                grey, cmap="gray", vmin=window[0], vmax=window[1], origin=plane.origin, aspect=aspect
            )
            if mask is not None:
                _outline(panel, _slice(mask, plane, index), len(classes))
            panel.set(xticks=[], yticks=[])
        row[0].set_ylabel(plane.name)
    for panel, name in zip(panels[0], columns, strict=True):
        panel.set_title(name, fontsize=10)
    lines = [Line2D([], [], color=_colour(number)) for number in range(1, len(classes) + 1)]
    figure.legend(lines, classes, loc="outside lower center", ncols=len(classes), frameon=False)
    return figure


def _orient(panel: Axes, plane: Plane, convention: str, letters: bool) -> None:
    """Mirror a panel where the convention asks for it, and write the directions at its edges."""
    left, right, bottom, top = plane.letters
    if convention == "radiological" and plane.across == 0:
        panel.invert_xaxis()
        left, right = right, left
    if not letters:
        return
    for across, up, letter in ((0.04, 0.5, left), (0.96, 0.5, right), (0.5, 0.05, bottom), (0.5, 0.95, top)):
        text = panel.text(
            across, up, letter, transform=panel.transAxes, color="white", ha="center", va="center"
        )
        text.set_path_effects([withStroke(linewidth=2, foreground="black")])


def _scale_bar(panel: Axes, edge: float, length: float = 10.0) -> None:
    """Draw a bar of some mm at the lower left."""
    (start, end), height = panel.get_xlim(), panel.get_ylim()
    step = np.sign(end - start)
    low = height[0] + 0.06 * (height[1] - height[0])
    first = start + 0.06 * (end - start)
    panel.plot(
        [first, first + step * length / edge], [low, low], color="white", linewidth=2.5, solid_capstyle="butt"
    )
    panel.set(xlim=(start, end), ylim=height)


def _slice(volume: np.ndarray, plane: Plane, index: int) -> np.ndarray:
    """Return the slice with its rows along the axis that is upright."""
    slice_ = np.take(volume, index, plane.cut)
    return slice_.T if plane.across < plane.upright else slice_


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


def _turned(image: str, masks: Mapping[str, str | Path]) -> tuple[np.ndarray, Masks, np.ndarray]:
    """Read image and masks with the axes turned to right, anterior, superior, and the voxel edges."""
    with named_errors("image", image):
        shown = read_volume(image)
    found = {}
    for whose, file in masks.items():
        with named_errors(f"mask of {whose}", file):
            found[whose] = read_label(file, shown.grid, name=f"image {image}").voxels
    turn = io_orientation(shown.affine)
    edges = voxel_edges(shown.affine @ inv_ornt_aff(turn, shown.grid.shape))
    turned = {whose: apply_orientation(mask, turn) for whose, mask in found.items()}
    return apply_orientation(shown.voxels, turn), turned, edges


def _stored(image: str, masks: Mapping[str, str | Path]) -> tuple[np.ndarray, Masks, np.ndarray]:
    """Read image and masks as they are stored, and the voxel edges of a mask: a NRRD image may have none."""
    shown = read_voxels(image)
    found = {whose: read_voxels(file) for whose, file in masks.items()}
    for whose, mask in found.items():
        if mask.shape != shown.shape:
            raise ValueError(
                f"mask of {whose} {masks[whose]}: has shape {mask.shape}, expected that of image {image}: "
                f"{shown.shape}"
            )
    return shown, found, voxel_edges(read_volume(list(masks.values())[-1]).affine)
