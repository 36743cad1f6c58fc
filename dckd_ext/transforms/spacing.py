"""MONAI's resampling to a spacing: bounded, with one rule for ties, and for cases that carry texts too."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, MutableMapping
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.data.utils import compute_shape_offset, zoom_affine
from monai.transforms import Spacingd
from monai.utils import ImageMetaKey, TraceKeys

from dckd_ext.data.grids import Grid, check_resampling, resample_back, voxel_edges

__all__ = ["SpacingVolumed"]


class SpacingVolumed(Spacingd):
    """MONAI's ``Spacingd``, with three differences.

    - A volume that would become larger than ``max_voxels``, or a single voxel, is refused before memory is
      asked for.
    - The inverse by nearest voxel takes one rule for places halfway between two voxels
      (`dckd_ext.data.grids.nearest`), that of `dckd_ext.export.predict`. In MONAI rounding decides.
    - Cases may have entries such as ``image_path``. For NIfTI files MONAI (1.6.0 and 1.6.1) takes every entry
      whose name starts with ``image_`` for meta data of ``image`` and calls its ``update``. MONAI Label adds
      the text ``image_path`` to each case, and a text has none. Such entries are kept from MONAI, and
      returned as they were.

    Args:
        *args: those of ``Spacingd``.
        max_voxels: the most voxels to make; see `dckd_ext.data.grids.check_resampling`.
        **kwargs: those of ``Spacingd``.

    Raises:
        ValueError: on a call, as `dckd_ext.data.grids.check_resampling`; names the file.

    Examples:
        >>> resample = SpacingVolumed(["image", "label"], [1.0, 1.0, 1.0], mode=["bilinear", "nearest"])
    """

    def __init__(self, *args: Any, max_voxels: int | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.max_voxels = max_voxels

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        """Resample the tensors ``CHW[D]`` under the keys; the other entries stay as they are."""
        for key in self.key_iterator(dict(data)):
            self._check(key, data[key])
        prefixes = tuple(f"{key}_" for key in self.keys)
        shown = {
            key: value
            for key, value in data.items()
            if key in self.keys or isinstance(value, MutableMapping) or not str(key).startswith(prefixes)
        }
        return {**data, **super().__call__(shown, lazy)}

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Bring the tensors under the keys back to the grid that they came from."""
        data = dict(data)
        for key in self.key_iterator(data):
            resample = self.spacing_transform.sp_resample
            step = resample.get_most_recent_transform(data[key])
            by_nearest = step[TraceKeys.EXTRA_INFO]["mode"] == "nearest"
            data[key] = _nearest_back(data[key], resample) if by_nearest else resample.inverse(data[key])
        return data

    def _check(self, key: Hashable, volume: Any) -> None:
        if not isinstance(volume, MetaTensor) or volume.ndim != 4:
            return  # MONAI's own words
        affine, shape = np.asarray(volume.affine.cpu(), float), volume.shape[1:]
        pixdim = np.broadcast_to(self.spacing_transform.pixdim, 3)
        size, _ = compute_shape_offset(shape, affine, zoom_affine(affine, pixdim, diagonal=False))
        try:
            check_resampling(shape, voxel_edges(affine), size, pixdim, self.max_voxels)
        except ValueError as error:
            raise ValueError(f"{key} {volume.meta.get(ImageMetaKey.FILENAME_OR_OBJ, '?')}: {error}") from None


def _nearest_back(volume: MetaTensor, resample: Any) -> MetaTensor:
    """Undo a resampling by nearest voxel, in numpy."""
    step = resample.pop_transform(volume)
    native = Grid(
        tuple(map(int, step[TraceKeys.ORIG_SIZE])),
        np.asarray(step[TraceKeys.EXTRA_INFO]["src_affine"], float),
    )
    here = Grid(tuple(volume.shape[1:]), np.asarray(volume.affine.cpu(), float))
    channels = [resample_back(channel, here, native) for channel in volume.as_tensor().cpu().numpy()]
    out = MetaTensor(torch.from_numpy(np.stack(channels)).to(volume.device)).copy_meta_from(volume)
    out.affine = torch.as_tensor(native.affine)
    return out
