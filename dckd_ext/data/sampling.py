"""Batches of labelled and unlabelled cases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from torch import distributed
from torch.utils.data import RandomSampler

__all__ = ["MixedSampler"]


class MixedSampler(RandomSampler):
    """An order of cases in which every batch has the same share of unlabelled ones.

    Without unlabelled cases it is torch's random order, without labelled ones too. Else an epoch takes each
    labelled case once (some twice, to fill the last batch), and as many unlabelled ones as the share asks
    for, drawn anew in each epoch, none twice before all. Ours.

    On several processes they share one order, that of the first one's random numbers: each has whole batches
    of it, as many as the others, and each batch has its share.

    Args:
        cases: the data list; unlabelled cases have None or no ``label``.
        batch_size: samples of a batch.
        share: unlabelled part of a batch, in (0, 1); rounded to whole samples, at least one of each kind.

    Raises:
        ValueError: when the share is not in (0, 1), or a batch is too small for both kinds.

    Examples:
        >>> cases = [{"label": "a.nii"}, {"label": "b.nii"}, {}, {}, {}]
        >>> order = list(MixedSampler(cases, batch_size=2))
        >>> [index > 1 for index in order]
        [False, True, False, True]
    """

    def __init__(self, cases: Sequence[Mapping[str, Any]], batch_size: int, share: float = 0.5) -> None:
        super().__init__(cases)
        if not 0 < share < 1:
            raise ValueError(f"unlabelled_share must be above 0 and below 1, found {share}")
        self.labelled = [index for index, case in enumerate(cases) if case.get("label")]
        self.unlabelled = [index for index, case in enumerate(cases) if not case.get("label")]
        self.mixes = bool(self.labelled and self.unlabelled)
        if self.mixes and batch_size < 2:
            raise ValueError(
                f"batch_size must be 2 or more for labelled and unlabelled cases, found {batch_size}"
            )
        self.others = min(max(round(batch_size * share), 1), batch_size - 1)  # unlabelled ones of a batch
        self.own = batch_size - self.others
        group = distributed.is_available() and distributed.is_initialized()
        self.rank, self.processes = (
            (distributed.get_rank(), distributed.get_world_size()) if group else (0, 1)
        )

    def __len__(self) -> int:
        """Count the cases of an epoch in this process, whole batches where both kinds are there."""
        if not self.mixes:
            return -(-super().__len__() // self.processes)
        return -(-len(self.labelled) // (self.own * self.processes)) * (self.own + self.others)

    def __iter__(self) -> Iterator[int]:
        """Yield the indices of an epoch in this process."""
        if self.processes == 1 and not self.mixes:
            yield from super().__iter__()
            return
        generator = _shared_generator() if self.processes > 1 else None
        labelled = _endless(self.labelled or self.unlabelled, generator)
        if not self.mixes:
            yield from islice(labelled, self.rank, len(self) * self.processes, self.processes)
            return
        others = _endless(self.unlabelled, generator)
        for batch in range(len(self) // (self.own + self.others) * self.processes):
            drawn = [*islice(labelled, self.own), *islice(others, self.others)]
            if batch % self.processes == self.rank:
                yield from drawn


def _endless(indices: Sequence[int], generator: torch.Generator | None) -> Iterator[int]:
    while True:
        order = torch.randperm(len(indices), generator=generator)
        yield from (indices[position] for position in order.tolist())


def _shared_generator() -> torch.Generator:
    """Seed a generator alike in all processes, from the random numbers of the first."""
    seed = [int(torch.empty((), dtype=torch.int64).random_())]
    distributed.broadcast_object_list(seed)
    return torch.Generator().manual_seed(seed[0])
