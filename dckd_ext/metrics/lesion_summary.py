"""What lesion and volume scores of many cases come to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

__all__ = ["POLICY", "summarise"]

POLICY = (
    "Empty masks: both empty: Dice 1, HD95 0; one empty: Dice 0, HD95 the diagonal of the volume. "
    "Cases without a lesion count for false positives and, by this policy, for Dice. "
    "Recall is left out where there is no true voxel, precision where there is no predicted one. "
    "Dice and HD95 'when found' are over the cases in which at least one lesion was found. "
    "A predicted component of which less than a tenth lies in lesions is a false positive and finds nothing. "
    "A lesion is found when the other components cover at least a tenth of it."
)
Row = Mapping[str, Any]


def summarise(
    volumes: Sequence[Row], lesions: Sequence[Row], size_edges_ml: Sequence[float] = (0.5, 2.0)
) -> dict[str, Any]:
    """Summarise the rows of `dckd_ext.handlers.LesionScores`.

    Args:
        volumes: one a case: ``dice``, ``hd95`` (mm), ``recall``, ``precision`` (NaN where undefined),
            ``predicted_ml``, ``lesions``, ``found``, ``false_positives``.
        lesions: one a true lesion: ``ml``, ``found``.
        size_edges_ml: rising edges between the size bins; a lesion on an edge belongs to the larger bin.

    Returns:
        Plain numbers and texts for JSON; None where nothing is there to count.
    """
    found = [row for row in volumes if row["found"]]
    return {
        "cases": len(volumes),
        "cases_without_lesion": sum(not row["lesions"] for row in volumes),
        "cases_with_empty_prediction": sum(not row["predicted_ml"] for row in volumes),
        "cases_with_a_lesion_found": len(found),
        "dice": _mean_and_median(row["dice"] for row in volumes),
        "dice_when_found": _mean_and_median(row["dice"] for row in found),
        "hd95_mm_when_found": _mean_and_median(row["hd95"] for row in found),
        "recall": _mean_and_median(row["recall"] for row in volumes),
        "precision": _mean_and_median(row["precision"] for row in volumes),
        "lesions": {
            **_detection(lesions),
            "by_ml": {name: _detection(rows) for name, rows in _by_size(lesions, size_edges_ml).items()},
        },
        "false_positives": sum(row["false_positives"] for row in volumes),
        "false_positives_per_volume": _mean_and_median(row["false_positives"] for row in volumes)["mean"],
        "policy": POLICY,
    }


def _mean_and_median(values: Iterable[float]) -> dict[str, Any]:
    known = [value for value in values if not np.isnan(value)]
    if not known:
        return {"mean": None, "median": None, "cases": 0}
    return {
        "mean": round(float(np.mean(known)), 5),
        "median": round(float(np.median(known)), 5),
        "cases": len(known),
    }


def _detection(lesions: Sequence[Row]) -> dict[str, Any]:
    found = sum(bool(row["found"]) for row in lesions)
    rate = round(found / len(lesions), 5) if lesions else None
    return {"number": len(lesions), "found": found, "missed": len(lesions) - found, "detection_rate": rate}


def _by_size(lesions: Sequence[Row], edges: Sequence[float]) -> dict[str, list[Row]]:
    names = [
        f"<{edges[0]:g}",
        *(f"{low:g}-{high:g}" for low, high in pairwise(edges)),
        f">={edges[-1]:g}",
    ]
    bins: dict[str, list[Row]] = {name: [] for name in names}
    for row in lesions:
        bins[names[int(np.searchsorted(edges, row["ml"], side="right"))]].append(row)
    return bins
