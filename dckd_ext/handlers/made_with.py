"""What decides over the result of a training, as names with plain values that two runs can compare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from dckd_ext.utils.errors import listed

__all__ = ["case_list_of", "describe", "differences"]

_PLAIN = (int, float, str, bool, type(None))
_NOT_PLAIN = object()
_TYPE = "type of "


def describe(value: Any, name: str) -> dict[str, Any]:
    """Describe a value by names and plain values, those of its parts after a dot.

    Of a module these are its type, its plain public attributes and its submodules; of an optimizer its type
    and defaults. What is neither plain nor made of such things is left out.

    Examples:
        >>> describe({"fold": 0, "spacing": (1.0, 1.0)}, "options")
        {'options.fold': 0, 'options.spacing': [1.0, 1.0]}
        >>> describe(nn.Dropout(0.5), "network")
        {'type of network': 'Dropout', 'network.p': 0.5, 'network.inplace': False}
    """
    return dict(_described(value, name, set()))


def _described(value: Any, name: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    plain = _plain(value)
    if plain is not _NOT_PLAIN:
        yield name, plain
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    parts: Mapping[str, Any] = {}
    if isinstance(value, nn.Module):
        yield _TYPE + name, type(value).__name__
        own = {key: part for key, part in vars(value).items() if key[0] != "_" and key != "training"}
        parts = {**own, **dict(value.named_children())}
    elif isinstance(value, Optimizer):
        yield _TYPE + name, type(value).__name__
        parts = value.defaults
    elif isinstance(value, Mapping):
        parts = value
    elif is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: getattr(value, field.name) for field in fields(value)}
    for key, part in parts.items():
        yield from _described(part, f"{name}.{key}", seen)


def _plain(value: Any) -> Any:
    """Return what `torch.load(weights_only=True)` reads back as it was, or `_NOT_PLAIN`."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, torch.dtype | torch.device):
        return str(value)
    if isinstance(value, list | tuple):
        parts = [_plain(part) for part in value]
        return _NOT_PLAIN if _NOT_PLAIN in parts else parts
    return _NOT_PLAIN


def case_list_of(loader: Any) -> list[str]:
    """Return the names of the cases that a data loader gives, in order; none where its data have no names."""
    data = getattr(getattr(loader, "dataset", None), "data", None)
    if not isinstance(data, Sequence):
        return []
    return [str(item["case"]) for item in data if isinstance(item, Mapping) and "case" in item]


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say in which names two descriptions differ, with both values.

    A plain value that one of them lacks does not count: another version of a library may know it alone.

    Examples:
        >>> differences({"fold": 0, "cases": ["a", "b"]}, {"fold": 1, "cases": ["a", "c"]})
        ['fold: made with 0, now 1', 'cases: made with b, now c']
    """
    return [
        _difference(name, before.get(name), now.get(name))
        for name in [*now, *(name for name in before if name not in now)]
        if before.get(name) != now.get(name) and (name.startswith(_TYPE) or (name in before and name in now))
    ]


def _difference(name: str, before: Any, now: Any) -> str:
    if isinstance(before, list) and isinstance(now, list) and all(isinstance(x, str) for x in before + now):
        gone = [item for item in before if item not in now]
        new = [item for item in now if item not in before]
        if not gone and not new:
            return f"{name}: in another order"
        return f"{name}: made with {listed(gone) or 'fewer'}, now {listed(new) or 'without them'}"
    shown = ["nothing" if value is None else repr(value) for value in (before, now)]
    return f"{name}: made with {shown[0]}, now {shown[1]}"
