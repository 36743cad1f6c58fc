"""Random pairs for the tests of the losses."""

from __future__ import annotations

import torch
from torch.nn import functional as F  # noqa: N812

from dckd_ext.bank import References
from dckd_ext.losses import Pairs


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


def saved_bytes(loss: torch.nn.Module, pairs: Pairs) -> int:
    storages = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        value = loss(pairs)
    assert value.requires_grad
    return sum(storages.values())
