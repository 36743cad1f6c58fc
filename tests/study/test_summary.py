"""Tables against numbers worked out by hand, and intervals against plain loops."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest

from dckd_ext.report.bootstrap import bootstrap_mean, bootstrap_seeds_and_cases
from dckd_ext.study import write_summary
from dckd_ext.study.runner import COLUMNS
from dckd_ext.utils.tables import read_table

CASES = ["x", "y", "z"]


def write_runs(out: Path, dice: dict[str, list[list[float]]], fold: int = 0) -> None:
    """Dice by arm, seed and case, as a study leaves them; a second call adds a fold."""
    (out / "scores").mkdir(parents=True, exist_ok=True)
    lines = read_table(out / "runs.csv")
    for arm, seeds in dice.items():
        for seed, row in enumerate(seeds):
            name = f"unet-{arm}-fold{fold}-seed{seed}"
            with open(out / "scores" / f"{name}.csv", "w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["case", "dice_left", "hd95_left", "dice_mean", "hd95_mean", "seconds"])
                writer.writerows(
                    [case, value, 10 * value, value, 10 * value, 1]
                    for case, value in zip(CASES, row, strict=True)
                )
            line = dict.fromkeys(COLUMNS, 1) | {"run": name, "student": "unet", "arm": arm, "device": "cpu"}
            lines.append(line | {"seed": seed, "fold": fold, "scores": f"scores/{name}.csv"})
    with open(out / "runs.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(lines)


def rows(text: str) -> dict[str, list[str]]:
    """Cells by first cell."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {line[0]: line[1:] for line in lines}


def test_means_and_paired_differences(tmp_path: Path):
    write_runs(
        tmp_path, {"plain": [[0.1, 0.2, 0.3], [0.3, 0.4, 0.5]], "kd": [[0.2, 0.3, 0.4], [0.2, 0.3, 0.4]]}
    )
    table = rows(write_summary(tmp_path, "A study", ["plain"]).read_text())
    assert table["plain"][0] == "1"  # the last table is that of cost
    text = (tmp_path / "study.md").read_text()
    assert "| plain | 2 | 0.3000 [" in text
    assert "| kd | 2 | 0.3000 [0.2000, 0.4000]" in text  # one seed like the other: an interval over cases
    assert "| plain | 0.2000 | 0.4000 |" in text  # of each seed
    # in one seed each case is 0.1 better, in the other 0.1 worse
    assert table["kd - plain"][0] == "+0.0000 [-0.1000, +0.1000]"
    assert table["kd - plain"][1] == "+0.00 [-1.00, +1.00]"
    assert table["kd - plain"][2] == "1 of 2"
    assert "plain - plain" not in table


def test_differences_are_taken_on_common_seeds_and_cases(tmp_path: Path):
    write_runs(tmp_path, {"plain": [[0.1, 0.2, 0.3]], "kd": [[0.2, 0.3, 0.4], [0.9, 0.9, 0.9]]})
    assert rows(write_summary(tmp_path, "A study", ["plain"]).read_text())["kd - plain"][:1] == [
        "+0.1000 [+0.1000, +0.1000]"
    ]
    file = tmp_path / "scores" / "unet-kd-fold0-seed0.csv"
    file.write_text(file.read_text().replace("x,", "other,"))
    with pytest.raises(ValueError, match="kd and plain were not scored on the same cases"):
        write_summary(tmp_path, "A study", ["plain"])


def test_of_several_folds_each_has_its_mean(tmp_path: Path):
    arms = {"plain": [[0.1, 0.2, 0.3], [0.3, 0.4, 0.5]], "kd": [[0.3, 0.3, 0.3], [0.3, 0.3, 0.3]]}
    write_runs(tmp_path, arms)
    assert "of each fold" not in write_summary(tmp_path, "A study").read_text()
    write_runs(tmp_path, {arm: [[0.9] * 3, [0.7] * 3] for arm in arms}, fold=3)
    text = write_summary(tmp_path, "A study", ["plain"]).read_text()
    assert "6 cases" in text
    assert "| plain | 2 | 0.5500 [" in text
    of_folds = rows(text.split("Mean Dice of each fold, unet:")[1].split("Cost")[0])
    assert of_folds == {
        "arm": ["0", "3"],
        "---": ["---", "---"],
        "plain": ["0.3000", "0.8000"],
        "kd": ["0.3000", "0.8000"],
    }


def test_of_a_folder_that_two_studies_share_only_the_named_runs_are_shown(tmp_path: Path):
    seeds = [[0.1, 0.2, 0.3], [0.3, 0.4, 0.5]]
    write_runs(tmp_path, {"plain": seeds, "kd": seeds})
    text = write_summary(
        tmp_path, "A study", runs={"unet-plain-fold0-seed1", "unet-other-fold0-seed1"}
    ).read_text()
    assert "| plain | 1 | 0.4000 [" in text
    assert "kd" not in text
    with pytest.raises(FileNotFoundError, match="no finished run"):
        write_summary(tmp_path, "A study", runs={"unet-other-fold0-seed1"})


def test_without_runs(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="has no finished run"):
        write_summary(tmp_path, "A study")


def test_interval_over_seeds_and_cases_is_that_of_all_draws():
    values = np.random.default_rng(1).normal(size=(3, 4))
    every = [
        values[np.ix_(seeds, cases)].mean()
        for seeds in itertools.product(range(3), repeat=3)
        for cases in itertools.product(range(4), repeat=4)
    ]
    found = bootstrap_seeds_and_cases(values, resamples=40_000)
    assert found.mean == pytest.approx(values.mean())
    assert found[1:] == pytest.approx(np.quantile(every, [0.025, 0.975]), abs=0.02)


def test_interval_of_equal_seeds_is_the_one_over_cases():
    row = np.random.default_rng(0).normal(size=30)
    over_cases = bootstrap_mean(row, resamples=40_000)
    assert bootstrap_seeds_and_cases(np.stack([row] * 3), resamples=40_000) == pytest.approx(
        over_cases, abs=0.01
    )


@pytest.mark.parametrize("values", [np.ones(3), np.ones((2, 0)), np.ones((1, 2, 3))])
def test_interval_needs_a_table(values: np.ndarray):
    with pytest.raises(ValueError, match="expected a table of seeds x cases"):
        bootstrap_seeds_and_cases(values)
