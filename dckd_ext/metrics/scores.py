"""Dice and surface distance of one segmented case, in millimetres, with a stated policy for empty masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.ndimage import binary_erosion
from scipy.spatial import cKDTree

__all__ = [
    "Box",
    "binary_dice",
    "binary_hd95",
    "bounding_box",
    "class_volumes",
    "score_case",
    "score_foreground",
]

Box = tuple[slice, ...]
_MOST_POINTS = 1_000_000


def score_case(
    prediction: np.ndarray, label: np.ndarray, spacing: Sequence[float], class_names: Mapping[int, str]
) -> dict[str, float]:
    """Score a segmentation against its label, both of shape ``(H, W, D)`` with whole-number classes.

    Empty masks (our policy): if a class is absent from both, Dice is 1 and the distance 0; if it is absent
    from one only, Dice is 0 and the distance the diagonal of the volume in mm, the worst there is.

    Args:
        prediction: classes, in the label's own geometry.
        label: classes.
        spacing: voxel edges in mm.
        class_names: names of the classes by number; 0 is the background and is not scored.

    Returns:
        ``dice_NAME`` and ``hd95_NAME`` (mm, the greater of the two directed 95th percentiles) for every
        class, and ``dice_mean``, ``hd95_mean``.

    Raises:
        ValueError: when the shapes differ.
    """
    _check_shapes(prediction, label)
    dice, hd95 = {}, {}
    for number, name in class_names.items():
        if number != 0:
            masks = prediction == number, label == number
            dice[f"dice_{name}"], hd95[f"hd95_{name}"] = binary_dice(*masks), binary_hd95(*masks, spacing)
    return {**dice, **hd95, "dice_mean": _mean(dice), "hd95_mean": _mean(hd95)}


def class_volumes(
    prediction: np.ndarray, label: np.ndarray, spacing: Sequence[float], class_names: Mapping[int, str]
) -> dict[str, float]:
    """Measure the classes of a segmentation and of its label; arguments as of `score_case`.

    Returns:
        ``ml_NAME`` and ``true_ml_NAME``, in millilitres, for every class.
    """
    voxel_ml = float(np.prod(spacing)) / 1000
    return {
        f"{key}_{name}": int(np.count_nonzero(mask == number)) * voxel_ml
        for key, mask in (("ml", prediction), ("true_ml", label))
        for number, name in class_names.items()
        if number != 0
    }


def score_foreground(prediction: np.ndarray, label: np.ndarray, spacing: Sequence[float]) -> dict[str, float]:
    """Score all classes above 0 as one mask. Shapes, spacing and empty masks as in `score_case`.

    Returns:
        ``dice``; ``hd95`` in mm; ``recall`` and ``precision`` over voxels, NaN where they are undefined (no
        true voxel, no predicted voxel); ``lesion_ml`` and ``predicted_ml``, the volumes.

    Raises:
        ValueError: when the shapes differ.
    """
    _check_shapes(prediction, label)
    predicted, true = prediction > 0, label > 0
    shared = int(np.count_nonzero(predicted & true))
    num_predicted, num_true = int(np.count_nonzero(predicted)), int(np.count_nonzero(true))
    voxel_ml = float(np.prod(spacing)) / 1000
    return {
        "dice": binary_dice(predicted, true),
        "hd95": binary_hd95(predicted, true, spacing),
        "recall": shared / num_true if num_true else float("nan"),
        "precision": shared / num_predicted if num_predicted else float("nan"),
        "lesion_ml": num_true * voxel_ml,
        "predicted_ml": num_predicted * voxel_ml,
    }


def binary_dice(predicted: np.ndarray, true: np.ndarray) -> float:
    """Return the Dice of two boolean masks; 1 when both are empty."""
    total = np.count_nonzero(predicted) + np.count_nonzero(true)
    return 1.0 if total == 0 else 2.0 * int(np.count_nonzero(predicted & true)) / int(total)


def binary_hd95(predicted: np.ndarray, true: np.ndarray, spacing: Sequence[float]) -> float:
    """Return the 95th percentile of the Hausdorff distance of two boolean masks, in mm.

    The same number as MONAI's ``compute_hausdorff_distance(percentile=95)``, from a search tree over the
    surface voxels. MONAI's distance transforms span the box around both masks, which is most of the volume
    (float64) as soon as one false positive lies far away. Of a surface of more than a million voxels, which
    only a prediction of noise has, every n-th is taken (our decision). Empty masks as in `score_case`.

    Args:
        predicted: ``(H, W, D)``.
        true: ``(H, W, D)``.
        spacing: voxel edges in mm.

    Examples:
        >>> true = np.zeros((9, 9, 9), bool)
        >>> true[2, 2, 2] = True
        >>> binary_hd95(np.roll(true, 3, axis=0), true, (0.5, 1, 1))
        1.5
    """
    boxes = bounding_box(predicted), bounding_box(true)
    if boxes == (None, None):
        return 0.0
    if None in boxes:
        return float(np.linalg.norm(np.multiply(true.shape, spacing)))
    one, other = _surface(predicted, spacing), _surface(true, spacing)
    return max(_percentile_distance(one, other), _percentile_distance(other, one))


def bounding_box(mask: np.ndarray) -> Box | None:
    """Return the smallest slices that hold all of a boolean mask, or None when it is empty."""
    axes = range(mask.ndim)
    inside = [np.flatnonzero(mask.any(axis=tuple(a for a in axes if a != axis))) for axis in axes]
    return None if inside[0].size == 0 else tuple(slice(int(i[0]), int(i[-1]) + 1) for i in inside)


def _surface(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Positions in mm, ``(N, 3)``, of the mask's voxels with a face towards the outside (or the border).

    At most `_MOST_POINTS` of them, evenly in the order of memory.
    """
    box = bounding_box(mask) or ()
    surface = binary_erosion(mask[box])
    np.logical_xor(mask[box], surface, out=surface)
    every = -(-np.count_nonzero(surface) // _MOST_POINTS) or 1
    points = np.stack(np.unravel_index(np.flatnonzero(surface)[::every], surface.shape), axis=1)
    return (points + [edge.start for edge in box]) * np.asarray(spacing, float)


def _percentile_distance(points: np.ndarray, to: np.ndarray) -> float:
    tree = cKDTree(to, balanced_tree=False)  # balancing is slow for the equal coordinates of a grid
    return float(np.percentile(tree.query(points)[0], 95))


def _check_shapes(prediction: np.ndarray, label: np.ndarray) -> None:
    if prediction.shape != label.shape:
        raise ValueError(f"prediction has shape {prediction.shape}, expected the label's {label.shape}")


def _mean(scores: Mapping[str, float]) -> float:
    return float(np.mean(list(scores.values())))
