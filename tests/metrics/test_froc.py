import csv
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dckd_ext.metrics.froc import RATES, draw_froc, froc_curve, read_froc_csv, write_froc_csv

SCORES = st.lists(st.integers(1, 255).map(lambda value: value / 256), max_size=12)


@given(found=SCORES, missed=st.integers(0, 3), false=SCORES, volumes=st.integers(1, 4))
def test_counts_at_every_threshold(found, missed, false, volumes):
    """Each threshold by plain counting, the lowest score included."""
    lesions = found + [0.0] * missed
    curve = froc_curve(lesions, false, volumes)
    if not lesions:
        assert curve is None
        return
    points = zip(curve.thresholds, curve.false_positives, curve.sensitivity, strict=True)
    expected = [
        (
            threshold,
            sum(score >= threshold for score in false) / volumes,
            sum(score >= threshold for score in found) / len(lesions),
        )
        for threshold in [*sorted({*found, *false}), math.inf]
    ]
    np.testing.assert_allclose(list(points), expected)
    assert curve.score == pytest.approx(np.mean([curve.at(rate) for rate in RATES]))
    assert curve.at(1000) == pytest.approx(len(found) / len(lesions))


def test_by_hand():
    """Found at 0.9 before any false positive; a second at 0.3, after two in two volumes; one never."""
    curve = froc_curve([0.9, 0.3, 0.0], [0.8, 0.5], volumes=2)
    assert curve.at(0.125) == pytest.approx(1 / 3)
    assert curve.at(1) == pytest.approx(2 / 3)
    assert curve.at(8) == pytest.approx(2 / 3)


def test_csv(tmp_path: Path):
    write_froc_csv(froc_curve([0.9, 0.25], [0.5], volumes=1), tmp_path / "froc.csv")
    rows = list(csv.DictReader((tmp_path / "froc.csv").open()))
    assert [{name: float(value) for name, value in row.items()} for row in rows] == [
        {"threshold": 0.25, "false_positives_per_volume": 1, "sensitivity": 1},
        {"threshold": 0.5, "false_positives_per_volume": 1, "sensitivity": 0.5},
        {"threshold": 0.9, "false_positives_per_volume": 0, "sensitivity": 0.5},
        {"threshold": math.inf, "false_positives_per_volume": 0, "sensitivity": 0},
    ]


def test_read_back(tmp_path: Path):
    curve = froc_curve([0.9, 0.25, 0.0], [0.5, 0.5, 0.1], volumes=2)
    write_froc_csv(curve, tmp_path / "froc.csv")
    again = read_froc_csv(tmp_path / "froc.csv")
    np.testing.assert_allclose(
        np.stack([again.thresholds, again.false_positives, again.sensitivity]),
        np.stack([curve.thresholds, curve.false_positives, curve.sensitivity]),
        rtol=1e-5,
    )
    assert again.score == pytest.approx(curve.score, rel=1e-5)


def test_a_curve_of_one_point(tmp_path: Path):
    """Nothing predicted at all."""
    write_froc_csv(froc_curve([0.0, 0.0], [], volumes=2), tmp_path / "froc.csv")
    assert read_froc_csv(tmp_path / "froc.csv").score == 0


def test_picture(tmp_path: Path):
    files = {}
    for name, score in (("teacher", 0.9), ("student", 0.3)):
        files[name] = tmp_path / f"{name}.csv"
        write_froc_csv(froc_curve([score, 0.25], [0.5], volumes=1), files[name])
    figure = draw_froc(files)
    (panel,) = figure.axes
    lines = {line.get_label(): line.get_xydata() for line in panel.lines}
    for name, first in (("teacher", 0.5), ("student", 0.0)):
        assert lines[name][0] == pytest.approx([0.125, first])
        assert lines[name][-1] == pytest.approx([8, 1])
    figure.savefig(tmp_path / "froc.png")
    assert draw_froc({}) is None


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="matplotlib"):
        draw_froc({"a": "froc.csv"})
