"""Batches of labelled and unlabelled cases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from torch.utils.data import RandomSampler

__all__ = ["MixedSampler"]


class MixedSampler(RandomSampler):
    """An order of cases in which every batch has the same share of unlabelled ones.

    Without unlabelled cases it is torch's random order, without labelled ones too. Else an epoch takes each
    labelled case once (some twice, to fill the last batch), and as many unlabelled ones as the share asks
    for, drawn anew in each epoch, none twice before all. Ours.

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

    def __len__(self) -> int:
        """Count the cases of an epoch, whole batches where both kinds are there."""
        batches = -(-len(self.labelled) // self.own)
        return batches * (self.own + self.others) if self.mixes else super().__len__()

    def __iter__(self) -> Iterator[int]:
        """Yield the indices of an epoch."""
        if not self.mixes:
            yield from super().__iter__()
            return
        labelled, others = self._endless(self.labelled), self._endless(self.unlabelled)
        for _ in range(len(self) // (self.own + self.others)):
            yield from islice(labelled, self.own)
            yield from islice(others, self.others)

    def _endless(self, indices: Sequence[int]) -> Iterator[int]:
        while True:
            yield from (indices[position] for position in torch.randperm(len(indices)).tolist())
