"""Labels of exclusive values as regions that may overlap."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from torch import Tensor

__all__ = ["LabelToRegionsd", "to_regions"]


def to_regions(label: Tensor, regions: Sequence[Sequence[int]], dim: int = 1) -> Tensor:
    """Tell for every region which voxels it holds, bool.

    Args:
        label: whole numbers, one channel along ``dim``.
        regions: the label's values of every region, in the order of the channels to give.
        dim: of the channels.

    Examples:
        >>> to_regions(torch.tensor([[0, 1, 2]]), [[1, 2], [2]], dim=0).int().tolist()
        [[0, 1, 1], [0, 0, 1]]
    """
    held = [torch.isin(label, torch.tensor(values, device=label.device)) for values in regions]
    return torch.cat(held, dim)


class LabelToRegionsd(MapTransform):
    """Turn a label ``1CHW[D]`` of whole numbers into one channel for each region, float32.

    Args:
        keys: of the labels.
        regions: the label's values of every region, in the order of the channels to give.
    """

    def __init__(self, keys: KeysCollection, regions: Sequence[Sequence[int]]):
        super().__init__(keys)
        self.regions = regions

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with regions in the place of labels."""
        found = dict(data)
        for key in self.key_iterator(found):
            found[key] = to_regions(found[key], self.regions, dim=0).float()
        return found
