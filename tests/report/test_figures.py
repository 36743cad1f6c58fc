"""Figures and tables of every case, against plain numpy."""

from pathlib import Path

import matplotlib.colors
import numpy as np
import pytest
from matplotlib.figure import Figure

from dckd_ext.report import Comparison, Run
from dckd_ext.report.figures import draw_agreement, draw_comparisons, draw_distribution, outliers
from dckd_ext.report.pictures import PLANES, _orient, _scale_bar
from dckd_ext.report.tables import case_table, source_table, volume_table


@pytest.fixture
def runs() -> list[Run]:
    generator = np.random.default_rng(3)
    found = []
    for name in ("teacher", "student"):
        dice = np.append(generator.uniform(0.85, 0.92, 11), 0.4 if name == "student" else 0.9)
        true = generator.uniform(1, 2, 12)
        scores = {
            **{
                "dice_body": dice,
                "hd95_body": 5 * (1 - dice),
                "dice_mean": dice,
                "hd95_mean": 5 * (1 - dice),
            },
            **{
                "true_ml_body": true,
                "ml_body": true + generator.normal(0.1, 0.2, 12),
                "seconds": np.ones(12),
            },
        }
        found.append(Run(name, Path("none") / "scores_0.csv", [f"case{at:02d}" for at in range(12)], scores))
    return found


def test_outliers_lie_below_the_whiskers(runs: list[Run]):
    assert outliers(runs[1]) == {"case11": 0.4}
    assert outliers(runs[0]) == {}


def test_the_distribution_shows_every_case_and_names_outliers(runs: list[Run]):
    (panel,) = draw_distribution(runs).axes
    points = [line for line in panel.lines if line.get_marker() == "."]
    for line, run in zip(points, runs, strict=True):
        assert np.array_equal(line.get_ydata(), run.scores["dice_mean"])
    assert [text.get_text() for text in panel.texts] == ["case11"]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["teacher", "student"]


def test_agreement_has_bias_and_limits(runs: list[Run]):
    figure = draw_agreement(runs)
    for panel, run in zip(figure.axes, runs, strict=True):
        difference = run.scores["ml_body"] - run.scores["true_ml_body"]
        spread = 1.96 * np.std(difference, ddof=1)
        heights = [line.get_ydata()[0] for line in panel.lines[1:]]
        assert heights == pytest.approx(
            [0, difference.mean(), difference.mean() - spread, difference.mean() + spread]
        )


def test_runs_scored_before_volumes_were_measured_have_no_agreement(runs: list[Run]):
    for run in runs:
        del run.scores["ml_body"]
    assert draw_agreement(runs) is None
    assert len(volume_table(runs)) == 1


def test_a_comparison_has_one_run_over_the_other(runs: list[Run]):
    (panel,) = draw_comparisons([Comparison(runs[1], runs[0])]).axes
    points = panel.lines[1]
    assert np.array_equal(points.get_xdata(), runs[0].scores["dice_mean"])
    assert np.array_equal(points.get_ydata(), runs[1].scores["dice_mean"])
    assert draw_comparisons([]) is None
    assert matplotlib.colors.to_hex(panel.lines[0].get_color()) == "#808080"  # the diagonal


def test_cases_stand_by_their_mean_dice(runs: list[Run]):
    head, first, *_ = case_table(runs)
    assert head == ["case", "teacher: Dice", "teacher: HD95, mm", "student: Dice", "student: HD95, mm"]
    assert first == ["case11", "0.9000", "0.50", "0.4000", "3.00"]
    means = [(float(row[1]) + float(row[3])) / 2 for row in case_table(runs)[1:]]
    assert means == sorted(means)


def test_volumes_are_compared_in_ml(runs: list[Run]):
    scores = runs[0].scores
    bias = np.mean(scores["ml_body"] - scores["true_ml_body"])
    assert volume_table(runs)[1][:5] == [
        *("teacher", "body", f"{np.mean(scores['true_ml_body']):.2f}"),
        *(f"{np.mean(scores['ml_body']):.2f}", f"{bias:+.2f}"),
    ]


def test_where_weights_come_from(runs: list[Run], tmp_path: Path):
    record = """{"weights": "model.pt", "sha256": "0123456789abcdef", "seconds": 90, "device": "cpu",
    "threads": 2,
    "options": {"dataset_dir": "/data/Set", "fold": 1}, "cases": {"training": ["a", "b"]},
    "versions": {"torch": "2.13.0", "python": "3.11"}, "date": "2026-11-28 09:00:00 +0000"}"""
    (tmp_path / "training.json").write_text(record)
    run = Run("student", tmp_path / "scores_0.csv", runs[0].cases, runs[0].scores)
    assert source_table([run, runs[1]])[1:] == [
        [
            "student",
            "model.pt 0123456789ab",
            "Set",
            "1",
            "2",
            "cpu, 2 threads",
            "1.5 min",
            "torch 2.13.0",
            "2026-11-28",
        ],
        ["student", *["-"] * 8],
    ]


@pytest.mark.parametrize(
    ("convention", "left", "mirrored"), [("radiological", "R", True), ("neurological", "L", False)]
)
@pytest.mark.parametrize("plane", PLANES["anatomical"], ids=lambda plane: plane.name)
def test_the_patients_left_is_where_the_convention_has_it(plane, convention: str, left: str, mirrored: bool):
    panel = Figure().subplots()
    panel.imshow(np.zeros((8, 12)), origin=plane.origin)
    _orient(panel, plane, convention, letters=True)
    letters = {
        text.get_position()[0]: text.get_text() for text in panel.texts if text.get_position()[1] == 0.5
    }
    sagittal = plane.name == "sagittal"  # shows no left
    assert letters[0.04] == ("P" if sagittal else left)
    start, end = panel.get_xlim()
    assert (start > end) == (mirrored and not sagittal)


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_bar_is_ten_millimetres(mirrored: bool):
    panel = Figure().subplots()
    panel.imshow(np.zeros((30, 60)))
    if mirrored:
        panel.invert_xaxis()
    limits = panel.get_xlim(), panel.get_ylim()
    _scale_bar(panel, edge=0.5)
    assert abs(np.ptp(panel.lines[0].get_xdata())) == pytest.approx(10 / 0.5)
    assert (panel.get_xlim(), panel.get_ylim()) == limits
    assert (
        min(limits[0]) < min(panel.lines[0].get_xdata()) <= max(panel.lines[0].get_xdata()) < max(limits[0])
    )
