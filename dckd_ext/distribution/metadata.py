"""The rules of the model zoo for `configs/metadata.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["METADATA", "metadata_problems", "read_metadata"]

METADATA = "configs/metadata.json"
# MONAI takes "_v" for the start of the version, and sorts versions as text: 0.10.0 < 0.2.0
_NAME = re.compile(r"[a-z][a-z0-9_]*_(segmentation|distillation)")
_VERSION = re.compile(r"\d\.\d\.\d")
# what schema meta_schema_20240725.json requires
_TEXTS = (
    *("schema", "version", "monai_version", "pytorch_version", "numpy_version"),
    *("task", "description", "authors", "copyright"),
)
_MAPPINGS = ("changelog", "required_packages_version", "network_data_format")
_TENSOR: Mapping[str, type] = {
    "type": str,
    "format": str,
    "num_channels": int,
    "spatial_shape": list,
    "dtype": str,
    "value_range": list,
    "channel_def": dict,
}


def read_metadata(root: Path) -> dict[str, Any]:
    """Read the metadata of a bundle.

    Raises:
        ValueError: if there is none, or it holds no JSON object.
    """
    try:
        metadata = json.loads((root / METADATA).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{root / METADATA} cannot be read: {error}") from error
    if not isinstance(metadata, dict):
        raise ValueError(f"{root / METADATA} should hold a JSON object, it holds {type(metadata).__name__}.")
    return metadata


def metadata_problems(root: Path) -> Iterator[str]:
    """Yield what is wrong with a bundle's name, version, changelog, required keys and channels."""
    if not _NAME.fullmatch(root.name) or "_v" in root.name:
        yield (
            f"name {root.name!r}: expected lower-case letters, digits and _, ending in _segmentation or "
            "_distillation, without '_v', which MONAI takes for a version"
        )
    try:
        metadata = read_metadata(root)
    except ValueError:
        return  # named by the rules for files
    for keys, kind in ((_TEXTS, str), (_MAPPINGS, dict)):
        for key in keys:
            if not isinstance(metadata.get(key), kind) or not metadata[key]:
                yield f"{METADATA}: {key!r} should be a {kind.__name__} that is not empty"
    yield from _version_problems(metadata)
    yield from _channel_problems(metadata.get("network_data_format"))


def _version_problems(metadata: Mapping[str, Any]) -> Iterator[str]:
    version, changelog = str(metadata.get("version")), metadata.get("changelog")
    if not _VERSION.fullmatch(version):
        yield f"{METADATA}: version {version!r} should be X.Y.Z with single digits, which MONAI sorts as text"
    if isinstance(changelog, dict) and changelog and version not in changelog:
        yield f"{METADATA}: version {version!r} is not in 'changelog', which has {sorted(changelog)}"


def _channel_problems(formats: Any) -> Iterator[str]:
    if not isinstance(formats, dict):
        return
    for side, name in (("inputs", "image"), ("outputs", "pred")):
        tensors = formats.get(side)
        if not isinstance(tensors, dict) or name not in tensors:
            yield f"{METADATA}: network_data_format has no {side} {name!r}"
            continue
        for key, tensor in tensors.items():
            yield from _tensor_problems(f"{METADATA}: network_data_format#{side}#{key}", tensor)


def _tensor_problems(place: str, tensor: Any) -> Iterator[str]:
    if not isinstance(tensor, dict):
        yield f"{place}: expected an object, found {type(tensor).__name__}"
        return
    wrong = [key for key, kind in _TENSOR.items() if not isinstance(tensor.get(key), kind)]
    yield from (f"{place}: {key!r} should be a {_TENSOR[key].__name__}" for key in wrong)
    if wrong:
        return
    expected = [str(index) for index in range(tensor["num_channels"])]
    if sorted(tensor["channel_def"], key=str) != sorted(expected):
        found = sorted(tensor["channel_def"])
        yield f"{place}: channel_def names channels {found}, but num_channels is {tensor['num_channels']}"
