"""Command lines that others read for us: what was typed, and errors that end with what went wrong."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from fire.parser import DefaultParseValue

__all__ = ["changed_by_fire", "say_cause_last", "the_cause"]

_PACKAGE = str(Path(__file__).resolve().parents[1])


def changed_by_fire(name: str, value: Any) -> str | None:
    """Return what was typed for an option, if Fire made another value of it: 7 of `007`, `a` of `a#b`.

    Args:
        name: of the option, as in `--name`.
        value: of the option; None is returned where it does not come from the command line.
    """
    typed = None
    words = sys.argv[1:]
    for number, word in enumerate(words):
        key, equals, rest = word.lstrip("-").partition("=")
        if word.startswith("-") and key.replace("-", "_") == name:
            typed = rest if equals else next(iter(words[number + 1 :]), None)
    if typed is None or DefaultParseValue(typed) != value or typed.strip("'\"") == value:
        return None
    return typed


def say_cause_last() -> None:
    """Let `python -m monai.bundle` end with one line that says what went wrong.

    MONAI wraps errors in its own, and the last line would be about how to debug a config. What this package
    refuses is said in that line alone, without a traceback, unless DCKD_TRACEBACK is set.
    """
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None and spec.name == "monai.bundle.__main__":
        sys.excepthook = _say


def _say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    cause = the_cause(error)
    ours = isinstance(cause, ValueError | OSError | RuntimeError) and _is_ours(cause)
    if not ours or os.environ.get("DCKD_TRACEBACK"):
        traceback.print_exception(kind, error, trace)
    if isinstance(error, Exception):
        print(f"error: {cause if ours else f'{type(cause).__name__}: {cause}'}", file=sys.stderr)


def the_cause(error: BaseException) -> BaseException:
    """Return the error of a chain that says most: the outermost of this package, else the first of all."""
    chain = list(_chain(error))
    return next((one for one in chain if _is_ours(one)), chain[-1])


def _chain(error: BaseException) -> Iterator[BaseException]:
    yield error
    if error.__cause__ is not None:
        yield from _chain(error.__cause__)


def _is_ours(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename.startswith(_PACKAGE)
