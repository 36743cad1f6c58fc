"""The tables of a report, as rows of text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dckd_ext.report.bootstrap import bootstrap_mean, bootstrap_seeds_and_cases
from dckd_ext.report.runs import Run

__all__ = [
    "Comparison",
    "Table",
    "case_table",
    "cost_table",
    "difference_table",
    "hardware",
    "lesion_table",
    "score_cells",
    "score_table",
    "source_table",
    "volume_table",
]

Table = list[list[str]]
_UNKNOWN = "-"


class Comparison(NamedTuple):
    """A paired difference: `one` minus `other`, case by case."""

    one: Run
    other: Run

    @property
    def name(self) -> str:
        """As shown."""
        return f"{self.one.name} - {self.other.name}"


def score_table(runs: Sequence[Run]) -> Table:
    """Make a table of mean scores with intervals: Dice of each class and their mean, HD95 in mm."""
    columns = _score_columns(runs[0])
    head = ["run", *columns.values()]
    return [head, *([run.name, *score_cells(run.scores, columns)] for run in runs)]


def score_cells(scores: Mapping[str, np.ndarray], columns: Iterable[str], sign: str = "") -> list[str]:
    """Write the mean and the interval of each column, Dice with four digits, mm with two.

    Args:
        scores: by column, shape (cases,), or (seeds, cases) for an interval over both.
        columns: those to write.
        sign: "+" for differences.
    """
    cells = []
    for name in columns:
        bootstrap = bootstrap_mean if scores[name].ndim == 1 else bootstrap_seeds_and_cases
        digits = 4 if name.startswith("dice_") else 2
        mean, low, high = (f"{number:{sign}.{digits}f}" for number in bootstrap(scores[name]))
        cells.append(f"{mean} [{low}, {high}]")
    return cells


def hardware(record: Mapping[str, Any]) -> str:
    """Say what a run was trained on, from the device and the threads of its record."""
    return f"{record['device']}, {record['threads']} threads"


def lesion_table(runs: Sequence[Run]) -> Table:
    """Return what is found: of `dckd_ext.metrics.lesion_summary.summarise`, for runs that have it."""
    head = [
        *("run", "lesions found", "false positives a volume", "Dice, median", "Dice when found"),
        *("recall", "precision", "FROC score"),
    ]
    return [head, *(_lesion_row(run) for run in runs if run.lesions)]


def _lesion_row(run: Run) -> list[str]:
    summary = run.lesions
    lesions, froc = summary["lesions"], summary["froc"]
    numbers = [
        summary["false_positives_per_volume"],
        *(summary["dice"]["median"], summary["dice_when_found"]["mean"]),
        *(summary["recall"]["mean"], summary["precision"]["mean"], froc and froc["score"]),
    ]
    cells = [_UNKNOWN if number is None else f"{number:.3f}" for number in numbers]
    return [run.name, f"{lesions['found']} of {lesions['number']}", *cells]


def difference_table(comparisons: Sequence[Comparison]) -> Table:
    """Make a table of paired differences, with intervals, and in how many cases the mean Dice is higher."""
    columns = _score_columns(comparisons[0].one)
    head = ["paired difference", *columns.values(), "cases with higher Dice"]
    return [head, *(_difference_row(comparison, list(columns)) for comparison in comparisons)]


def case_table(runs: Sequence[Run]) -> Table:
    """Make a table of every case, the lowest mean Dice over the runs first: Dice and HD95 of each run."""
    head = ["case", *(f"{run.name}: {what}" for run in runs for what in ("Dice", "HD95, mm"))]
    order = np.argsort(np.mean([run.scores["dice_mean"] for run in runs], axis=0), kind="stable")
    rows = [
        [
            runs[0].cases[at],
            *(
                f"{run.scores[name][at]:.{digits}f}"
                for run in runs
                for name, digits in (("dice_mean", 4), ("hd95_mean", 2))
            ),
        ]
        for at in order
    ]
    return [head, *rows]


def volume_table(runs: Sequence[Run]) -> Table:
    """Make a table of how segmented volumes agree with true ones, for the runs that have both.

    Bias and limits of agreement, mean plus and minus 1.96 standard deviations of the differences, as of Bland
    and Altman.
    """
    head = ["run", "class", "true, ml", "segmented, ml", "segmented - true, ml", "limits of agreement, ml"]
    return [
        head,
        *(_volume_row(run, name) for run in runs for name in run.classes if f"ml_{name}" in run.scores),
    ]


def _volume_row(run: Run, name: str) -> list[str]:
    found, true = run.scores[f"ml_{name}"], run.scores[f"true_ml_{name}"]
    difference = found - true
    spread = 1.96 * difference.std(ddof=1) if len(difference) > 1 else 0.0
    bias = difference.mean()
    limits = f"{bias - spread:+.2f} to {bias + spread:+.2f}"
    return [run.name, name, f"{true.mean():.2f}", f"{found.mean():.2f}", f"{bias:+.2f}", limits]


def source_table(runs: Sequence[Run]) -> Table:
    """Make a table of what each run's weights are, from the record of their training."""
    head = [
        "run",
        "weights",
        "data",
        "fold held out",
        "training cases",
        "trained on",
        "time",
        "versions",
        "date",
    ]
    return [head, *(_source_row(run) for run in runs)]


