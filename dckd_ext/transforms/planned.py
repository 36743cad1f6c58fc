"""What nnU-Net does to a volume by its plans: intensities, and resampling by cubic splines."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.transforms import InvertibleTransform, MapTransform
from monai.transforms.utils import scale_affine
from monai.utils import ImageMetaKey, TraceKeys
from numpy.typing import NDArray
from scipy import ndimage

from dckd_ext.data.grids import check_resampling

__all__ = ["SCHEMES", "PlannedIntensityd", "PlannedSpacingd", "resample_planned"]

_ANISOTROPIC = 3.0  # beyond this ratio of spacings the thick axis is resampled by itself
_LEAST = 1e-8

Array = NDArray[np.float32]


class PlannedIntensityd(MapTransform):
    """Normalise each channel by the scheme that nnU-Net's plans have for it.

    Place it after the crop to what is not 0 and before the resampling, as nnU-Net does (Isensee et al.,
    Nature
    Methods 18, 2021). Schemes, by the names of the plans: ``ZScoreNormalization``, with ``mask`` over what is
    not 0 in some channel, holes filled, and 0 outside; ``CTNormalization``, by the data set's ``lower``,
    ``upper``,
    ``mean`` and ``std``; ``RescaleTo01Normalization``; ``RGBTo01Normalization``; ``NoNormalization``.

    Args:
        keys: keys of volumes, ``CHWD``.
        channels: of each channel ``scheme``, and what it needs of ``mask``, ``mean``, ``std``,
            ``lower``, ``upper``.
        allow_missing_keys: do not raise for a key that is missing.

    Raises:
        ValueError: for an unknown scheme; on a call, when the volume has another number of channels.
    """

    def __init__(
        self,
        keys: KeysCollection,
        channels: Sequence[Mapping[str, Any]],
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.channels = [dict(channel) for channel in channels]
        for channel in self.channels:
            if channel.get("scheme") not in SCHEMES:
                raise ValueError(f"unknown scheme {channel.get('scheme')!r}: expected one of {list(SCHEMES)}")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Normalise every key, in float32."""
        data = dict(data)
        for key in self.key_iterator(data):
            volume = data[key]
            if len(volume) != len(self.channels):
                raise ValueError(f"{key}: found {len(volume)} channels, expected {len(self.channels)}")
            values = volume.as_tensor() if isinstance(volume, MetaTensor) else torch.as_tensor(volume)
            arrays = values.cpu().numpy().astype(np.float32)
            inside = ndimage.binary_fill_holes((arrays != 0).any(0)) if self._masked() else None
            for array, channel in zip(arrays, self.channels, strict=True):
                SCHEMES[channel["scheme"]](array, channel, inside)
            out = MetaTensor(torch.from_numpy(arrays).to(values.device))
            data[key] = out.copy_meta_from(volume) if isinstance(volume, MetaTensor) else out
        return data

    def _masked(self) -> bool:
        return any(channel.get("mask") for channel in self.channels)


def _zscore(array: Array, channel: Mapping[str, Any], inside: NDArray[np.bool_] | None) -> None:
    where = inside if channel.get("mask") else np.ones(array.shape, bool)
    values = array[where]
    array[where] = (values - values.mean()) / max(values.std(), _LEAST)


def _ct(array: Array, channel: Mapping[str, Any], inside: NDArray[np.bool_] | None) -> None:
    np.clip(array, channel["lower"], channel["upper"], out=array)
    array -= channel["mean"]
    array /= max(channel["std"], _LEAST)


def _to_unit(array: Array, channel: Mapping[str, Any], inside: NDArray[np.bool_] | None) -> None:
    array -= array.min()
    array /= max(array.max(), _LEAST)


def _rgb(array: Array, channel: Mapping[str, Any], inside: NDArray[np.bool_] | None) -> None:
    array /= 255


def _as_it_is(array: Array, channel: Mapping[str, Any], inside: NDArray[np.bool_] | None) -> None: ...


SCHEMES: Mapping[str, Callable[[Array, Mapping[str, Any], NDArray[np.bool_] | None], None]] = {
    "ZScoreNormalization": _zscore,
    "CTNormalization": _ct,
    "RescaleTo01Normalization": _to_unit,
    "RGBTo01Normalization": _rgb,
    "NoNormalization": _as_it_is,
}
"""What each scheme does to one channel ``HWD``, in place, by its statistics and the mask of what is not 0."""


