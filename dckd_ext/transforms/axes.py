"""Axes of a volume in another order, with its affine."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform

__all__ = ["PermuteAxesd"]


class PermuteAxesd(MapTransform, InvertibleTransform):
    """Put the spatial axes of volumes in another order; the affine follows, and `Invertd` undoes it.

    MONAI's ``Transposed`` leaves the affine as it is. With ``[2, 1, 0]`` a file as nibabel stores it gets the
    order in which SimpleITK gives arrays (z, y, x), whatever its orientation.

    Args:
        keys: keys of ``MetaTensor`` volumes, ``CHWD``.
        axes: the axis of the input, 0 to 2, that each axis of the output is.
        allow_missing_keys: do not raise for a key that is missing.

    Raises:
        ValueError: when ``axes`` are not 0, 1 and 2 in some order.
    """

    def __init__(self, keys: KeysCollection, axes: Sequence[int], allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        if sorted(axes) != [0, 1, 2]:
            raise ValueError(f"axes must be 0, 1 and 2 in some order, found {list(axes)}")
        self.axes = tuple(axes)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Permute every key."""
        data = dict(data)
        for key in self.key_iterator(data):
            before = tuple(data[key].shape[1:])
            out = _permuted(data[key], self.axes)
            data[key] = self.push_transform(out, orig_size=before, extra_info={"axes": self.axes})
        return data

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Put the axes of every key back."""
        data = dict(data)
        for key in self.key_iterator(data):
            self.pop_transform(data[key])
            data[key] = _permuted(data[key], [self.axes.index(axis) for axis in range(3)])
        return data


def _permuted(volume: MetaTensor, axes: Sequence[int]) -> MetaTensor:
    out = MetaTensor(volume.as_tensor().permute(0, *(axis + 1 for axis in axes)).contiguous())
    out.copy_meta_from(volume)
    out.affine = torch.as_tensor(volume.affine)[:, [*axes, 3]]
    return out
