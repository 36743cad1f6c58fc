"""Texts of errors: what went wrong in the first place, and the first of many names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

__all__ = ["first_line", "listed", "named_errors", "root_cause"]


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return the first names with commas between, and how many more there are.

    Examples:
        >>> listed(["a", "b", "c"], most=2)
        'a, b and 1 more'
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def root_cause(error: BaseException) -> BaseException:
    """Return the first error of a chain: MONAI wraps what happens in a config or a transform, often twice.

    Examples:
        >>> outer = RuntimeError("in a config")
        >>> outer.__cause__ = ValueError("no such key")
        >>> root_cause(outer)
        ValueError('no such key')
    """
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def first_line(error: BaseException) -> str:
    """Say in one line what the root cause of an error is: its type and the first line of its text.

    Examples:
        >>> first_line(KeyError("spacing"))
        "KeyError: 'spacing'"
    """
    cause = root_cause(error)
    return f"{type(cause).__name__}: {(str(cause).strip().splitlines() or [''])[0]}"


@contextmanager
def named_errors(name: str, path: str | os.PathLike[str]) -> Iterator[None]:
    """Name the file in whatever reading it raises.

    Raises:
        FileNotFoundError: when the file does not exist.
        ValueError: for any other error.
    """
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"{name}: there is no file {path}") from None
    except ValueError as error:
        raise ValueError(f"{name} {path}: {error}") from None  # summaries show the first error of a chain
