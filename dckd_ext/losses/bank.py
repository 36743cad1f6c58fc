"""A memory bank of teacher references: ring buffers for each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["ReferenceBank", "References"]


class References(NamedTuple):
    """Teacher vectors that anchors are compared with, one a row.

    Attributes:
        features: unit vectors, float32, ``(Q, C)``, without gradient.
        classes: class of each row, int64, ``(Q,)``.
        case_ids: case that each row comes from, int64, ``(Q,)``.
        interior: whether the row lies more than one voxel from the true boundary, bool, ``(Q,)``.
        region: whether the row is the mean of a region, not a voxel, bool, ``(Q,)``.
    """

    features: Tensor
    classes: Tensor
    case_ids: Tensor
    interior: Tensor
    region: Tensor

    def select(self, rows: Tensor) -> References:
        """Take the rows that a mask or an index names."""
        index = rows.nonzero().squeeze(1) if rows.dtype == torch.bool else rows  # once, not for each column
        return References(*(column[index] for column in self))

    @staticmethod
    def join(*parts: References) -> References:
        """Join the rows of all parts, in order."""
        return References(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


class ReferenceBank(nn.Module):
    """Latest teacher references of each class, voxels and regions in rings of their own.

    A memory bank follows CIRKD (Yang et al., CVPR 2022); the abstract names none. Case ids, the interior
    flag and fill counts are our decisions: positives have to come from another case, and rows that were
    never written must never be drawn. All state is buffers, so a state dict holds the whole bank.

    Args:
        num_classes: classes, the background included.
        channels: channels of the teacher's features; of several taps a list, and each has rings of its own.
        voxel_rows: voxel references kept of each class.
        region_rows: region references kept of each class.

    Raises:
        ValueError: when a size is not positive.
    """

    def __init__(
        self,
        num_classes: int,
        channels: int | Sequence[int],
        voxel_rows: int = 2048,
        region_rows: int = 256,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.channels = channels
        if isinstance(channels, Sequence):
            rows = (voxel_rows, region_rows)
            self.taps = nn.ModuleList(ReferenceBank(num_classes, each, *rows) for each in channels)
            return
        sizes = {
            "num_classes": num_classes,
            "channels": channels,
            "voxel_rows": voxel_rows,
            "region_rows": region_rows,
        }
        if min(sizes.values()) < 1:
            raise ValueError(f"Sizes of a reference bank must be positive, got {sizes}")
        self.voxels = _ClassRings(num_classes, channels, voxel_rows, region=False)
        self.regions = _ClassRings(num_classes, channels, region_rows, region=True)

    def enqueue(self, references: References) -> None:
        """Store references, the oldest of a full ring giving way.

        Args:
            references: rows to store; under DDP those of all ranks in rank order, so that banks stay equal.

        Raises:
            ValueError: when the channels are not the bank's.
        """
        if references.features.shape[1:] != (self.channels,):
            raise ValueError(
                f"Expected references of shape (Q, {self.channels}), got {tuple(references.features.shape)}"
            )
        self.voxels.enqueue(references.select(~references.region))
        self.regions.enqueue(references.select(references.region))

    def references(self) -> References:
        """Copy the filled rows, voxels first."""
        return References.join(self.voxels.filled(), self.regions.filled())


class _ClassRings(nn.Module):
    """One ring buffer for each class, written without a loop over classes."""

    features: Tensor
    case_ids: Tensor
    interior: Tensor
    position: Tensor
    count: Tensor

    def __init__(self, num_classes: int, channels: int, rows: int, region: bool) -> None:
        super().__init__()
        self.region = region
        self.register_buffer("features", torch.zeros(num_classes, rows, channels))
        self.register_buffer("case_ids", torch.zeros(num_classes, rows, dtype=torch.int64))
        self.register_buffer("interior", torch.zeros(num_classes, rows, dtype=torch.bool))
        self.register_buffer("position", torch.zeros(num_classes, dtype=torch.int64))
        self.register_buffer("count", torch.zeros(num_classes, dtype=torch.int64))

    @torch.no_grad()
    def enqueue(self, new: References) -> None:
        num_classes, rows, _ = self.features.shape
        member = new.classes[:, None] == torch.arange(num_classes, device=new.classes.device)
        arrivals = member.sum(0)
        order = member.cumsum(0).gather(1, new.classes[:, None]).squeeze(1) - 1
        slot = (self.position[new.classes] + order) % rows
        # Of more arrivals than rows only the last fit; the rest would write one slot twice.
        last = order >= arrivals[new.classes] - rows
        target = new.classes[last], slot[last]
        self.features[target] = new.features[last].to(self.features.dtype)
        self.case_ids[target] = new.case_ids[last]
        self.interior[target] = new.interior[last]
        self.position.copy_((self.position + arrivals) % rows)
        self.count.copy_((self.count + arrivals).clamp(max=rows))

    def filled(self) -> References:
        num_classes, rows, _ = self.features.shape
        mask = torch.arange(rows, device=self.count.device) < self.count[:, None]
        classes = torch.arange(num_classes, device=mask.device)[:, None].expand(-1, rows)[mask]
        region = torch.full_like(classes, self.region, dtype=torch.bool)
        return References(self.features[mask], classes, self.case_ids[mask], self.interior[mask], region)
