"""Weights of a network, read with care."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

import torch
import torch.nn as nn

__all__ = ["check_weights", "load_weights"]


def check_weights(file: str | PathLike[str]) -> None:
    """Refuse to start without trained weights, and say how to get them.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(
            f"No weights at {file}: train the bundle first (the commands are in its docs/README.md), fetch "
            "its weights, or name another file"
        )


def load_weights(network: nn.Module, file: str | PathLike[str]) -> None:
    """Load a state dict into a network; every name and shape has to agree.

    Tolerates `{"model": ...}` or `{"state_dict": ...}` around it, the prefix "module." of parallel training,
    and another precision, which becomes the network's.

    Args:
        network: gets the weights.
        file: holds tensors only (`torch.load` with `weights_only=True`).

    Raises:
        ValueError: if the file holds no state dict or that of another network; names the first keys.
    """
    state = _read_state(Path(file))
    own = network.state_dict()
    problems = {
        "missing": [key for key in own if key not in state],
        "unexpected": [key for key in state if key not in own],
        "of another shape": [
            f"{key} {list(state[key].shape)} in place of {list(own[key].shape)}"
            for key in own
            if key in state and state[key].shape != own[key].shape
        ],
    }
    if any(problems.values()):
        listed = "; ".join(f"{len(keys)} {kind}: {_first(keys)}" for kind, keys in problems.items() if keys)
        raise ValueError(f"The weights in {file} are not those of {type(network).__name__}: {listed}")
    network.load_state_dict(state)


def _read_state(file: Path) -> dict[str, torch.Tensor]:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{file} cannot be read as a state dict of tensors: {error}") from error
    for key in ("model", "state_dict"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"{file} should hold a state dict of tensors, it holds {type(state).__name__}")
    if all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return dict(state)


def _first(keys: Sequence[str], count: int = 3) -> str:
    return ", ".join(keys[:count]) + (", ..." if len(keys) > count else "")
