"""The few cases that a small-data study trains on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dckd_ext.data.splits import read_split
from dckd_ext.utils.files import written_whole

__all__ = ["write_small_split"]


def write_small_split(
    source: str | Path, target: str | Path, fold: int, cases: int, seed: int, held_out: Sequence[int] = ()
) -> None:
    """Write a split file whose fold 0 is ``fold`` of another split and whose fold 1 is a draw of the rest.

    Args:
        source: split file with the key ``folds``.
        target: split file to write.
        fold: of the source, kept whole for validation.
        cases: number of training cases to draw.
        seed: of the draw.
        held_out: folds of the source that take no part.

    Raises:
        ValueError: when the source is no split file, or has no such fold or fewer cases in its other folds.
    """
    folds = read_split(source)["folds"]
    apart = sorted({fold, *held_out})
    if strange := [number for number in apart if number not in range(len(folds))]:
        raise ValueError(f"{source} has the folds 0 to {len(folds) - 1}, found {strange[0]}")
    others = sorted(name for number, names in enumerate(folds) if number not in apart for name in names)
    if cases > len(others):
        raise ValueError(
            f"{source} has {len(others)} cases outside the folds {apart}, found train_cases {cases}"
        )
    drawn = np.random.default_rng([seed, fold]).choice(others, cases, replace=False)
    split = {
        "comment": f"fold 0: fold {fold} of the whole split; fold 1: {cases} others, drawn with seed {seed}",
        "folds": [folds[fold], sorted(map(str, drawn))],
        "test": [],
    }
    with written_whole(target) as beside:
        beside.write_text(json.dumps(split, indent=4), encoding="utf-8")
