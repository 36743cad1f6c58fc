"""The transforms that a bundle's config names, not built, and what they say of its classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai.bundle import ConfigComponent, ConfigParser

from dckd_ext.bundle.config import StrPath, evaluated, load_bundle_config
from dckd_ext.bundle.metadata import class_names

__all__ = ["has_regions", "named_transforms"]


def named_transforms(config: ConfigParser, key: str) -> list[ConfigComponent]:
    """Return the transforms of a `Compose` in a config that are not disabled, whatever expression lists them.

    Args:
        config: of `load_bundle_config`.
        key: of the Compose, such as ``preprocessing``.

    Raises:
        ValueError: if there is none, or what is in it are not components.
    """
    if f"{key}#transforms" not in config:
        raise ValueError(f"The inference config has no key '{key}#transforms'")
    found = evaluated(config, f"{key}#transforms", instantiate=False)
    if not isinstance(found, list) or not all(isinstance(item, ConfigComponent) for item in found):
        raise ValueError(f"'{key}#transforms' of the inference config: expected components with '_target_'")
    return [item for item in found if not item.is_disabled()]


def has_regions(bundle: StrPath, config: Mapping[str, Any] | None = None) -> bool:
    """Tell whether a bundle's classes are regions that may overlap, with a sigmoid each.

    Its postprocessing says so, by ``sigmoid`` or ``threshold`` against ``softmax`` or ``argmax``; where it
    says nothing, classes without a background are taken for regions.

    Args:
        bundle: folder of the bundle.
        config: values for keys of its config, see `load_bundle_config`.
    """
    parser = load_bundle_config(bundle, config)
    for key in ("postprocessing", "validate#postprocessing"):
        if f"{key}#transforms" in parser:
            for component in named_transforms(parser, key):
                if (said := _says_regions(component)) is not None:
                    return said
    return not any("background" in name.casefold() for name in class_names(bundle).values())


def _says_regions(component: ConfigComponent) -> bool | None:
    arguments = component.resolve_args()
    name = str(component.get_config()["_target_"]).rpartition(".")[2]
    if name == "Activationsd" and _on(arguments.get("sigmoid")):
        return True
    if name == "AsDiscreted" and _on(arguments.get("argmax")):
        return False
    if name == "AsDiscreted" and _on(arguments.get("threshold")):
        return True
    return False if name == "Activationsd" and _on(arguments.get("softmax")) else None


def _on(value: Any) -> bool:
    """Tell whether an argument, or one of those by key, is set; a threshold of 0 is."""
    if isinstance(value, list | tuple):
        return any(map(_on, value))
    return value is not None and value is not False
