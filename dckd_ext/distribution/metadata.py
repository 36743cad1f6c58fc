"""The rules of the model zoo for `configs/metadata.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator

__all__ = ["METADATA", "SCHEMA", "metadata_problems", "name_problems", "read_metadata"]

METADATA = "configs/metadata.json"
SCHEMA = Path(__file__).with_name("metadata_schema.json")
"""JSON schema (draft-07), for `python -m monai.bundle verify_metadata --filepath` too; what is valid by it is
valid by the published meta_schema_20240725.json."""

_NEW_KEYS = {"optional_packages_version": "required_packages_version", "label_def": "channel_def"}
_NAME = re.compile(r"[a-z][A-Za-z0-9_]*_(segmentation|distillation|annotation|anatomy)")


def read_metadata(root: Path) -> dict[str, Any]:
    """Read the metadata of a bundle.

    Raises:
        ValueError: if there is none, or it holds no JSON object.
    """
    try:
        metadata = _read(root)
    except (OSError, ValueError) as error:
        raise ValueError(f"{root / METADATA} cannot be read: {error}") from error
    if not isinstance(metadata, dict):
        raise ValueError(f"{root / METADATA} should hold a JSON object, it holds {type(metadata).__name__}")
    return metadata


def name_problems(root: Path) -> Iterator[str]:
    """Yield what is wrong with a bundle's name."""
    if not _NAME.fullmatch(root.name) or "_v" in root.name:
        yield (
            f"name {root.name!r}: expected letters, digits and _, the first one small, ending in "
            "_segmentation, _distillation, _annotation or _anatomy, without '_v', which MONAI takes for a "
            "version"
        )


def metadata_problems(root: Path) -> Iterator[str]:
    """Yield where a bundle's metadata contradicts the schema or itself."""
    try:
        metadata = _read(root)
    except (OSError, ValueError):
        return  # named by the rules for files
    against_schema = list(_schema_problems(metadata))
    yield from against_schema
    if isinstance(metadata, dict):
        version, changelog = metadata.get("version"), metadata.get("changelog")
        if isinstance(changelog, dict) and changelog and version not in changelog:
            yield f"{METADATA}: version {version!r} is not in 'changelog', which has {sorted(changelog)}"
    if not against_schema:
        yield from _channel_problems(_with_new_keys(metadata)["network_data_format"])


def _read(root: Path) -> Any:
    return json.loads((root / METADATA).read_text(encoding="utf-8"))


def _schema_problems(metadata: Any) -> Iterator[str]:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    for error in Draft7Validator(schema).iter_errors(_with_new_keys(metadata)):
        place = ": ".join([METADATA, "#".join(map(str, error.absolute_path))]).removesuffix(": ")
        meaning = error.schema.get("description")
        yield f"{place}: {error.message}{f' ({meaning})' if meaning else ''}"


def _with_new_keys(metadata: Any) -> Any:
    """Return the metadata with today's names of keys: older bundles of the zoo have others."""
    if not isinstance(metadata, dict):
        return metadata
    return {
        new if (new := _NEW_KEYS.get(key, key)) == key or new not in metadata else key: _with_new_keys(value)
        for key, value in metadata.items()
    }


def _channel_problems(formats: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for side in ("inputs", "outputs"):
        for name, tensor in formats[side].items():
            found = sorted(tensor["channel_def"], key=int)
            if found != [str(channel) for channel in range(tensor["num_channels"])]:
                yield (
                    f"{METADATA}: network_data_format#{side}#{name}: channel_def names channels {found}, "
                    f"but num_channels is {tensor['num_channels']}"
                )
