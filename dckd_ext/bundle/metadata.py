"""What a bundle's metadata says of its classes and channels."""

from __future__ import annotations

from typing import Any

from dckd_ext.bundle.config import StrPath, bundle_root, read_metadata

__all__ = ["class_names", "in_channels", "segmentation", "segments"]

_CLASSES = ("channel_def", "label_def")  # the second in one of the model zoo's bundles
_CODES = ("category", "type", "modifier", "region")


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


def segments(bundle: StrPath) -> dict[str, dict[str, Any]]:
    """Read what a DICOM SEG says of a bundle's classes, by their names, from its metadata.

    Args:
        bundle: folder of the bundle.

    Returns:
        Of a class ``label`` (text), and the codes ``category``, ``type``, ``modifier`` and ``region`` (value,
        scheme, meaning), as far as the metadata has `segments` for the output `pred`; those of other names,
        which a copy with its own classes may keep, are left out.

    Raises:
        FileNotFoundError: if the folder or its metadata is missing.
        ValueError: if they have another key, or a code is no three texts.
    """
    names = class_names(bundle).values()
    stated = _metadata(bundle, "network_data_format#outputs#pred").get("segments") or {}
    found = {name: segment for name, segment in stated.items() if name in names}
    for name, segment in found.items():
        for key, value in segment.items():
            text = key == "label" and isinstance(value, str)
            if not text and not (key in _CODES and _is_code(value)):
                raise ValueError(
                    f"'network_data_format#outputs#pred#segments#{name}' of {bundle}: expected a label, and "
                    f"codes (value, scheme, meaning) for {', '.join(_CODES)}, found {key}: {value!r}"
                )
    return found


def segmentation(bundle: StrPath) -> dict[str, Any]:
    """Return what a DICOM SEG says of a bundle: its name, ``bundle``, ``version``, ``classes``, ``segments``.

    Raises:
        FileNotFoundError: as `segments`, and ValueError too.
    """
    root = bundle_root(bundle)
    return {
        "bundle": root.name,
        "version": str(read_metadata(root).get("version", "")),
        "classes": list(class_names(bundle).values()),
        "segments": segments(bundle),
    }


def _has(bundle: StrPath, key: str) -> bool:
    try:
        return isinstance(_metadata(bundle, key), dict)
    except ValueError:
        return False


def _is_code(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(isinstance(part, str) for part in value)


def _metadata(bundle: StrPath, key: str) -> Any:
    root = bundle_root(bundle)
    file = root / "configs" / "metadata.json"
    value: Any = read_metadata(root)
    for part in key.split("#"):
        if not isinstance(value, dict) or part not in value:
            found = sorted(value) if isinstance(value, dict) else value
            raise ValueError(f"{file} has no key '{key}': in place of '{part}' there is {found}")
        value = value[part]
    return value
