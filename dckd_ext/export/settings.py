"""A bundle's inference config as the settings of `dckd_ext.export.predict`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigComponent, ConfigParser

from dckd_ext.bundle import class_names, in_channels, load_bundle_config, segments
from dckd_ext.bundle.config import evaluated
from dckd_ext.bundle.networks import weights_file
from dckd_ext.bundle.transforms import named_transforms
from dckd_ext.export.known import known_problem
from dckd_ext.export.predict import FORMAT, FORMAT_AFTER, weights_hash

__all__ = ["bundle_settings"]

_REQUIRED = object()
_MOVES = ("orientation", "spacing", "resample", "crop", "pad")  # voxels to another place


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
    before = [_step(component) for component in named_transforms(config, "preprocessing")]
    reads = [step for step in before if step and step["step"] == "read"]
    if len(reads) != 1 or before[0] != reads[0]:
        raise ValueError(f"preprocessing of {root}: expected ReadVolumed or LoadImaged, once and first")
    steps = [step for step in before if step and step["step"] != "read"]
    after = _after(named_transforms(config, "postprocessing"), any(step["step"] in _MOVES for step in steps))
    return {
        "bundle": root.name,
        "version": str(config["_meta_"].get("version", "")),
        "weights_sha256": weights_hash(weights_file(root)),
        "classes": list(class_names(root).values()),
        "segments": segments(root),
        "channels": in_channels(root),
        "read": {key: value for key, value in reads[0].items() if key != "step"},
        "steps": steps,
        **_asked(_window(config), after),
        **_known(config["_meta_"]),
    }


def _asked(window: dict[str, Any] | None, after: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how the network is asked and what follows, in the first format where that says it."""
    usual = {"blend": "gaussian", "padding": "edge"}
    plain = [step for step in after if step["step"] not in ("argmax", "softmax")]
    if window and {**window, **usual} == window and plain in ([], [{"step": "invert", "linear": False}]):
        names = [step["step"] for step in after]
        if "invert" not in names or names.index("argmax") < names.index("invert"):
            window = {key: value for key, value in window.items() if key not in usual}
            return {"format": FORMAT, "window": window}
    return {"format": FORMAT_AFTER, "window": window, "after": after}


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

    def ignore(self, *names: str) -> None:
        for name in names:
            self.take(name, None)

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
    arguments.expect("dtype", np.float32, torch.float32)
    flags = {name: bool(arguments.take(name, False)) for name in ("nonzero", "channel_wise")}
    given = {name: arguments.take(name, None) for name in ("subtrahend", "divisor")}
    if not any(flags.values()) and given == {"subtrahend": None, "divisor": None}:
        return {"step": "normalize"}
    numbers = {
        name: [float(number) for number in np.atleast_1d(v)] for name, v in given.items() if v is not None
    }
    if not flags["channel_wise"] and any(len(each) > 1 for each in numbers.values()):
        raise ValueError(f"{arguments.place}: several statistics need channel_wise: true")
    return {"step": "normalize_channels", **flags, **numbers}


def _check_volume(arguments: _Arguments) -> None:
    """`dckd_ext.export.predict` checks channels and values of every volume by itself."""
    for name in ("in_channels", "label_key", "num_classes", "image_key"):
        arguments.take(name, None)


def _load(arguments: _Arguments) -> dict[str, Any]:
    """Take `LoadImaged`, whose readers agree with ours on the volumes that ours takes."""
    for name in ("reader", "image_only", "ensure_channel_first", "simple_keys", "prune_meta_pattern"):
        arguments.take(name, None)
    arguments.expect("dtype", np.float32, torch.float32)
    return {"step": "read", "dtype": "float32", "nrrd_spacing": None, "max_extent": None}


def _range(arguments: _Arguments) -> dict[str, Any]:
    arguments.expect("dtype", np.float32, torch.float32)
    numbers = {name: float(arguments.take(name)) for name in ("a_min", "a_max")}
    bounds = {name: arguments.take(name, None) for name in ("b_min", "b_max")}
    return {"step": "range", **numbers, **bounds, "clip": bool(arguments.take("clip", False))}


