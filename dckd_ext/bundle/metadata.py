"""What a bundle's metadata says of its classes and channels."""

from __future__ import annotations

from typing import Any

from dckd_ext.bundle.config import StrPath, bundle_root, metadata_file
from dckd_ext.utils.documents import read_mapping

__all__ = ["class_names", "in_channels"]

_CLASSES = ("channel_def", "label_def")  # the second in one of the model zoo's bundles


def class_names(bundle: StrPath) -> dict[int, str]:
    """Read the names of a bundle's classes, background included, from its metadata.

    Args:
        bundle: folder of the bundle.

    Raises:
        FileNotFoundError: if the folder or its metadata is missing.
        ValueError: if the metadata has no `channel_def` (or `label_def`) for the output `pred`, not one from
            class 0 on, or one that disagrees with its `num_channels`.
    """
    place = "network_data_format#outputs#pred"
    pred = _metadata(bundle, place) if _has(bundle, place) else {}
    key = f"{place}#{next((key for key in _CLASSES if key in pred), _CLASSES[0])}"
    names = {int(index): str(name) for index, name in _metadata(bundle, key).items()}
    if sorted(names) != list(range(len(names))):
        raise ValueError(f"'{key}' of {bundle} should name the classes 0, 1, ... without a gap, got {names}")
    channels = pred.get("num_channels", len(names))
    if channels != len(names):
        raise ValueError(f"'{key}' of {bundle} names {len(names)} classes, but 'num_channels' is {channels}")
    return dict(sorted(names.items()))


def in_channels(bundle: StrPath) -> int:
    """Read the channels of a bundle's input `image` from its metadata.

    Args:
        bundle: folder of the bundle.

    Raises:
        FileNotFoundError: if the folder or its metadata is missing.
        ValueError: if the metadata has no `num_channels` for the input `image`.
    """
    return int(_metadata(bundle, "network_data_format#inputs#image#num_channels"))


def _has(bundle: StrPath, key: str) -> bool:
    try:
        return isinstance(_metadata(bundle, key), dict)
    except ValueError:
        return False


def _metadata(bundle: StrPath, key: str) -> Any:
    file = metadata_file(bundle_root(bundle))
    value: Any = read_mapping(file)
    for part in key.split("#"):
        if not isinstance(value, dict) or part not in value:
            found = sorted(value) if isinstance(value, dict) else value
            raise ValueError(f"{file} has no key '{key}': in place of '{part}' there is {found}")
        value = value[part]
    return value
