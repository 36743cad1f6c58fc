"""What the weights of a short training must look like."""

from __future__ import annotations

from pathlib import Path

import torch
from monai.utils import set_determinism

from dckd_ext.bundle import student_network
from tests.conftest import bundle


def assert_trained(weights: Path, kind: str, dtype: torch.dtype = torch.float32) -> None:
    """The file holds the network of a bundle and nothing else, a few steps away from its start at seed 0."""
    saved = torch.load(weights, weights_only=True)
    set_determinism(seed=0)
    start = student_network(bundle(kind)).state_dict()
    set_determinism(None)
    assert saved.keys() == start.keys()
    assert {tensor.dtype for tensor in saved.values()} == {dtype}
    assert all(tensor.isfinite().all() for tensor in saved.values())
    moved = {
        name: (saved[name].float() - value.to(dtype).float()).abs().max() for name, value in start.items()
    }
    assert sum(distance > 0 for distance in moved.values()) > 0.9 * len(moved), moved
    assert max(moved.values()) < 0.05, moved  # another start would be farther away
