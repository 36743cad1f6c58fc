"""Nests of tensors in float32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

__all__ = ["to_float32"]


def to_float32(value: Any) -> Any:
    """Cast every floating point tensor in a nest of tuples, lists and mappings; leave all else as it is."""
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, Mapping):
        return {key: to_float32(part) for key, part in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(to_float32, value))
    if isinstance(value, list | tuple):
        return type(value)(map(to_float32, value))
    return value
