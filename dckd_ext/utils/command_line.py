"""Command lines that others read for us: what was typed, and errors that end with what went wrong."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from types import TracebackType
from typing import Any

from fire.parser import DefaultParseValue

from dckd_ext.utils.errors import is_refusal, root_cause

__all__ = ["changed_by_fire", "is_run", "say_cause_last", "typed_options"]


def changed_by_fire(name: str, value: Any) -> str | None:
    """Return what was typed for an option, if Fire made another value of it: 7 of `007`, `a` of `a#b`.

    Args:
        name: of the option, as in `--name`.
        value: of the option; None is returned where it does not come from the command line.
    """
    typed = typed_options().get(name)
    if typed is None or DefaultParseValue(typed) != value or typed.strip("'\"") == value:
        return None
    return typed


def say_cause_last() -> None:
    """Let a run that `python -m` has started end with one line that says what went wrong.

    MONAI wraps errors in its own, and the last line would be about how to debug a config. What this package
    refuses is said in that line alone, without a traceback, and so is Ctrl-C, unless DCKD_TRACEBACK is set.
    """
    if is_run("monai.bundle.__main__", "dckd_ext.study.run"):
        sys.excepthook = _say
        logging.getLogger("StatsHandler").addFilter(_without_traceback)  # logs errors before they get here


def is_run(*modules: str) -> bool:
    """Return whether `python -m` has started one of these, named as `monai.bundle.__main__`."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec is not None and spec.name in modules


def typed_options() -> dict[str, str]:
    """Return what follows each option of the command line, by its name; of one typed twice, the last."""
    words = sys.argv[1:]
    typed = {}
    for number, word in enumerate(words):
        name, equals, rest = word.lstrip("-").partition("=")
        if word.startswith("-"):
            following = next(iter(words[number + 1 :]), None)
            if (value := rest if equals else following) is not None:
                typed[name.replace("-", "_")] = value
    return typed


def _without_traceback(record: logging.LogRecord) -> bool:
    if record.exc_info and record.exc_info[1] is not None and not _needs_traceback(record.exc_info[1]):
        record.exc_info = record.exc_text = None
    return True


def _needs_traceback(error: BaseException) -> bool:
    said = isinstance(error, KeyboardInterrupt) or is_refusal(root_cause(error))
    return not said or bool(os.environ.get("DCKD_TRACEBACK"))


def _say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    cause = root_cause(error)
    if _needs_traceback(error):
        traceback.print_exception(kind, error, trace)
    if isinstance(error, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    elif isinstance(error, Exception):
        text = str(cause) if is_refusal(cause) else f"{type(cause).__name__}: {cause}"
        print(f"error: {text}", file=sys.stderr)
