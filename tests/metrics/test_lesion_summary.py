import numpy as np
import pytest

from dckd_ext.metrics.lesion_summary import summarise

NAN = float("nan")


def row(dice, hd95, recall, precision, predicted, lesions, found, false_positives):
    return {
        "dice": dice,
        "hd95": hd95,
        "recall": recall,
        "precision": precision,
        "predicted_ml": predicted,
        "lesions": lesions,
        "found": found,
        "false_positives": false_positives,
    }


VOLUMES = [
    row(0.8, 2.0, 0.7, 0.9, 1.0, 2, 2, 0),
    row(0.6, 4.0, 0.5, 0.8, 1.0, 2, 1, 3),
    row(0.0, 90.0, 0.0, NAN, 0.0, 1, 0, 0),  # missed, nothing predicted
    row(0.0, 90.0, NAN, 0.0, 0.2, 0, 0, 1),  # no lesion, one false positive
    row(1.0, 0.0, NAN, NAN, 0.0, 0, 0, 0),  # no lesion, nothing predicted
]
LESIONS = [
    {"ml": ml, "found": found}
    for ml, found in [(0.1, False), (0.49, True), (0.5, True), (1.99, False), (2.0, True)]
]


def test_by_hand():
    summary = summarise(VOLUMES, LESIONS)
    assert summary["cases"] == 5
    assert summary["cases_without_lesion"] == 2
    assert summary["cases_with_empty_prediction"] == 2
    assert summary["cases_with_a_lesion_found"] == 2
    assert summary["dice"] == {"mean": 0.48, "median": 0.6, "cases": 5}
    assert summary["dice_when_found"] == {"mean": 0.7, "median": 0.7, "cases": 2}
    assert summary["hd95_mm_when_found"] == {"mean": 3.0, "median": 3.0, "cases": 2}
    assert summary["recall"] == {"mean": 0.4, "median": 0.5, "cases": 3}
    assert summary["precision"] == {"mean": pytest.approx(1.7 / 3, abs=1e-5), "median": 0.8, "cases": 3}
    assert summary["false_positives"] == 4
    assert summary["false_positives_per_volume"] == 0.8
    lesions = summary["lesions"]
    assert (lesions["number"], lesions["found"], lesions["missed"], lesions["detection_rate"]) == (
        5,
        3,
        2,
        0.6,
    )
    assert {name: (one["found"], one["number"]) for name, one in lesions["by_ml"].items()} == {
        "<0.5": (1, 2),
        "0.5-2": (1, 2),
        ">=2": (1, 1),
    }


@pytest.mark.parametrize("edges", [[1.0], [0.1, 0.2, 0.4, 8]])
def test_every_lesion_is_in_one_size_bin(edges):
    bins = summarise(VOLUMES, LESIONS, edges)["lesions"]["by_ml"]
    assert len(bins) == len(edges) + 1
    counts, _ = np.histogram([one["ml"] for one in LESIONS], [-np.inf, *edges, np.inf])
    assert [one["number"] for one in bins.values()] == counts.tolist()


def test_nothing_found():
    summary = summarise(VOLUMES[2:], LESIONS[:1])
    assert summary["dice_when_found"] == {"mean": None, "median": None, "cases": 0}
    assert summary["lesions"]["by_ml"][">=2"]["detection_rate"] is None
    assert summary["lesions"]["detection_rate"] == 0
