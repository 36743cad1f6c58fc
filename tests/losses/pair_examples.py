"""Random pairs for the tests of the losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812

from dckd_ext.losses import Pairs
from dckd_ext.losses.bank import References


def random_pairs(
    seed: int = 0,
    anchors: int = 12,
    references: int = 20,
    num_classes: int = 2,
    num_cases: int = 3,
    channels: int = 5,
    anchor_classes: list[int] | None = None,
    reference_classes: list[int] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Pairs:
    generator = torch.Generator().manual_seed(seed)

    def vectors(rows: int) -> torch.Tensor:
        return F.normalize(torch.randn(rows, channels, generator=generator).to(dtype).float(), dim=1)

    def integers(rows: int, high: int) -> torch.Tensor:
        return torch.randint(high, (rows,), generator=generator)

    def classes(rows: int, among: list[int] | None) -> torch.Tensor:
        among = list(range(num_classes)) if among is None else among
        return torch.tensor(among)[integers(rows, len(among))] if among else torch.zeros(0).long()

    if reference_classes == []:
        references = 0
    return Pairs(
        anchors=vectors(anchors).requires_grad_(),
        anchor_classes=classes(anchors, anchor_classes),
        anchor_cases=integers(anchors, num_cases),
        own=vectors(anchors),
        own_valid=integers(anchors, 4) > 0,
        references=References(
            vectors(references),
            classes(references, reference_classes),
            integers(references, num_cases),
            integers(references, 3) > 0,
            integers(references, 5) == 0,
        ),
    )


def for_many_examples(test: Callable[..., None]) -> Callable[..., None]:
    """Runs a test with many ``pairs``, from two to four classes and one to three cases."""
    pairs = st.builds(
        random_pairs, seed=st.integers(0, 999), num_classes=st.integers(2, 4), num_cases=st.integers(1, 3)
    )
    return settings(max_examples=25, deadline=None)(given(pairs=pairs)(test))


def assert_finite_gradient_in_any_order(loss: torch.nn.Module, pairs: Pairs) -> None:
    """The loss must have a finite gradient, and must not depend on the order of anchors and references."""
    value = loss(pairs)
    value.backward()
    assert pairs.anchors.grad is not None
    assert pairs.anchors.grad.isfinite().all()
    assert loss(permuted(pairs, seed=0)).item() == pytest.approx(value.item(), abs=1e-6)


def assert_attached_zero(loss: torch.nn.Module, pairs: Pairs) -> None:
    """The loss must be zero and yet send a gradient, of zeros, to the anchors."""
    value = loss(pairs)
    value.backward()
    assert value.item() == 0
    assert pairs.anchors.grad is not None
    assert not pairs.anchors.grad.any()


def dot(a: torch.Tensor, b: torch.Tensor) -> float:
    return sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))


def permuted(pairs: Pairs, seed: int) -> Pairs:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randperm(len(pairs.anchors), generator=generator)
    q = torch.randperm(len(pairs.references.classes), generator=generator)
    return Pairs(
        pairs.anchors[a],
        pairs.anchor_classes[a],
        pairs.anchor_cases[a],
        pairs.own[a],
        pairs.own_valid[a],
        pairs.references.select(q),
    )


def saved_bytes(loss: Callable[[Any], torch.Tensor], given: Any) -> int:
    """Memory that a loss keeps for its backward pass."""
    storages = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        value = loss(given)
    assert value.requires_grad
    return sum(storages.values())
