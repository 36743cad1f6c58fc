"""Texts of errors: what went wrong in the first place, and the first of many names."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["first_line", "is_refusal", "listed", "named_errors", "root_cause"]

_PACKAGE = str(Path(__file__).resolve().parents[1])


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return the first names with commas between, and how many more there are.

    Examples:
        >>> listed(["a", "b", "c"], most=2)
        'a, b and 1 more'
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def root_cause(error: BaseException) -> BaseException:
    """Return what went wrong in the first place: MONAI wraps what happens in a config or a transform.

    Where this package has refused something, that is its own error, which names the file or option; else it
    is the first of the chain.

    Examples:
        >>> outer = RuntimeError("in a config")
        >>> outer.__cause__ = KeyError("network_def")
        >>> root_cause(outer)
        KeyError('network_def')
    """
    chain = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    return next((one for one in chain if is_refusal(one)), chain[-1])


def is_refusal(error: BaseException) -> bool:
    """Return whether a line of this package has raised an error, and not something that it called."""
    for frame in traceback.extract_tb(error.__traceback__)[-1:]:
        return frame.filename.startswith(_PACKAGE) and str(frame.line).startswith("raise")
    return False


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