def _scale(arguments: _Arguments) -> dict[str, Any]:
    arguments.expect("factor", None)
    arguments.expect("dtype", np.float32, torch.float32)
    bounds = {"minv": float(arguments.take("minv", 0.0)), "maxv": float(arguments.take("maxv", 1.0))}
    return {"step": "scale", **bounds, "channel_wise": bool(arguments.take("channel_wise", False))}


def _crop(arguments: _Arguments) -> dict[str, Any]:
    arguments.expect("source_key", "image")
    arguments.expect("k_divisible", 1)
    for name in ("select_fn", "channel_indices"):
        arguments.expect(name, None)
    for name in ("start_coord_key", "end_coord_key", "mode"):  # nothing is padded
        arguments.take(name, None)
    margin = np.broadcast_to(np.asarray(arguments.take("margin", 0), int), 3)
    arguments.expect("allow_smaller", *((True,) if margin.any() else (False, True)), default=False)
    return {"step": "crop", "margin": [int(edge) for edge in margin]}


def _pad(arguments: _Arguments) -> dict[str, Any]:
    arguments.expect("method", "symmetric", "end")
    mode = arguments.take("mode", "constant")
    mode = mode[0] if isinstance(mode, list | tuple) else str(getattr(mode, "value", mode))
    if mode not in ("constant", "edge"):
        raise ValueError(f"{arguments.place}: mode is {mode!r}, `dckd predict` knows constant and edge alone")
    size = [int(edge) for edge in arguments.three("spatial_size")]
    return {"step": "pad", "spatial_size": size, "method": "symmetric", "mode": mode}


