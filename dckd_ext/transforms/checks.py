"""Refusing, by file name, what would spoil a training in silence."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import ImageMetaKey

from dckd_ext.data.labels import check_classes
from dckd_ext.data.volumes import constant_note, count_not_finite, read_voxels, warn_of
from dckd_ext.utils.errors import listed, named_errors
from dckd_ext.utils.labels import UNLABELLED

__all__ = ["CheckVolumed", "check_foreground"]


class CheckVolumed(MapTransform):
    """Refuse NaN or infinite images, labels outside the classes, and labels of another shape than the image.

    An image of one value only is warned of. Place it after the channel dimension is added and before anything
    is resampled. Shapes are ``CHW[D]``.

    Args:
        image_key: key of the image.
        label_key: key of the label, or None.
        num_classes: labels must be whole numbers in ``[0, num_classes)``, or `UNLABELLED` all over.
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
                f"found the shape {(*image.shape[1:], *image.shape[:1])}"
            )
        voxels = _array(image)
        if bad := count_not_finite(voxels):
            raise ValueError(
                f"image {_name(image)}: {bad} voxels are NaN or infinite, expected finite intensities"
            )
        if note := constant_note(voxels):
            warn_of(_name(image), note)

    def _check_label(self, label: torch.Tensor, image: torch.Tensor) -> None:
        if label.shape[1:] != image.shape[1:]:
            raise ValueError(
                f"label {_name(label)}: has shape {tuple(label.shape[1:])}, "
                f"expected that of image {_name(image)}: {tuple(image.shape[1:])}"
            )
        if (label == UNLABELLED).all():
            return
        with named_errors("label", _name(label)):
            check_classes(_array(label), self.num_classes)


def check_foreground(cases: Sequence[Mapping[str, Any]], key: str = "label") -> None:
    """Refuse a training set without any foreground, which would train in silence to predict nothing.

    Masks are read one at a time up to the first with a voxel above zero, so that this is cheap as a rule.

    Args:
        cases: the data list, one dict a case.
        key: key of the mask's path.

    Raises:
        ValueError: when no mask has a foreground voxel; names the first of them.
    """
    labelled = [case for case in cases if case[key]]  # a volume without a label has no mask
    for case in labelled:
        with named_errors(key, case[key]):
            if (read_voxels(case[key]) > 0).any():
                return
    if labelled:
        raise ValueError(
            f"none of the {len(labelled)} masks has a voxel above 0, so there is nothing to learn: "
            f"{listed([str(case[key]) for case in labelled])}"
        )


def _array(volume: torch.Tensor) -> np.ndarray:
    """Take the voxels without a copy."""
    return (volume.as_tensor() if isinstance(volume, MetaTensor) else volume).cpu().numpy()


def _name(volume: torch.Tensor) -> str:
    return str(volume.meta.get(ImageMetaKey.FILENAME_OR_OBJ, "?")) if isinstance(volume, MetaTensor) else "?"
