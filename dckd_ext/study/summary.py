"""What a study has shown: tables of all arms with paired intervals, and learning curves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dckd_ext.report.curves import read_curves
from dckd_ext.report.render import markdown_table, markdown_text
from dckd_ext.report.runs import read_run
from dckd_ext.report.tables import Table, hardware, score_cells
from dckd_ext.study.runner import TABLE
from dckd_ext.utils.documents import read_mapping
from dckd_ext.utils.files import written_whole
from dckd_ext.utils.tables import read_table, write_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Scores", "read_scores", "write_summary"]

CURVES = "curves.csv"
_CURVE = "val_mean_dice"
Row = Mapping[str, str]


class Scores:
    """Scores of one arm of one student: for each column an array (seeds, cases of all folds, fold by fold).

    Args:
        rows: lines of ``runs.csv`` of the arm.
        out: folder of the study.

    Raises:
        ValueError: when a fold lacks a seed that another has.
    """

    def __init__(self, rows: Sequence[Row], out: Path) -> None:
        self.rows = rows
        self.seeds = sorted({int(row["seed"]) for row in rows})
        folds = sorted({int(row["fold"]) for row in rows})
        runs = {(int(row["seed"]), int(row["fold"])): row for row in rows}
        if missing := [(s, f) for s in self.seeds for f in folds if (s, f) not in runs]:
            raise ValueError(f"{out / TABLE}: {rows[0]['arm']} lacks the runs (seed, fold) {missing}")
        read = {key: read_run(f"run={out / row['scores']}") for key, row in runs.items()}
        first = next(iter(read.values()))
        self.classes = first.classes
        self.folds = [fold for fold in folds for _ in read[self.seeds[0], fold].cases]
        self.cases = [case for fold in folds for case in read[self.seeds[0], fold].cases]
        self.columns = {
            name: np.array([np.concatenate([read[s, f].scores[name] for f in folds]) for s in self.seeds])
            for name in first.scores
        }

    def mean(self, column: str) -> float:
        """Average a column of ``runs.csv`` over the runs that know it."""
        return float(np.nanmean([float(row[column]) for row in self.rows]))


def read_scores(out: Path, runs: Collection[str] | None = None) -> dict[tuple[str, str], Scores]:
    """Read scores by student and arm, in the order of ``runs.csv``; arms are compared on seeds that all have.

    Args:
        out: folder of the study.
        runs: names of those to take; by default all.

    Raises:
        FileNotFoundError: when there is no finished run.
    """
    rows = _rows(out, runs)
    if not rows:
        raise FileNotFoundError(f"{out / TABLE} has no finished run")
    keys = list(dict.fromkeys((row["student"], row["arm"]) for row in rows))
    return {key: Scores([row for row in rows if (row["student"], row["arm"]) == key], out) for key in keys}


def _rows(out: Path, runs: Collection[str] | None) -> list[dict[str, str]]:
    rows = read_table(out / TABLE, ("run", "student", "arm", "seed", "fold", "scores"))
    return [row for row in rows if runs is None or row["run"] in runs]


def write_summary(
    out: str | Path, title: str, baselines: Sequence[str] = (), runs: Collection[str] | None = None
) -> Path:
    """Write ``study.md``, ``curves.csv`` and ``curves.png`` into the folder of a study.

    Args:
        out: folder of the study.
        title: heading.
        baselines: arms that every other is compared with.
        runs: names of those to show, where the folder holds those of another study too; by default all.

    Returns:
        The path of ``study.md``.
    """
    out = Path(out)
    scores = read_scores(out, runs)
    parts = [f"# {markdown_text(title)}", _about(scores)]
    for student in dict.fromkeys(student for student, _ in scores):
        arms = {arm: found for (name, arm), found in scores.items() if name == student}
        shown = markdown_text(student)
        parts += [f"## {shown}", markdown_table(_score_table(arms))]
        parts += [f"Paired differences, {shown}:", markdown_table(_difference_table(arms, baselines))]
        parts += [f"Mean Dice of each seed, {shown}:", markdown_table(_seed_table(arms))]
        if len(set(next(iter(arms.values())).folds)) > 1:
            parts += [f"Mean Dice of each fold, {shown}:", markdown_table(_fold_table(arms))]
        parts += [f"Cost, {shown}:", markdown_table(_cost_table(arms))]
    parts += _about_pools(out)
    curves = _curves(out)
    if curves:
        _write_curves(out, curves, _rows(out, runs))
        parts.append("![Mean Dice on the validation cases during training, mean over seeds](curves.png)")
    with written_whole(out / "study.md") as beside:
        beside.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return out / "study.md"


def _about(scores: Mapping[tuple[str, str], Scores]) -> str:
    first = next(iter(scores.values()))
    return (
        f"{len(first.cases)} cases. In brackets 95 % bootstrap intervals that draw seeds and cases anew. "
        "HD95 is the 95th percentile of the surface distance, in mm: lower is better."
    )


def _about_pools(out: Path) -> list[str]:
    """Size of the pools of patches, and what a run would have spent on the teacher without them."""
    pools = [read_mapping(file) for file in sorted(out.glob("pools/*.json"))]
    if not pools:
        return []
    size, seconds, teacher = (
        sum(pool[key] for pool in pools) for key in ("bytes", "seconds", "teacher_seconds")
    )
    patches = sum(pool["cases"] * pool["draws"] for pool in pools)
    return [
        "All arms of a seed trained on the same pool of patches, with the teacher's answers. "
        f"{len(pools)} pools: {patches} patches, {size / 2**30:.1f} GB, drawn in {seconds:.0f} s, of which "
        f"the teacher took {teacher:.0f} s: {1000 * teacher / patches:.0f} ms a patch, which a distilled run "
        "would else spend at every step on every patch of its batch, on top of the step above."
    ]


def _score_table(arms: Mapping[str, Scores]) -> Table:
    classes = next(iter(arms.values())).classes
    columns = ["dice_mean", *(f"dice_{name}" for name in classes if len(classes) > 1), "hd95_mean"]
    head = ["arm", "seeds", "Dice mean", *(f"Dice {name}" for name in classes if len(classes) > 1)]
    rows = []
    for arm, found in arms.items():
        rows.append([arm, str(len(found.seeds)), *score_cells(found.columns, columns)])
    return [[*head, "HD95 mean, mm"], *rows]


def _difference_table(arms: Mapping[str, Scores], baselines: Sequence[str]) -> Table:
    head = ["difference", "Dice mean", "HD95 mean, mm", "seeds with higher Dice"]
    pairs = [(arm, base) for base in baselines if base in arms for arm in arms if arm != base]
    return [head, *(_difference_row(arm, base, arms) for arm, base in pairs)]


def _difference_row(arm: str, base: str, arms: Mapping[str, Scores]) -> list[str]:
    one, other = arms[arm], arms[base]
    if one.cases != other.cases:
        raise ValueError(f"{arm} and {base} were not scored on the same cases")
    seeds = [seed for seed in one.seeds if seed in other.seeds]
    changes = {
        column: one.columns[column][[one.seeds.index(seed) for seed in seeds]]
        - other.columns[column][[other.seeds.index(seed) for seed in seeds]]
        for column in ("dice_mean", "hd95_mean")
    }
    better = int((changes["dice_mean"].mean(1) > 0).sum())
    return [f"{arm} - {base}", *score_cells(changes, changes, "+"), f"{better} of {len(seeds)}"]


def _seed_table(arms: Mapping[str, Scores]) -> Table:
    seeds = sorted({seed for found in arms.values() for seed in found.seeds})
    rows = []
    for arm, found in arms.items():
        means = dict(zip(found.seeds, found.columns["dice_mean"].mean(1), strict=True))
        rows.append([arm, *(f"{means[seed]:.4f}" if seed in means else "" for seed in seeds)])
    return [["arm", *map(str, seeds)], *rows]


def _fold_table(arms: Mapping[str, Scores]) -> Table:
    """Means over seeds and the cases of a fold."""
    folds = sorted({fold for found in arms.values() for fold in found.folds})
    rows = []
    for arm, found in arms.items():
        of = np.array(found.folds)
        means = [found.columns["dice_mean"][:, of == fold] for fold in folds]
        rows.append([arm, *(f"{mean.mean():.4f}" if mean.size else "" for mean in means)])
    return [["arm", *map(str, folds)], *rows]


def _cost_table(arms: Mapping[str, Scores]) -> Table:
    head = ["arm", "steps", "ms a step", "loader, ms a step", "peak MB", "training s", "trained on"]
    return [head, *(_cost_row(arm, found) for arm, found in arms.items())]


def _cost_row(arm: str, found: Scores) -> list[str]:
    row = found.rows[0]
    times = [f"{1000 * found.mean(name):.0f}" for name in ("step_seconds", "loader_seconds")]
    rest = [f"{found.mean(name):.0f}" for name in ("peak_mb", "train_seconds")]
    return [arm, row["steps"], *times, *rest, hardware(row)]


def _curves(out: Path) -> list[dict[str, str]]:
    """Read validation scores of all runs: from their logs where those are there, else as saved before."""
    saved = read_table(out / CURVES, ("run", "epoch", "dice"))
    known = {row["run"] for row in _rows(out, None)}
    found = []
    for run in sorted(known):
        epochs, dice = read_curves(out / "work" / run).get(_CURVE, ((), ()))
        fresh = [
            {"run": run, "epoch": str(int(epoch)), "dice": f"{value:.5f}"}
            for epoch, value in zip(epochs, dice, strict=True)
        ]
        found += fresh or [row for row in saved if row["run"] == run]
    return found


def _write_curves(out: Path, curves: Sequence[Mapping[str, str]], shown: Sequence[Row]) -> None:
    write_table(out / CURVES, ("run", "epoch", "dice"), curves)
    with written_whole(out / "curves.png") as beside:
        _draw_curves(shown, curves).savefig(beside, dpi=120)


def _draw_curves(rows: Sequence[Row], curves: Sequence[Mapping[str, str]]) -> Figure:
    """One panel a student, one line an arm: the mean over its runs."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    arms = {row["run"]: row["arm"] for row in rows}
    students = {row["run"]: row["student"] for row in rows}
    shown = list(dict.fromkeys(students.values()))
    figure = Figure(figsize=(6 * len(shown), 4), layout="constrained")
    for number, student in enumerate(shown, start=1):
        panel = figure.add_subplot(1, len(shown), number)
        if len(set(arms.values())) > 10:  # as many colours as there are by default
            panel.set_prop_cycle(color=colormaps["tab20"](range(20)))
        for arm in dict.fromkeys(arms.values()):
            points: dict[int, list[float]] = {}
            for point in curves:
                if (students.get(point["run"]), arms.get(point["run"])) == (student, arm):
                    points.setdefault(int(point["epoch"]), []).append(float(point["dice"]))
            if points:
                epochs = sorted(points)
                panel.plot(epochs, [np.mean(points[epoch]) for epoch in epochs], marker=".", label=arm)
        panel.set(title=student, xlabel="epoch", ylabel="mean Dice, validation")
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))  # beside the lines
    return figure