def _source_row(run: Run) -> list[str]:
    record = run.record
    options, cases, versions = (record.get(key, {}) for key in ("options", "cases", "versions"))
    training = cases.get("training")
    return [
        run.name,
        f"{record['weights']} {record['sha256'][:12]}" if "sha256" in record else _UNKNOWN,
        str(options.get("dataset_dir", _UNKNOWN)).rpartition("/")[2],
        str(options.get("fold", _UNKNOWN)),
        str(len(training)) if training else _UNKNOWN,
        hardware(record) if record else _UNKNOWN,
        _duration(record["seconds"]) if record.get("seconds") is not None else _UNKNOWN,
        ", ".join(f"{name} {versions[name]}" for name in ("monai", "torch", "dckd-ext") if name in versions)
        or _UNKNOWN,
        str(record.get("date", _UNKNOWN))[:10],
    ]


def cost_table(runs: Sequence[Run]) -> Table:
    """Return what each run costs: size, multiply-adds, time of a volume, training."""
    head = [
        "run",
        "parameters",
        "GMACs a patch",
        "median s a volume",
        "steps",
        "training time",
        "trained on",
    ]
    return [head, *(_cost_row(run) for run in runs)]


def _score_columns(run: Run) -> dict[str, str]:
    if len(run.classes) == 1:
        return {"dice_mean": f"Dice {run.classes[0]}", "hd95_mean": f"HD95 {run.classes[0]}, mm"}
    dice = {f"dice_{name}": f"Dice {name}" for name in run.classes}
    hd95 = {f"hd95_{name}": f"HD95 {name}, mm" for name in run.classes}
    return {**dice, "dice_mean": "Dice mean", **hd95, "hd95_mean": "HD95 mean, mm"}


def _difference_row(comparison: Comparison, columns: Sequence[str]) -> list[str]:
    one, other = comparison.one.scores, comparison.other.scores
    changes = {name: one[name] - other[name] for name in columns}
    better = int((changes["dice_mean"] > 0).sum())
    cells = score_cells(changes, columns, sign="+")
    return [comparison.name, *cells, f"{better} of {len(comparison.one.cases)}"]


def _cost_row(run: Run) -> list[str]:
    record = run.record
    seconds = record.get("seconds")
    return [
        run.name,
        *_network_cells(run.bundle),
        f"{np.median(run.scores['seconds']):.2f}",
        str(record.get("steps", _UNKNOWN)),
        _UNKNOWN if seconds is None else _duration(seconds),
        hardware(record) if record else _UNKNOWN,
    ]


def _network_cells(bundle: str | None) -> list[str]:
    if bundle is None:
        return [_UNKNOWN, _UNKNOWN]
    # here, since torch and monai take seconds to load
    from dckd_ext.bundle import in_channels, load_bundle_config, student_network
    from dckd_ext.networks import count_macs, count_parameters

    network = student_network(bundle)
    size = load_bundle_config(bundle)["_meta_#network_data_format#inputs#image#spatial_shape"]
    parameters = f"{count_parameters(network) / 1e6:.2f} M"
    if not all(isinstance(edge, int) for edge in size):
        return [parameters, _UNKNOWN]
    macs = count_macs(network, size, in_channels(bundle)) / 1e9
    return [parameters, f"{macs:.2f} ({' x '.join(map(str, size))})"]


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
