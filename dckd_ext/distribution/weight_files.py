"""Weights of a bundle: plain tensors, nothing but them, and those of its own network."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from monai.bundle import verify_net_in_out

from dckd_ext.bundle import student_network
from dckd_ext.distribution.metadata import METADATA
from dckd_ext.networks import load_weights
from dckd_ext.utils.errors import root_cause

__all__ = ["network_problems", "read_plain_tensors"]

_MODEL = "models/model.pt"


def read_plain_tensors(file: Path) -> dict[str, torch.Tensor]:
    """Read a flat state dict without running any code of the file (`weights_only`).

    Raises:
        ValueError: if it cannot be read, or holds anything but tensors by name.
    """
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{file} holds pickled objects, expected plain tensors by name") from error
    except Exception as error:  # a broken pickle can raise anything
        raise ValueError(f"{file} cannot be read as tensors: {_first_line(error)}") from error
    if not isinstance(state, Mapping):
        raise ValueError(f"{file} holds a {type(state).__name__}, expected plain tensors by name")
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise ValueError(
                f"{file} holds a {type(value).__name__} at {key!r}, expected a flat dict of plain tensors"
            )
    return dict(state)


def network_problems(root: Path) -> Iterator[str]:
    """Yield what is wrong with a bundle's weights, its `network_def` and its channels; runs the network."""
    file = root / _MODEL
    config = next(root.glob("configs/inference.*"), None)
    if not file.is_file() or config is None:
        return  # named by the rules for files
    try:
        state = read_plain_tensors(file)
    except ValueError as error:
        yield f"{_MODEL}: {error}"
        return
    yield from _tensor_problems(state)
    try:
        network = student_network(root)
        load_weights(network, file)
        with _quiet():
            verify_net_in_out(
                net_id="network_def",
                meta_file=str(root / METADATA),
                config_file=str(config),
                device="cpu",
                any=32,  # voxels, where the metadata says "*"
                network_def=network,
            )
    except Exception as error:  # configs are code
        yield f"{_MODEL}: does not work with 'network_def' and {METADATA}: {_first_line(error)}"


def _tensor_problems(state: Mapping[str, torch.Tensor]) -> Iterator[str]:
    broken = [key for key, tensor in state.items() if not torch.isfinite(tensor).all()]
    if broken:
        yield f"{_MODEL}: has values that are NaN or infinite in {', '.join(broken[:3])}"
    # a view is saved with all of what it is a view of
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in state.values()
    }
    hidden = sum(storages.values()) - sum(tensor.nbytes for tensor in state.values())
    if hidden > 0:
        yield f"{_MODEL}: holds {hidden} bytes that belong to none of its tensors (views of others)"


@contextmanager
def _quiet() -> Iterator[None]:
    logging.disable(logging.INFO)  # MONAI would print the whole network
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _first_line(error: BaseException) -> str:
    error = root_cause(error)
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
