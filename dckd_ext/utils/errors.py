"""What went wrong in the first place."""

from __future__ import annotations

__all__ = ["root_cause"]


def root_cause(error: BaseException) -> BaseException:
    """Return the first error of a chain: MONAI wraps what happens in a config or a transform, often twice.

    Example:
        >>> outer = RuntimeError("in a config")
        >>> outer.__cause__ = ValueError("no such key")
        >>> root_cause(outer)
        ValueError('no such key')
    """
    while error.__cause__ is not None:
        error = error.__cause__
    return error
