"""The split file of a data set: which cases are in which fold, and which are kept for the test."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from dckd_ext.utils.documents import read_mapping
from dckd_ext.utils.errors import listed
from dckd_ext.utils.files import written_whole

__all__ = ["draw_split", "read_split", "section_names"]

_FORM = '{"folds": [[name, ...], ...], "test": [name, ...]}'


def read_split(file: str | PathLike[str]) -> dict[str, Any]:
    """Read a split file: `folds`, lists of case names, and `test`, one such list, which may be missing.

    nnU-Net's ``splits_final.json`` is one too: its folds are the cases that each ``val`` names.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is not of this form, or a case has more than one place in it; names the file.
    """
    split = _folds_of_nnunet(file) or read_mapping(file)
    if not isinstance(split.get("folds"), list):
        raise ValueError(f"{file}: expected the form {_FORM}, found the keys {sorted(split)}")
    split = {**split, "test": split.get("test") or []}
    places = {f"fold {number}": names for number, names in enumerate(split["folds"])}
    places["test"] = split["test"]
    for place, names in places.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{file}: expected a list of case names as {place}, found {names!r:.80}")
    _check_once(file, places)
    return split


def _folds_of_nnunet(file: str | PathLike[str]) -> dict[str, Any] | None:
    try:
        content = json.loads(Path(file).read_text(encoding="utf-8"))
    except ValueError:
        return None
    if not (
        isinstance(content, list)
        and content
        and all(isinstance(one, dict) and "val" in one for one in content)
    ):
        return None
    return {"folds": [one["val"] for one in content]}


def _check_once(file: str | PathLike[str], places: Mapping[str, Sequence[str]]) -> None:
    found: dict[str, list[str]] = {}
    for place, names in places.items():
        for name in names:
            found.setdefault(name, []).append(place)
    twice = [f"{name} ({' and '.join(where)})" for name, where in found.items() if len(where) > 1]
    if twice:
        raise ValueError(f"{file}: {listed(twice)} in more than one place, expected every case once")


def draw_split(file: str | PathLike[str], names: Sequence[str], seed: int) -> str:
    """Draw five folds at random and save them; returns what was done, in words.

    Args:
        file: written whole.
        names: of all cases.
        seed: of the draw.
    """
    shuffled = random.Random(seed).sample(names, len(names))
    rule = f"five folds drawn at random with seed {seed}"
    split = {"comment": rule, "folds": [sorted(shuffled[fold::5]) for fold in range(5)], "test": []}
    with written_whole(file) as beside:
        beside.write_text(json.dumps(split, indent=4), encoding="utf-8")
    return rule


def section_names(
    split: Mapping[str, Any], section: str | int, fold: int, held_out: Sequence[int], file: str
) -> list[str]:
    """Return the names of the cases of a section, see `dckd_ext.data.msd_datalist`.

    Raises:
        ValueError: for a fold that the split has not, or an unknown section; names the file.
    """
    folds: list[list[str]] = split["folds"]
    for number in (fold, *held_out):
        _check_fold(number, len(folds), file)
    if section == "training":
        apart = {int(number) for number in (fold, *held_out)}
        return [name for number, names in enumerate(folds) if number not in apart for name in names]
    if section == "validation":
        return folds[int(fold)]
    if section == "test":
        return list(split["test"])
    if section == "all":
        return [name for names in [*folds, split["test"]] for name in names]
    _check_fold(section, len(folds), file)
    return folds[int(section)]


def _check_fold(number: str | int, count: int, file: str) -> None:
    if str(number) not in map(str, range(count)):
        raise ValueError(
            f"unknown fold or section {number!r}: {file} has the folds 0 to {count - 1}, and test and all"
        )
