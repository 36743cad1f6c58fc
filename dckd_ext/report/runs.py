"""What an evaluated run has left in its folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dckd_ext.utils.documents import read_mapping
from dckd_ext.utils.tables import read_table

__all__ = ["Run", "check_same_cases", "read_run"]

_ALWAYS = ("case", "dice_mean", "hd95_mean", "seconds")


@dataclass(frozen=True)
class Run:
    """An evaluated run.

    Args:
        name: as shown.
        file: the CSV that `dckd_ext.handlers.CaseScores` wrote; its folder is the run's.
        cases: names, sorted.
        scores: a number a case for every other column.
        bundle: folder of the bundle whose network it is, or None.
    """

    name: str
    file: Path
    cases: list[str]
    scores: dict[str, np.ndarray]
    bundle: str | None = None

    @property
    def folder(self) -> Path:
        """Where the other files of the run are looked for."""
        return self.file.parent

    @property
    def classes(self) -> list[str]:
        """Names of the scored classes."""
        return _classes(self.scores)

    @cached_property
    def record(self) -> dict[str, Any]:
        """The training's record (of `dckd_ext.handlers.WeightsWriter`), empty without one.

        It is `training.json` of the run's folder, or the record beside the bundle's weights.
        """
        files = [self.folder / "training.json"]
        files += [Path(self.bundle) / "models" / "model.json"] if self.bundle else []
        return next((read_mapping(file) for file in files if file.is_file()), {})

    @cached_property
    def lesions(self) -> dict[str, Any]:
        """The summary of `dckd_ext.handlers.LesionScores` for the same split, empty without one."""
        file = self._beside("summary", ".json")
        return read_mapping(file) if file.is_file() else {}

    @property
    def froc_file(self) -> Path:
        """Where `dckd_ext.handlers.LesionScores` puts the FROC curve."""
        return self._beside("froc", ".csv")

    def _beside(self, name: str, ending: str) -> Path:
        """Of the same split, whose name follows on "scores_"; a file of another name is one by itself."""
        return self.file.with_name(f"{name}_{self.file.stem.removeprefix('scores_')}{ending}")

    def mask(self, case: str) -> Path:
        """Return where inference puts the mask of a case."""
        return self.folder / f"{case}_seg.nii.gz"


def read_run(text: str) -> Run:
    """Read ``NAME=RUN`` or ``NAME=RUN,BUNDLE``; RUN is a folder with one ``scores_*.csv``, or that file.

    Raises:
        ValueError: when the text or the file is not of this form; the error names what is missing.
        FileNotFoundError: when there is no such file.
    """
    name, equals, rest = str(text).partition("=")
    path, _, bundle = rest.partition(",")
    if not (name and equals and path):
        raise ValueError(f"cannot read run {text!r}: expected NAME=RUN or NAME=RUN,BUNDLE")
    file = _score_file(Path(path))
    return Run(name, file, *_read_scores(file), bundle or None)


def check_same_cases(runs: Sequence[Run]) -> None:
    """Check that all runs were scored on the same cases and classes.

    Raises:
        ValueError: with the two files and the first cases or classes that only one of them has.
    """
    first = runs[0]
    for run in runs[1:]:
        for what, ours, theirs in (
            ("cases", first.cases, run.cases),
            ("classes", first.classes, run.classes),
        ):
            if ours != theirs:
                differing = sorted(set(ours) ^ set(theirs))
                raise ValueError(
                    f"{first.file} and {run.file} were not scored on the same {what}: {len(ours)} and "
                    f"{len(theirs)}, only one of them has {differing[:5]}"
                )


def _score_file(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise FileNotFoundError(f"there is no file or folder {path}, expected one of scores")
    found = sorted(path.glob("scores_*.csv"))
    if len(found) != 1:
        raise FileNotFoundError(
            f"{path} holds {len(found)} files scores_*.csv, expected one: run evaluate.yaml with "
            f"--output_dir {path}, or name the CSV file itself"
        )
    return found[0]


def _read_scores(file: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    rows = sorted(read_table(file, _ALWAYS), key=lambda row: row["case"])
    if not rows:
        raise ValueError(f"{file} has no case")
    columns = list(rows[0])
    missing = [name for name in _required(columns) if name not in columns]
    if missing:
        raise ValueError(f"{file}: lacks the columns {missing}, it has {columns}")
    cases = [row["case"] for row in rows]
    if len(set(cases)) < len(cases):
        raise ValueError(f"{file} lists a case twice: {sorted({c for c in cases if cases.count(c) > 1})[:5]}")
    return cases, {name: _numbers(file, rows, name) for name in columns if name != "case"}


def _required(columns: Sequence[str]) -> list[str]:
    return [f"hd95_{name}" for name in _classes(columns)]


def _classes(columns: Iterable[str]) -> list[str]:
    names = [name.removeprefix("dice_") for name in columns if name.startswith("dice_")]
    return [name for name in names if name != "mean"]


def _numbers(file: Path, rows: Sequence[dict[str, str]], name: str) -> np.ndarray:
    try:
        numbers = np.array([float(row[name]) for row in rows])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file}: column {name} holds something else than numbers: {error}") from error
    if not np.isfinite(numbers).all():
        bad = [row["case"] for row, number in zip(rows, numbers, strict=True) if not np.isfinite(number)]
        raise ValueError(f"{file}: column {name} is not finite for {bad[:5]}")
    return numbers