_STEPS: Mapping[str, Callable[[_Arguments], dict[str, Any] | None]] = {
    "ReadVolumed": _read,
    "LoadImaged": _load,
    "EnsureChannelFirstd": lambda arguments: arguments.ignore("channel_dim", "strict_check"),
    "EnsureTyped": lambda arguments: arguments.ignore("data_type", "dtype", "device", "track_meta"),
    "CastToTyped": lambda arguments: arguments.expect("dtype", np.float32, torch.float32),
    "CheckVolumed": _check_volume,
    "Orientationd": _orientation,
    "Spacingd": _spacing,
    "SpacingVolumed": _spacing,
    "ResampleVolumed": _resample,
    "ScaleIntensityRangePercentilesd": _percentiles,
    "ScaleIntensityRanged": _range,
    "ScaleIntensityd": _scale,
    "NormalizeIntensityd": _normalize,
    "CropForegroundd": _crop,
    "SpatialPadd": _pad,
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


def _after(components: list[ConfigComponent], spatial: bool) -> list[dict[str, Any]]:
    """Translate what comes after the network."""
    steps = [step for component in components if (step := _after_step(component)) is not None]
    names = [step["step"] for step in steps]
    if "argmax" not in names and "threshold" not in names:
        raise ValueError("postprocessing: `dckd predict` expects AsDiscreted with argmax or a threshold")
    decided = min(names.index(name) for name in ("argmax", "threshold") if name in names)
    if "invert" not in names[:decided] + names[decided:] and spatial:
        raise ValueError(
            "postprocessing: `dckd predict` expects Invertd, since the preprocessing moves voxels"
        )
    if any(step["step"] == "invert" and step["linear"] for step in steps[decided:]):
        raise ValueError(
            "postprocessing: Invertd with nearest_interp false after AsDiscreted makes numbers between "
            "classes: expected nearest_interp true there, or Invertd before AsDiscreted"
        )
    return steps


def _after_step(component: ConfigComponent) -> dict[str, Any] | None:
    arguments = _Arguments(component)
    if arguments.name not in _AFTER:
        raise ValueError(f"{arguments.place}: `dckd predict` does not know this, but {sorted(_AFTER)}")
    if "pred" not in np.atleast_1d(keys := arguments.take("keys")):
        raise ValueError(f"{arguments.place}: keys is {keys!r}, `dckd predict` knows only 'pred'")
    arguments.take("allow_missing_keys", None)
    step = _AFTER[arguments.name](arguments)
    arguments.finish()
    return step


def _activation(arguments: _Arguments) -> dict[str, Any] | None:
    arguments.expect("other", None)
    softmax, sigmoid = (bool(arguments.take(name, False)) for name in ("softmax", "sigmoid"))
    return {"step": "softmax"} if softmax else {"step": "sigmoid"} if sigmoid else None


def _discrete(arguments: _Arguments) -> dict[str, Any]:
    for name in ("to_onehot", "rounding"):
        arguments.expect(name, None)
    arguments.expect("dtype", None, torch.uint8, torch.float32)
    threshold = arguments.take("threshold", None)
    argmax = bool(arguments.take("argmax", False))
    if argmax is not (threshold is None):
        raise ValueError(f"{arguments.place}: `dckd predict` expects argmax or a threshold")
    if argmax:
        return {"step": "argmax"}
    return {"step": "threshold", "value": float(threshold)}


def _invert(arguments: _Arguments) -> dict[str, Any]:
    arguments.expect("orig_keys", "image", ["image"])
    names = ("to_tensor", "transform", "meta_keys", "orig_meta_keys", "meta_key_postfix", "device")
    arguments.ignore(*names)
    arguments.expect("post_func", None)
    return {"step": "invert", "linear": not arguments.take("nearest_interp", True)}


def _largest(arguments: _Arguments) -> dict[str, Any]:
    for name, known in (("independent", True), ("connectivity", None), ("num_components", 1)):
        arguments.expect(name, known)
    arguments.expect("is_onehot", None, False)
    labels = arguments.take("applied_labels")
    if labels is None:
        raise ValueError(f"{arguments.place}: `dckd predict` expects applied_labels")
    return {"step": "largest", "labels": [int(label) for label in np.atleast_1d(labels)]}


def _save(arguments: _Arguments) -> None:
    """Take `SaveImaged`, of which `dckd_ext.export.predict` keeps the voxels, not names and types."""
    arguments.values.clear()


_AFTER: Mapping[str, Callable[[_Arguments], dict[str, Any] | None]] = {
    "Activationsd": _activation,
    "AsDiscreted": _discrete,
    "EnsureTyped": _STEPS["EnsureTyped"],
    "Invertd": _invert,
    "KeepLargestConnectedComponentd": _largest,
    "SaveImaged": _save,
    "SaveMaskd": lambda arguments: arguments.ignore("output_dir", "segmentation"),
}


def _window(config: ConfigParser) -> dict[str, Any] | None:
    component = _component(config, "inferer")
    arguments = _Arguments(component)
    if arguments.name == "AutocastInferer":
        arguments.take("dtype", None)  # on a CPU the bundles compute in float32, as exported networks do
        arguments.take("inferer")
        arguments.finish()
        arguments = _Arguments(_component(config, "inferer#inferer"))
    if arguments.name == "SimpleInferer":
        return None
    if arguments.name != "SlidingWindowInferer":
        raise ValueError(
            f"{arguments.place}: `dckd predict` does not know this, but SlidingWindowInferer, SimpleInferer"
        )
    arguments.expect("sigma_scale", 0.125)
    arguments.expect("cval", 0.0)
    for name in ("sw_batch_size", "device", "sw_device", "progress", "cache_roi_weight_map", "cpu_thresh"):
        arguments.take(name, None)  # changes no result
    blend, padding = (str(arguments.take(name, "constant")) for name in ("mode", "padding_mode"))
    if blend not in ("constant", "gaussian") or padding not in _PADDING:
        raise ValueError(
            f"{arguments.place}: mode is {blend!r} and padding_mode {padding!r}, `dckd predict` knows "
            "constant and gaussian, constant and replicate"
        )
    roi_size = np.broadcast_to(np.asarray(arguments.take("roi_size"), int), 3)
    window = {
        "roi_size": [int(edge) for edge in roi_size],
        "overlap": float(arguments.take("overlap", 0.25)),
        "blend": blend,
        "padding": _PADDING[padding],
    }
    arguments.finish()
    return window


_PADDING = {"constant": "constant", "replicate": "edge"}


def _component(config: ConfigParser, place: str) -> ConfigComponent:
    component = evaluated(config, place, instantiate=False) if place in config else None
    if not isinstance(component, ConfigComponent):
        raise ValueError(f"{place!r} of the inference config: expected a component with '_target_'")
    return component


def _dtype_name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.") if isinstance(dtype, torch.dtype) else np.dtype(dtype).name