class PlannedSpacingd(MapTransform, InvertibleTransform):
    """Resample volumes to a spacing as nnU-Net does by default; the inverse takes logits back linearly.

    Splines without smoothing, clipped to the range of the input. Where one axis is more than three times as
    thick as another, in the volume or in the target, the others are resampled slice by slice and this one by
    nearest slice. An axis of ``n`` voxels of ``s`` mm becomes ``round(n * s / t)`` for the spacing ``t``.

    Args:
        keys: keys of ``MetaTensor`` volumes, ``CHWD``.
        spacing: mm, one number an axis of the volume as it comes here.
        order: of the splines, 0 to 5.
        inverse_order: of those that bring predictions back.
        separate: whether the thick axis is resampled by itself; None: by the rule above.
        allow_missing_keys: do not raise for a key that is missing.
        max_voxels: the most voxels to make; see `dckd_ext.data.grids.check_resampling`.

    Raises:
        ValueError: on a call, as `dckd_ext.data.grids.check_resampling`; names the file.
    """

    def __init__(
        self,
        keys: KeysCollection,
        spacing: Sequence[float],
        order: int = 3,
        inverse_order: int = 1,
        separate: bool | None = None,
        allow_missing_keys: bool = False,
        max_voxels: int | None = None,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.spacing = [float(edge) for edge in spacing]
        self.order, self.inverse_order, self.separate = order, inverse_order, separate
        self.max_voxels = max_voxels

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Resample every key."""
        data = dict(data)
        for key in self.key_iterator(data):
            volume = data[key]
            native = affine_to_spacing(volume.affine, r=3, suppress_zeros=False).tolist()
            before = tuple(map(int, volume.shape[1:]))
            after = tuple(
                round(edge / target * size)
                for edge, target, size in zip(native, self.spacing, before, strict=True)
            )
            name = volume.meta.get(ImageMetaKey.FILENAME_OR_OBJ, "?")
            try:
                check_resampling(before, native, after, self.spacing, self.max_voxels)
            except ValueError as error:
                raise ValueError(f"{key} {name}: {error}") from None
            data[key] = self.push_transform(
                self._resampled(volume, after, native, self.spacing, self.order),
                sp_size=after,
                orig_size=before,
                affine=scale_affine(before, after),
                extra_info={"spacing": native, "affine": volume.affine.clone()},
            )
        return data

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Resample every key to the grid that it came from."""
        data = dict(data)
        for key in self.key_iterator(data):
            step = self.pop_transform(data[key])
            info = step[TraceKeys.EXTRA_INFO]
            size = step[TraceKeys.ORIG_SIZE]
            out = self._resampled(data[key], size, self.spacing, info["spacing"], self.inverse_order)
            out.affine = info["affine"]
            data[key] = out
        return data

    def _resampled(
        self,
        volume: MetaTensor,
        size: Sequence[int],
        spacing: Sequence[float],
        target: Sequence[float],
        order: int,
    ) -> MetaTensor:
        axis = _thick_axis(spacing, target, self.separate)
        array = volume.as_tensor().cpu().numpy().astype(np.float32)
        out = MetaTensor(torch.from_numpy(resample_planned(array, size, order, axis)).to(volume.device))
        return out.copy_meta_from(volume)


def _thick_axis(spacing: Sequence[float], target: Sequence[float], separate: bool | None) -> int | None:
    """Return the axis that is resampled by itself, or None."""
    for edges in (spacing, target):
        if separate or (separate is None and max(edges) / min(edges) > _ANISOTROPIC):
            thick = [axis for axis, edge in enumerate(edges) if max(edges) / edge == 1]
            return thick[0] if len(thick) == 1 else None
    return None


def resample_planned(volume: Array, size: Sequence[int], order: int, axis: int | None = None) -> Array:
    """Resample a volume to ``size`` voxels over the same field of view by splines, clipped to its range.

    Args:
        volume: float32, ``CHWD``.
        size: new H, W and D.
        order: of the splines.
        axis: 0 to 2; it is resampled by nearest slice, the others slice by slice. None: all together.
    """
    size = tuple(map(int, size))
    if volume.shape[1:] == size:
        return volume.copy()
    out = np.empty((len(volume), *size), np.float32)
    for channel, target in zip(volume, out, strict=True):
        if axis is None:
            target[...] = _zoomed(channel.astype(float), size, order)
            continue
        places = _nearest_slices(channel.shape[axis], size[axis])
        flat = size[:axis] + size[axis + 1 :]
        slices = [_zoomed(one, flat, order) for one in np.moveaxis(channel.astype(float), axis, 0)]
        target[...] = np.moveaxis(np.stack(slices)[places], 0, axis)
    return out


def _zoomed(array: NDArray[np.float64], size: Sequence[int], order: int) -> NDArray[np.float64]:
    factors = [new / old for new, old in zip(size, array.shape, strict=True)]
    zoomed = ndimage.zoom(array, factors, order=order, mode="nearest", grid_mode=True)
    return np.clip(zoomed, array.min(), array.max())


def _nearest_slices(before: int, after: int) -> NDArray[np.int64]:
    centres = before / after * (np.arange(after) + 0.5) - 0.5
    slices = ndimage.map_coordinates(np.arange(before, dtype=float), centres[None], order=0, mode="nearest")
    return slices.astype(np.int64)
