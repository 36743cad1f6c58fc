"""Losses compute in float32, whatever the networks ran in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from dckd_ext.utils.precision import to_float32

__all__ = ["in_float32"]

P = ParamSpec("P")
T = TypeVar("T")


def in_float32(forward: Callable[P, T]) -> Callable[P, T]:
    """Make a loss compute in float32, outside autocast and whatever the dtype of its tensors."""

    @wraps(forward)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        device = next(_tensors([args, kwargs])).device
        with torch.autocast(device.type, enabled=False):
            return forward(*to_float32(args), **to_float32(kwargs))

    return run


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
