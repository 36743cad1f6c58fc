"""Weights of a bundle: plain tensors, nothing but them, and those of its own network."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from monai.bundle import verify_net_in_out

from dckd_ext.bundle import student_network
from dckd_ext.distribution.metadata import METADATA
from dckd_ext.networks import load_weights, read_state_dict
from dckd_ext.utils.errors import first_line

__all__ = ["network_problems"]

_MODEL = "models/model.pt"


def network_problems(root: Path) -> Iterator[str]:
    """Yield what is wrong with a bundle's weights, its `network_def` and its channels; runs the network."""
    file = root / _MODEL
    config = next(root.glob("configs/inference.*"), None)
    if not file.is_file() or config is None:
        return  # named by the rules for files
    try:
        state = read_state_dict(file)
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
        yield f"{_MODEL}: does not work with 'network_def' and {METADATA}: {first_line(error)}"


def _tensor_problems(state: Mapping[str, torch.Tensor]) -> Iterator[str]:
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
