"""A bundle's inference config as the settings of `dckd_ext.export.predict`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigComponent, ConfigParser

from dckd_ext.bundle import class_names, in_channels, load_bundle_config, segments
from dckd_ext.export.known import known_problem
from dckd_ext.export.predict import FORMAT, weights_hash

__all__ = ["bundle_settings"]

_REQUIRED = object()


def bundle_settings(bundle: str | PathLike[str]) -> dict[str, Any]:
    """Translate what a bundle does to a volume, before and after its network.

    Args:
        bundle: folder of a bundle with weights; its config is evaluated, without overrides.

    Returns:
        Plain values for JSON: ``format``, ``bundle``, ``version``, ``weights_sha256``, ``classes``,
        ``segments``, ``channels``, ``read`` (how files are read), ``steps`` (in order) and ``window``;
        ``known``, where the metadata has ``known_volumes``, see `dckd_ext.export.known`.

    Raises:
        FileNotFoundError: if the folder, its config, metadata or weights are missing.
        ValueError: for ``known_volumes`` of another form, and for a transform,
            inferer or argument, named, that `dckd_ext.export.predict` does not know.
    """
    root = Path(bundle).expanduser().resolve()
    config = load_bundle_config(root)
    before = [_step(component) for component in _transforms(config, "preprocessing")]
    reads = [step for step in before if step and step["step"] == "read"]
    if len(reads) != 1 or before[0] != reads[0]:
        raise ValueError(f"preprocessing of {root}: expected ReadVolumed, once and first")
    for component in _transforms(config, "postprocessing"):
        _check_postprocessing(component)
    return {
        "format": FORMAT,
        "bundle": root.name,
        "version": str(config["_meta_"].get("version", "")),
        "weights_sha256": weights_hash(root / "models" / "model.pt"),
        "classes": list(class_names(root).values()),
        "segments": segments(root),
        "channels": in_channels(root),
        "read": {key: value for key, value in reads[0].items() if key != "step"},
        "steps": [step for step in before if step and step["step"] != "read"],
        "window": _window(config),
        **_known(config["_meta_"]),
    }


def _known(metadata: Mapping[str, Any]) -> dict[str, Any]:
    known = metadata.get("known_volumes")
    if known and (problem := known_problem(known)):
        raise ValueError(f"known_volumes of configs/metadata.json: {problem}")
    return {"known": known} if known else {}


class _Arguments:
    """Arguments of a component of a config; each has to be taken."""

    def __init__(self, component: ConfigComponent) -> None:
        self.name = str(component.get_config()["_target_"]).rpartition(".")[2]
        self.values = dict(component.resolve_args())
        self.place = f"'{component.get_id()}' ({self.name})"

    def take(self, name: str, default: Any = _REQUIRED) -> Any:
        value = self.values.pop(name, default)
        if value is _REQUIRED:
            raise ValueError(f"{self.place} has no argument {name!r}")
        return value

    def expect(self, name: str, *known: Any, default: Any = _REQUIRED) -> None:
        """Check an argument for which `dckd_ext.export.predict` knows these values only."""
        value = self.take(name, known[0] if default is _REQUIRED else default)
        if value not in known:
            raise ValueError(f"{self.place}: {name} is {value!r}, `dckd predict` knows only {known[0]!r}")

    def three(self, name: str) -> list[float]:
        """Take one number an axis."""
        value = np.broadcast_to(np.asarray(self.take(name), float), 3)
        return [float(number) for number in value]

    def finish(self) -> None:
        if self.values:
            raise ValueError(
                f"{self.place}: `dckd predict` does not know the argument(s) {sorted(self.values)}"
            )


def _read(arguments: _Arguments) -> dict[str, Any]:
    dtype = arguments.take("dtype", np.float32)
    spacing, extent = (arguments.take(name, None) for name in ("placeholder_spacing", "max_extent"))
    arguments.expect("image_key", "image")
    arguments.take("label_key", None)
    return {
        "step": "read",
        "dtype": None if dtype is None else _dtype_name(dtype),
        "nrrd_spacing": spacing if spacing is None else [float(edge) for edge in spacing],
        "max_extent": extent if extent is None else [float(edge) for edge in extent],
    }


def _orientation(arguments: _Arguments) -> dict[str, Any]:
    arguments.expect("labels", None, (("L", "R"), ("P", "A"), ("I", "S")))
    return {"step": "orientation", "axcodes": str(arguments.take("axcodes"))}


def _spacing(arguments: _Arguments) -> dict[str, Any]:
    arguments.expect("mode", "bilinear", ["bilinear"])
    arguments.expect("padding_mode", "border")
    for name in ("align_corners", "diagonal", "scale_extent", "recompute_affine"):
        arguments.expect(name, False)
    return {"step": "spacing", "pixdim": arguments.three("pixdim"), **_max_voxels(arguments)}


def _resample(arguments: _Arguments) -> dict[str, Any]:
    arguments.expect("mode", "linear", ["linear"])
    return {"step": "resample", "spacing": arguments.three("spacing"), **_max_voxels(arguments)}


def _max_voxels(arguments: _Arguments) -> dict[str, int]:
    most = arguments.take("max_voxels", None)
    return {} if most is None else {"max_voxels": int(most)}


def _percentiles(arguments: _Arguments) -> dict[str, Any]:
    for name in ("relative", "channel_wise"):
        arguments.expect(name, False)
    numbers = {name: float(arguments.take(name)) for name in ("lower", "upper", "b_min", "b_max")}
    return {"step": "percentiles", **numbers, "clip": bool(arguments.take("clip", False))}


def _normalize(arguments: _Arguments) -> dict[str, Any]:
    for name in ("subtrahend", "divisor"):
        arguments.expect(name, None)
    for name in ("nonzero", "channel_wise"):
        arguments.expect(name, False)
    return {"step": "normalize"}


def _check_volume(arguments: _Arguments) -> None:
    """`dckd_ext.export.predict` checks channels and values of every volume by itself."""
    for name in ("in_channels", "label_key", "num_classes", "image_key"):
        arguments.take(name, None)


_STEPS: Mapping[str, Callable[[_Arguments], dict[str, Any] | None]] = {
    "ReadVolumed": _read,
    "EnsureChannelFirstd": lambda arguments: None,  # `dckd_ext.export.predict` always has channels first
    "CheckVolumed": _check_volume,
    "Orientationd": _orientation,
    "Spacingd": _spacing,
    "SpacingVolumed": _spacing,
    "ResampleVolumed": _resample,
    "ScaleIntensityRangePercentilesd": _percentiles,
    "NormalizeIntensityd": _normalize,
}


def _step(component: ConfigComponent) -> dict[str, Any] | None:
    arguments = _Arguments(component)
    if arguments.name not in _STEPS:
        raise ValueError(f"{arguments.place}: `dckd predict` does not know this, but {sorted(_STEPS)}")
    arguments.expect("keys", "image", ["image"])
    arguments.expect("allow_missing_keys", False)
    step = _STEPS[arguments.name](arguments)
    arguments.finish()
    return step


def _check_postprocessing(component: ConfigComponent) -> None:
    arguments = _Arguments(component)
    if arguments.name == "AsDiscreted":
        arguments.expect("argmax", True, default=False)
        arguments.expect("dtype", None, torch.uint8, torch.float32)
    elif arguments.name == "Invertd":
        arguments.expect("nearest_interp", True)
        arguments.expect("orig_keys", "image", ["image"])
        for name in ("allow_missing_keys", "to_tensor", "transform"):
            arguments.take(name, None)
    elif arguments.name == "SaveImaged":
        arguments.expect("output_postfix", "seg", default="trans")
        arguments.expect("output_ext", ".nii.gz")
        arguments.expect("output_dtype", torch.uint8, np.uint8, default=np.float32)
        arguments.expect("resample", False, default=True)
        for name in ("output_dir", "separate_folder", "writer"):
            arguments.take(name, None)
    elif arguments.name == "SaveMaskd":
        arguments.take("output_dir")
        arguments.take("segmentation", None)
    else:
        known = "AsDiscreted, Invertd, SaveImaged, SaveMaskd"
        raise ValueError(f"{arguments.place}: `dckd predict` does not know this, but {known}")
    arguments.take("keys")
    arguments.finish()


def _window(config: ConfigParser) -> dict[str, Any]:
    component = _component(config, "inferer")
    arguments = _Arguments(component)
    if arguments.name == "AutocastInferer":
        arguments.take("dtype", None)  # on a CPU the bundles compute in float32, as exported networks do
        arguments.take("inferer")
        arguments.finish()
        arguments = _Arguments(_component(config, "inferer#inferer"))
    if arguments.name != "SlidingWindowInferer":
        raise ValueError(f"{arguments.place}: `dckd predict` does not know this, but SlidingWindowInferer")
    arguments.expect("mode", "gaussian", default="constant")
    arguments.expect("padding_mode", "replicate", default="constant")
    arguments.expect("sigma_scale", 0.125)
    arguments.take("sw_batch_size", None)  # changes no result
    window = {
        "roi_size": [int(edge) for edge in arguments.take("roi_size")],
        "overlap": float(arguments.take("overlap", 0.25)),
    }
    arguments.finish()
    return window


def _transforms(config: ConfigParser, name: str) -> Iterator[ConfigComponent]:
    """Yield the transforms of a Compose that are not disabled."""
    if name not in config:
        raise ValueError(f"The inference config has no key {name!r}")
    for number in range(len(config[f"{name}#transforms"])):
        component = _component(config, f"{name}#transforms#{number}")
        if not component.is_disabled():
            yield component


def _component(config: ConfigParser, place: str) -> ConfigComponent:
    component = config.get_parsed_content(place, instantiate=False) if place in config else None
    if not isinstance(component, ConfigComponent):
        raise ValueError(f"{place!r} of the inference config: expected a component with '_target_'")
    return component


def _dtype_name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.") if isinstance(dtype, torch.dtype) else np.dtype(dtype).name
