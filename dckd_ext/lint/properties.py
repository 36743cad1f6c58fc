"""The properties that MONAI, MONAI Label and others expect of a bundle, checked without building anything."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from monai.bundle.properties import InferProperties, MetaProperties, TrainProperties
from monai.utils import BundleProperty, BundlePropertyConfig

from dckd_ext.lint.config import META, Config, Finding, shown
from dckd_ext.lint.expressions import reference_of

__all__ = ["COMPONENTS", "USED_FROM_OUTSIDE", "trains", "wrong_properties"]

_ID, _REF_ID, _REQUIRED = BundlePropertyConfig.ID, BundlePropertyConfig.REF_ID, BundleProperty.REQUIRED
_TRAIN = cast("dict[str, dict[str, Any]]", TrainProperties)
_INFER = cast("dict[str, dict[str, Any]]", InferProperties)
_META = cast("dict[str, dict[str, Any]]", MetaProperties)
_NAMES = {"trainer", "evaluator", "dataset", "inferer", "network_def", "preprocessing", "postprocessing"}
_ALL = [*_TRAIN.values(), *_INFER.values()]
COMPONENTS = {item[_ID] for item in _ALL if item[_ID].rpartition("::")[2] in _NAMES}
"""Ids of the properties that are components."""
USED_FROM_OUTSIDE = {item[_ID] for item in _ALL if not item.get(_REF_ID)}
"""Ids that a config need not refer to; the other properties work only where MONAI expects a reference."""


def wrong_properties(config: Config) -> Iterator[Finding]:
    """Find required properties that are missing, and optional ones under another id than MONAI's."""
    properties = _TRAIN if trains(config) else _INFER
    metadata = str(config.root / "configs" / "metadata.json")
    for file, group in ((config.files[0], properties), (metadata, _META)):
        for item in group.values():
            if item[_REQUIRED] and item[_ID] not in config:
                key = shown(item[_ID].removeprefix(f"{META}::"))
                yield Finding(file, key, f"missing; MONAI expects here the {item[BundleProperty.DESC]}")
    for name, item in properties.items():
        expected = item[_ID]
        for at in _places(config, name, item):
            found = reference_of(at, config.find(at)) if at in config else None
            if found not in (None, expected):
                yield config.finding(
                    at, f"refers to {shown(str(found))!r}, expected {shown(expected)!r} ({name} of MONAI)"
                )


def trains(config: Config) -> bool:
    """Tell a training by its trainer, or by a file that is called so."""
    return "train::trainer" in config or any(
        re.search(r"(^|_)train", Path(file).name) for file in config.files
    )


def _places(config: Config, name: str, item: dict[str, Any]) -> list[str]:
    """Where MONAI expects the reference to an optional property."""
    if item[_REQUIRED] or not item.get(_REF_ID):
        return []
    if name not in ("evaluator", "val_interval"):
        return [item[_REF_ID]]
    handlers = config.find("train::handlers") if "train::handlers" in config else []
    return [
        f"train::handlers::{index}::{item[_REF_ID]}"
        for index, handler in enumerate(handlers)
        if isinstance(handler, dict) and handler.get("_target_") == "ValidationHandler"
    ]
