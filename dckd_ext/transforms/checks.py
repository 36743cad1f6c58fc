"""Refusing, by file name, what would spoil a training in silence."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import ImageMetaKey

from dckd_ext.transforms.reading import read_voxels
from dckd_ext.utils.errors import listed

__all__ = ["CheckVolumed", "check_foreground", "count_not_finite", "values_outside"]

_VOXELS_AT_ONCE = 2**20


class CheckVolumed(MapTransform):
    """Refuse NaN or infinite images, labels outside the classes, and labels of another shape than the image.

    Place it after the channel dimension is added and before anything is resampled. Shapes are ``CHW[D]``.

    Args:
        image_key: key of the image.
        label_key: key of the label, or None.
        num_classes: labels must be whole numbers in ``[0, num_classes)``.
        in_channels: number of channels that the network takes.

    Raises:
        ValueError: with the file, what was found and what is expected.

    Volumes are looked at part by part, so that a check takes little memory.
    """

    def __init__(
        self,
        image_key: str = "image",
        label_key: str | None = None,
        num_classes: int = 2,
        in_channels: int = 1,
    ):
        super().__init__([image_key, *([label_key] if label_key else [])])
        self.image_key, self.label_key = image_key, label_key
        self.num_classes, self.in_channels = num_classes, in_channels

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return ``data`` unchanged."""
        self._check_image(data[self.image_key])
        if self.label_key:
            self._check_label(data[self.label_key], data[self.image_key])
        return dict(data)

    def _check_image(self, image: torch.Tensor) -> None:
        if image.ndim != 4 or image.shape[0] != self.in_channels:
            raise ValueError(
                f"image {_name(image)}: expected a 3D volume with {self.in_channels} channel(s), "
                f"found shape {tuple(image.shape)} (channels first)"
            )
        bad = count_not_finite(image)
        if bad:
            raise ValueError(
                f"image {_name(image)}: {bad} voxels are NaN or infinite, expected finite intensities"
            )

    def _check_label(self, label: torch.Tensor, image: torch.Tensor) -> None:
        if label.shape[1:] != image.shape[1:]:
            raise ValueError(
                f"label {_name(label)} has shape {tuple(label.shape[1:])}, "
                f"expected that of image {_name(image)}: {tuple(image.shape[1:])}"
            )
        outside = values_outside(label, self.num_classes)
        if outside:
            raise ValueError(
                f"label {_name(label)}: found values [{', '.join(f'{value:g}' for value in outside[:8])}], "
                f"expected whole numbers from 0 to {self.num_classes - 1}"
            )


def count_not_finite(image: torch.Tensor) -> int:
    """Count the voxels that are NaN or infinite."""
    if not image.is_floating_point():
        return 0
    return sum(int((~torch.isfinite(part)).sum()) for part in _parts(image))


def values_outside(label: torch.Tensor, num_classes: int) -> list[float]:
    """Return the values, sorted, that are not whole numbers in ``[0, num_classes)``; NaN comes last.

    Examples:
        >>> values_outside(torch.tensor([0, 1, 255, 1], dtype=torch.uint8), num_classes=2)
        [255]
    """
    outside = []
    for part in _parts(label):
        if not part.is_floating_point():
            low, high = (int(edge) for edge in part.aminmax())
            if low >= 0 and high < num_classes:
                continue
            part = part.long()  # torch compares uint8 with 256 as if that were 0
        outside.append(part[(part < 0) | (part >= num_classes) | (part != part.floor())].unique())
    return torch.cat(outside).unique().tolist() if outside else []


def check_foreground(cases: Sequence[Mapping[str, Any]], key: str = "label") -> None:
    """Refuse a training set without any foreground, which would train in silence to predict nothing.

    Masks are read one at a time up to the first with a voxel above zero, so that this is cheap as a rule.

    Args:
        cases: the data list, one dict a case.
        key: key of the mask's path.

    Raises:
        ValueError: when no mask has a foreground voxel; names the first of them.
    """
    for case in cases:
        if (read_voxels(case[key]) > 0).any():
            return
    raise ValueError(
        f"none of the {len(cases)} masks has a voxel above 0, so there is nothing to learn: "
        f"{listed([str(case[key]) for case in cases])}"
    )


def _parts(volume: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield the volume in parts along its longest axis, as plain tensors of about a million voxels."""
    voxels = volume.as_tensor() if isinstance(volume, MetaTensor) else volume
    if not voxels.numel():
        return iter(())
    axis = max(range(voxels.ndim), key=lambda index: voxels.shape[index])
    slices = max(1, _VOXELS_AT_ONCE * voxels.shape[axis] // voxels.numel())
    return iter(voxels.split(slices, dim=axis))


def _name(volume: torch.Tensor) -> str:
    return str(volume.meta.get(ImageMetaKey.FILENAME_OR_OBJ, "?")) if isinstance(volume, MetaTensor) else "?"
