"""What went wrong in the first place."""

from __future__ import annotations

__all__ = ["first_line", "root_cause"]


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
