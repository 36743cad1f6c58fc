"""Reading volumes and refusing, by file name, what would spoil a training in silence."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import LoadImaged, MapTransform
from monai.utils import ImageMetaKey

__all__ = ["CheckVolumed", "ReadVolumed"]


class ReadVolumed(LoadImaged):
    """MONAI's ``LoadImaged`` whose errors name the file (missing, truncated, not an image).

    Raises:
        FileNotFoundError: when a file does not exist.
        ValueError: when a file cannot be read to its end.
    """

    def __call__(self, data: Mapping[Hashable, Any], reader: Any = None) -> dict[Hashable, Any]:
        """Load every key of ``data`` that holds a path."""
        for key in self.key_iterator(dict(data)):
            path = data[key]
            try:
                data = {**data, **self._load_one(key, data, reader)}
            except FileNotFoundError as error:
                raise FileNotFoundError(f"{key}: there is no file {path}") from error
            except Exception as error:
                raise ValueError(f"{key}: cannot read {path}: {_root_cause(error)}") from error
        return dict(data)

    def _load_one(self, key: Hashable, data: Mapping[Hashable, Any], reader: Any) -> dict[Hashable, Any]:
        keys, self.keys = self.keys, (key,)
        try:
            return super().__call__({key: data[key]}, reader)
        finally:
            self.keys = keys


def _root_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


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
        bad = int((~torch.isfinite(image)).sum())
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
        found = torch.unique(torch.as_tensor(label)).tolist()
        outside = [value for value in found if value not in range(self.num_classes)]
        if outside:
            raise ValueError(
                f"label {_name(label)}: found values [{', '.join(f'{value:g}' for value in outside[:8])}], "
                f"expected whole numbers from 0 to {self.num_classes - 1}"
            )


def _name(volume: torch.Tensor) -> str:
    return str(volume.meta.get(ImageMetaKey.FILENAME_OR_OBJ, "?")) if isinstance(volume, MetaTensor) else "?"
