"""Labels on the grid of their image: one rule for training, evaluation, checks and pictures."""

from __future__ import annotations

import os

import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff

from dckd_ext.data.grids import TOLERANCE, Grid, as_mm, corner_distance, parts, voxel_edges
from dckd_ext.data.volumes import Volume, read_volume

__all__ = ["check_classes", "label_on", "label_spacing", "read_label", "values_outside", "whole_numbers"]

_WHOLE = 1e-3  # values so close to whole numbers are those: a scaled NIfTI file stores them so


def read_label(
    path: str | os.PathLike[str], image: Grid, stored_order: bool = False, name: str = "the image"
) -> Volume:
    """Read a label file and bring it onto the grid of its image, by the rule of `label_on`.

    Args:
        path: NIfTI or NRRD file.
        image: the grid of the image, as it was read.
        stored_order: whether that was read by the order of its array. A NRRD label whose header states no
            spacing, or ones, then has that of the image.
        name: of the image, for the errors.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: as `dckd_ext.data.volumes.read_volume` and `label_on`; the text leaves the file out.
    """
    return label_on(read_volume(path, label_spacing(image, stored_order)), image, stored_order, name)


def label_spacing(image: Grid, stored_order: bool) -> list[float] | None:
    """Return the ``nrrd_spacing`` of a label: its image's, if that was read by the order of its array."""
    return voxel_edges(image.affine).tolist() if stored_order else None


def label_on(label: Volume, image: Grid, stored_order: bool = False, name: str = "the image") -> Volume:
    """Bring a label onto the grid of its image; the affine of the result is the image's.

    Where the axes alone are stored in another order or direction, they are turned. Where a corner then lies
    farther from that of the image than `dckd_ext.data.grids.TOLERANCE` of the smallest voxel edge, the label
    is refused. If either was read by the order of its array, the array stays, and the spacing counts.

    Args:
        label: as it was read.
        image: where it has to lie.
        stored_order: whether the image was read by the order of its array.
        name: of the image, for the errors.

    Raises:
        ValueError: when it holds channels, has another shape or lies elsewhere.
    """
    if label.voxels.ndim != 3:
        raise ValueError(
            f"expected one class a voxel, found the shape {label.voxels.shape}: channels of a one-hot label? "
            "Store the numbers of the classes instead"
        )
    voxels, affine = whole_numbers(label.voxels), label.affine
    target = Grid(tuple(image.shape), np.asarray(image.affine, float))
    if stored_order or label.stored_order:
        affine = np.diag([*voxel_edges(affine), 1.0])
        target = target._replace(affine=np.diag([*voxel_edges(target.affine), 1.0]))
    else:
        turn = _turn(affine, target.affine)
        affine = affine @ inv_ornt_aff(turn, voxels.shape)
        voxels = apply_orientation(voxels, turn)
    if voxels.shape != target.shape:
        raise ValueError(f"has shape {voxels.shape}, expected that of {name}: {target.shape}")
    distance = corner_distance(Grid(voxels.shape, affine), target)
    allowed = TOLERANCE * voxel_edges(target.affine).min()
    if distance > allowed:
        raise ValueError(
            f"lies elsewhere than {name}: a corner is {distance:.3g} mm off, expected at most {allowed:.3g}; "
            f"found voxels of {as_mm(voxel_edges(affine))} and the affine {_text(affine)}, expected "
            f"{_text(target.affine)}"
        )
    return Volume(voxels, image.affine, label.header, label.stored_order, label.notes)


def _turn(affine: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Find the axis of the target, and the direction along it, of each axis; nibabel's form of a turn."""
    steps = np.linalg.solve(target, affine)[:3, :3]
    axes = np.abs(steps).argmax(axis=0)
    if len(set(axes)) < 3:
        return np.array([[0, 1], [1, 1], [2, 1]])
    return np.array([[axis, np.sign(steps[axis, number])] for number, axis in enumerate(axes)])


def _text(affine: np.ndarray) -> str:
    return str(np.round(affine[:3], 4).tolist())


def whole_numbers(volume: np.ndarray) -> np.ndarray:
    """Keep whole numbers in uint8, or in int32 where a value does not fit; return others as they are.

    Values within a thousandth of a whole number are that number. Nothing is copied that is uint8 already.

    Examples:
        >>> whole_numbers(np.array([0.0, 1.9999, 3.0])).tolist()
        [0, 2, 3]
        >>> whole_numbers(np.array([0.0, 2.5])).tolist()
        [0.0, 2.5]
    """
    if volume.dtype == np.uint8 or not volume.size:
        return volume
    low, high = float(volume.min()), float(volume.max())
    if not np.isfinite([low, high]).all() or low < -(2**31) or high >= 2**31:
        return volume
    fits = low >= -0.5 and high < 255.5
    rounded = np.empty_like(volume, dtype=np.uint8 if fits else np.int32)
    np.rint(volume, out=rounded, casting="unsafe")
    if volume.dtype.kind == "f" and any(
        (np.abs(part - whole) > _WHOLE).any()
        for part, whole in zip(parts(volume), parts(rounded), strict=True)
    ):
        return volume
    return rounded


def values_outside(label: np.ndarray, num_classes: int) -> list[float]:
    """Return the values, sorted, that are not whole numbers in ``[0, num_classes)``; NaN comes last.

    Examples:
        >>> values_outside(np.array([0, 1, 255, 1], dtype=np.uint8), num_classes=2)
        [255]
    """
    outside = []
    for part in parts(label):
        wrong = (part < 0) | (part >= num_classes)
        if part.dtype.kind == "f":
            wrong |= part != np.floor(part)
        outside.append(np.unique(part[wrong]))
    return np.unique(np.concatenate(outside)).tolist() if outside else []


def check_classes(label: np.ndarray, num_classes: int) -> None:
    """Refuse a label with values outside the classes, which would be learnt or scored as something else.

    Raises:
        ValueError: with the values that were found.
    """
    if outside := values_outside(label, num_classes):
        values = ", ".join(f"{value:g}" for value in outside[:8])
        raise ValueError(f"found values [{values}], expected whole numbers from 0 to {num_classes - 1}")
