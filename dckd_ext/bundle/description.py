"""What is known of a teacher or student before its network is built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dckd_ext.bundle.config import StrPath
from dckd_ext.bundle.metadata import class_names, in_channels
from dckd_ext.bundle.plain_networks import is_factory, script_metadata
from dckd_ext.bundle.transforms import has_regions

__all__ = ["Description", "describe"]


class Description(NamedTuple):
    """Classes and channels of a network; None where nothing tells them.

    Attributes:
        classes: names by number.
        channels: of the image.
        regions: whether the classes are regions that may overlap, with a sigmoid each.
    """

    classes: dict[int, str] | None
    channels: int | None
    regions: bool


def describe(bundle: StrPath, config: Mapping[str, Any] | None = None) -> Description:
    """Read what is known of a bundle, or of a file or function that gives a network.

    Args:
        bundle: folder of a bundle, TorchScript or ONNX file, or ``module:function``.
        config: values for keys of the bundle's config.

    Raises:
        FileNotFoundError: if there is no such bundle or file.
        ValueError: if what describes it is broken.
    """
    if is_factory(str(bundle)):
        return Description(None, None, False)
    path = Path(bundle).expanduser()
    if path.is_file():
        return _of_metadata(script_metadata(path))
    return Description(class_names(bundle), in_channels(bundle), has_regions(bundle, config))


def _of_metadata(metadata: Mapping[str, Any]) -> Description:
    formats = metadata.get("network_data_format") or {}
    classes = formats.get("outputs", {}).get("pred", {}).get("channel_def")
    channels = formats.get("inputs", {}).get("image", {}).get("num_channels")
    names = {int(index): str(name) for index, name in classes.items()} if classes else None
    return Description(names, channels, names is not None and not _background(names))


def _background(names: Mapping[int, str]) -> bool:
    return any("background" in name.casefold() for name in names.values())
