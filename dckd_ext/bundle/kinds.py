"""Kinds of options: what a value has to be, in words and as a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from os import PathLike
from typing import Any

import torch

__all__ = [
    "AXES",
    "BELOW_ONE",
    "BETWEEN",
    "CLASS_MAP",
    "COUNT",
    "DEVICE",
    "FLAG",
    "FOLDS",
    "INDEX",
    "MILLIMETRES",
    "PATH",
    "PATHS",
    "PATHS_BY_FOLD",
    "POSITIVE",
    "RATIOS",
    "SECTION",
    "SHARE",
    "VALUES",
    "VOXELS",
    "Kind",
    "one_of",
]


@dataclass(frozen=True)
class Kind:
    """What an option has to be.

    Args:
        expected: in words.
        fits: whether a value is so.
        convert: what becomes of a value first.
        as_typed: refuse a text that the command line has changed, as it makes `a` of `a#b`.
    """

    expected: str
    fits: Callable[[Any], bool]
    convert: Callable[[Any], Any] = lambda value: value
    as_typed: bool = False

    def or_null(self) -> Kind:
        """Return the kind that takes nothing as well."""

        def fits(value: Any) -> bool:
            return value is None or self.fits(value)

        return Kind(f"{self.expected}, or null", fits, self.convert, self.as_typed)


def one_of(*names: str) -> Kind:
    """Return the kind of a choice."""
    return Kind(f"one of {', '.join(names)}", lambda value: isinstance(value, str) and value in names)


def _whole(least: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and value >= least


def _number(value: Any) -> bool:
    return type(value) in (int, float) and isfinite(value)


def _positive(value: Any) -> bool:
    return _number(value) and value > 0


def _three(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list | tuple) and len(value) == 3 and all(map(fits, value))


def _true_or_false(value: Any) -> Any:
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


def _is_path(value: Any) -> bool:
    return isinstance(value, str | PathLike) and str(value) != "" and "::" not in str(value)


def _is_fold(value: Any) -> bool:
    return _whole(0)(value) or (isinstance(value, str) and value.isdecimal())


def _is_device(value: Any) -> bool:
    if not isinstance(value, str | torch.device):
        return False
    try:
        torch.empty(0, device=value)
    except (RuntimeError, AssertionError):  # the second where torch was built without it
        return False
    return True


FLAG = Kind("true or false", lambda value: isinstance(value, bool), _true_or_false)
PATH = Kind("a path without '#', which MONAI turns into '::'", _is_path, as_typed=True)
PATHS = Kind(
    "a path, or a list of them",
    lambda value: (
        PATH.fits(value) or (isinstance(value, list | tuple) and bool(value) and all(map(PATH.fits, value)))
    ),
    as_typed=True,
)
PATHS_BY_FOLD = Kind(
    "a path, a list of them, or one for each fold, such as {0: fold0.pt}",
    lambda value: (
        all(map(_is_fold, value)) and PATHS.fits(list(value.values()))
        if isinstance(value, Mapping)
        else PATHS.fits(value)
    ),
    as_typed=True,
)
BETWEEN = Kind("a number above 0 and below 1", lambda value: _number(value) and 0 < value < 1)
AXES = Kind(
    "a list of axes among 0, 1 and 2, such as [0]",
    lambda value: isinstance(value, list | tuple) and all(_whole(0)(axis) and axis < 3 for axis in value),
)
COUNT = Kind("a whole number above 0", _whole(1))
INDEX = Kind("a whole number from 0 on", _whole(0))
POSITIVE = Kind("a number above 0", _positive)
SHARE = Kind("a number from 0 to 1", lambda value: _number(value) and 0 <= value <= 1)
BELOW_ONE = Kind("a number from 0 to below 1", lambda value: _number(value) and 0 <= value < 1)
VOXELS = Kind("three whole numbers above 0 (voxels)", _three(_whole(1)))
MILLIMETRES = Kind("three numbers above 0 (mm)", _three(_positive))
RATIOS = Kind(
    "three numbers from 0 on, one of them above 0",
    lambda value: _three(lambda part: _number(part) and part >= 0)(value) and any(value),
)
FOLDS = Kind(
    "a list of folds, such as [0]",
    lambda value: isinstance(value, list | tuple) and all(map(_whole(0), value)),
)
SECTION = Kind("a fold or the name of a section", lambda value: isinstance(value, str) or _whole(0)(value))
DEVICE = Kind("a device that is here, such as cpu", _is_device)
CLASS_MAP = Kind(
    "student classes of teacher classes, by number or name, such as {0: 0, 1: 2, 2: 1}",
    lambda value: isinstance(value, Mapping),
)
VALUES = Kind("values by name, such as {whole: [1, 2], core: [2]}", lambda value: isinstance(value, Mapping))
