"""MONAI's resampling to a spacing, for cases that carry more than tensors and their meta data."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, MutableMapping
from typing import Any

from monai.transforms import Spacingd

__all__ = ["SpacingVolumed"]


class SpacingVolumed(Spacingd):
    """MONAI's ``Spacingd``, for cases with entries such as ``image_path`` too.

    For NIfTI files MONAI (1.6.0 and 1.6.1) takes every entry whose name starts with ``image_`` for meta data
    of ``image`` and calls its ``update``. MONAI Label adds the text ``image_path`` to each case, and a text
    has none. Such entries are kept from MONAI, and returned as they were. Results are those of ``Spacingd``,
    the inverse included.

    Examples:
        >>> resample = SpacingVolumed(["image", "label"], [1.0, 1.0, 1.0], mode=["bilinear", "nearest"])
    """

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        """Resample the tensors ``CHW[D]`` under the keys; the other entries stay as they are."""
        prefixes = tuple(f"{key}_" for key in self.keys)
        shown = {
            key: value
            for key, value in data.items()
            if key in self.keys or isinstance(value, MutableMapping) or not str(key).startswith(prefixes)
        }
        return {**data, **super().__call__(shown, lazy)}
