"""Dice and surface distance of one segmented case, in millimetres, with a stated policy for empty masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance

__all__ = ["score_case"]


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
    if prediction.shape != label.shape:
        raise ValueError(f"prediction has shape {prediction.shape}, expected the label's {label.shape}")
    foreground = {number: name for number, name in class_names.items() if number != 0}
    masks = {number: (prediction == number, label == number) for number in foreground}
    dice = {f"dice_{name}": _dice(*masks[number]) for number, name in foreground.items()}
    hd95 = {f"hd95_{name}": _hd95(*masks[number], spacing) for number, name in foreground.items()}
    means = {"dice_mean": _mean(dice), "hd95_mean": _mean(hd95)}
    return {**dice, **hd95, **means}


def _dice(predicted: np.ndarray, true: np.ndarray) -> float:
    total = int(predicted.sum()) + int(true.sum())
    return 1.0 if total == 0 else 2.0 * int((predicted & true).sum()) / total


def _hd95(predicted: np.ndarray, true: np.ndarray, spacing: Sequence[float]) -> float:
    if not predicted.any() and not true.any():
        return 0.0
    if not predicted.any() or not true.any():
        return float(np.linalg.norm(np.multiply(true.shape, spacing)))
    distance = compute_hausdorff_distance(
        torch.from_numpy(predicted)[None, None],
        torch.from_numpy(true)[None, None],
        include_background=True,
        percentile=95,
        spacing=[float(edge) for edge in spacing],
    )
    return float(distance)


def _mean(scores: Mapping[str, float]) -> float:
    return float(np.mean(list(scores.values())))
