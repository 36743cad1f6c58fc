"""Weights of a network, read with care."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn as nn

from dckd_ext.utils.errors import first_line, listed

__all__ = [
    "check_weights",
    "load_plain",
    "load_state",
    "load_weights",
    "not_finite",
    "numpy_in_weights",
    "read_state_dict",
    "tensors_digest",
]


def check_weights(network: nn.Module, file: str | PathLike[str]) -> None:
    """Refuse to start without the trained weights of a network, and say how to get them; nothing is loaded.

    Args:
        network: whose weights they have to be.
        file: as `load_weights` takes it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: as `load_weights`.
    """
    _weights_for(network, Path(file))


def load_weights(network: nn.Module, file: str | PathLike[str]) -> None:
    """Load a state dict into a network; every name and shape has to agree.

    Tolerates `{"model": ...}` or `{"state_dict": ...}` around it, the prefix "module." of parallel training,
    and another precision, which becomes the network's.

    Args:
        network: gets the weights.
        file: holds tensors only; see `read_state_dict`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file holds no state dict, that of another network (names the first keys), or values
            that are NaN or infinite.
    """
    network.load_state_dict(_weights_for(network, Path(file)))


def _weights_for(network: nn.Module, file: Path) -> dict[str, torch.Tensor]:
    if not file.is_file():
        raise FileNotFoundError(
            f"No weights at {file}: train the bundle first (the commands are in its docs/README.md), fetch "
            "its weights, or name another file"
        )
    return _checked(network, _read_wrapped(file), file)


def load_state(network: nn.Module, state: Mapping[str, torch.Tensor], file: Path) -> None:
    """Load a flat state dict that was read from a file; every name and shape has to agree.

    Raises:
        ValueError: as `load_weights`; names the file.
    """
    network.load_state_dict(_checked(network, _plain_tensors(state, file), file))


def _checked(network: nn.Module, state: dict[str, torch.Tensor], file: Path) -> dict[str, torch.Tensor]:
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
        text = "; ".join(f"{len(keys)} {kind}: {listed(keys, 3)}" for kind, keys in problems.items() if keys)
        raise ValueError(f"The weights in {file} are not those of {type(network).__name__}: {text}")
    return state


def read_state_dict(file: Path) -> dict[str, torch.Tensor]:
    """Read a flat state dict without running any code of the file (`torch.load` with `weights_only=True`).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read, or holds anything but tensors by name with finite values.
    """
    return _plain_tensors(load_plain(file), file)


def _read_wrapped(file: Path) -> dict[str, torch.Tensor]:
    state = load_plain(file)
    for key in ("model", "state_dict"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    tensors = _plain_tensors(state, file)
    if all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    return tensors


def load_plain(file: Path) -> Any:
    """Read what `torch.save` wrote, if it is made of tensors and plain values, without running code of it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds something else, or is damaged; names the file.
    """
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # a broken pickle can raise anything
        # without torch's own text, which advises to switch the safety off and run what the file holds
        raise ValueError(f"{file} {_fault(error)}") from None


def _fault(error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError):
        return "holds pickled objects, or is damaged: expected plain tensors by name"
    if "weights_only" in str(error):
        return "is a TorchScript archive, or of an old form: expected plain tensors by name, from torch.save"
    return f"cannot be read as tensors: {first_line(error)}"


def _plain_tensors(state: Any, file: Path) -> dict[str, torch.Tensor]:
    if not isinstance(state, Mapping):
        raise ValueError(f"{file} holds a {type(state).__name__}, expected plain tensors by name")
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise ValueError(
                f"{file} holds a {type(value).__name__} at {key!r}, expected a flat dict of plain tensors"
            )
    if broken := not_finite(state):
        raise ValueError(
            f"{file} holds values that are NaN or infinite in {len(broken)} of {len(state)} tensors, "
            f"expected finite weights: {listed(broken, 3)}"
        )
    return dict(state)


def tensors_digest(tensors: Iterable[torch.Tensor]) -> str:
    """Return a digest of the values of tensors, the same on every device."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def not_finite(state: Mapping[str, torch.Tensor]) -> list[str]:
    """Return the names of the tensors that hold NaN or infinity."""
    return [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]


def numpy_in_weights() -> Any:
    """Let ``torch.load`` read NumPy's arrays beside tensors, as searched networks keep them; no code."""
    kinds = [getattr(np.dtypes, name) for name in np.dtypes.__all__ if name != "ObjectDType"]
    builders: dict[str, Any] = {
        "_reconstruct": np.zeros(1).__reduce__()[0],
        "scalar": np.float64(0).__reduce__()[0],
    }
    homes = ("numpy.core.multiarray", "numpy._core.multiarray")  # of NumPy 1 and 2
    named = [(build, f"{home}.{name}") for name, build in builders.items() for home in homes]
    return torch.serialization.safe_globals([np.ndarray, np.dtype, *kinds, *named])
