"""What the configs of others need, to be read on this machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from monai.bundle import ConfigParser

__all__ = ["on_this_device", "override"]

_CUDA = re.compile(r"""(['"])cuda(:\d+)?\1""")


def on_this_device(config: Any) -> Any:
    """Return a config whose expressions name the CPU in the place of CUDA, where there is none.

    Some write ``$torch.load(file, map_location=torch.device('cuda'))``. Expressions that ask themselves
    (``is_available``) stay as they are.
    """
    if torch.cuda.is_available():
        return config
    if isinstance(config, dict):
        return {key: on_this_device(value) for key, value in config.items()}
    if isinstance(config, list):
        return [on_this_device(value) for value in config]
    if isinstance(config, str) and config.startswith("$") and "is_available" not in config:
        return _CUDA.sub("'cpu'", config)
    return config


def override(parser: ConfigParser, overrides: Mapping[str, Any] | None) -> None:
    """Change keys of a config.

    Args:
        parser: of the config.
        overrides: by key, nested as ``{a: {b: 1}}`` or written as ``{a#b: 1}``. A key that the config does
            not have is an argument of its ``network_def``. None takes an argument out.

    Raises:
        ValueError: for a key that is neither in the config nor can be an argument of its network.
    """
    for key, value in (overrides or {}).items():
        _override(parser, str(key).replace("::", "#"), value)


def _override(parser: ConfigParser, key: str, value: Any) -> None:
    first = key.partition("#")[0]
    if first not in parser:
        if not isinstance(parser.get("network_def"), dict):
            raise ValueError(f"teacher_config: the config has no key {first!r}, only {sorted(parser.get())}")
        key = f"network_def#{key}"
    if isinstance(value, Mapping) and "_target_" not in value and isinstance(parser.get(key), dict):
        for inner, content in value.items():
            _override(parser, f"{key}#{inner}", content)
        return
    place, _, name = key.rpartition("#")
    parent = parser.get(place) if place else parser.get()
    if value is None and isinstance(parent, dict) and "_target_" in parent:
        parent.pop(name, None)
        parser.ref_resolver.reset()
    else:
        parser.set(value, key)
