"""What lies in a results folder of nnU-Net v2: the plans, the data set and the folds; without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from dckd_ext.data.splits import read_split
from dckd_ext.utils.documents import read_mapping
from dckd_ext.utils.errors import listed

__all__ = ["ResultsFolder", "check_held_out", "is_results_folder", "read_results_folder"]

_CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")
_AS_STORED = ("SimpleITKIO", "NibabelIO")
_TURNED = ("SimpleITKIOWithReorient", "NibabelIOWithReorient")
_RESAMPLING = "resample_data_or_seg_to_shape"


@dataclass(frozen=True)
class ResultsFolder:
    """One trained configuration of nnU-Net v2.

    Attributes:
        root: the folder, ``TRAINER__PLANS__CONFIGURATION``.
        plans: of its configuration, with those that it inherits.
        dataset: content of ``dataset.json``.
        classes: their names by number, the background first.
        channels: names of the input channels, in order.
        intensities: of each channel, the arguments of `dckd_ext.transforms.PlannedIntensityd`.
        axes: the axis of the file that each axis of the network's input is.
        turned: whether volumes are turned to RAS first.
        checkpoints: the weights by fold; "all" is a fold too.
    """

    root: Path
    plans: Mapping[str, Any]
    dataset: Mapping[str, Any]
    classes: Mapping[int, str]
    channels: tuple[str, ...]
    intensities: tuple[Mapping[str, Any], ...]
    axes: tuple[int, int, int]
    turned: bool
    checkpoints: Mapping[str, Path]


def is_results_folder(folder: str | PathLike[str]) -> bool:
    """Tell whether a folder is nnU-Net's and no bundle: it has ``plans.json`` and ``dataset.json``."""
    root = Path(folder).expanduser()
    return (root / "plans.json").is_file() and (root / "dataset.json").is_file()


def read_results_folder(folder: str | PathLike[str]) -> ResultsFolder:
    """Read a results folder, as nnU-Net v2 leaves it.

    Raises:
        FileNotFoundError: if the folder, its plans or its data set's description are missing.
        ValueError: for what cannot be taken over, with the file and key: regions, 2D and cascaded
            configurations,
            another reader, preprocessor or resampling than nnU-Net's own.
    """
    root = Path(folder).expanduser().resolve()
    whole, dataset = read_mapping(root / "plans.json"), read_mapping(root / "dataset.json")
    plans = _configuration(root, whole)
    _check_configuration(root, plans)
    reader = str(whole.get("image_reader_writer"))
    if reader not in _AS_STORED + _TURNED:
        known = ", ".join(_AS_STORED + _TURNED)
        raise ValueError(f"{root / 'plans.json'}: image_reader_writer is {reader}, expected one of {known}")
    forward = whole.get("transpose_forward", [0, 1, 2])
    channels = dataset.get("channel_names") or dataset.get("modality") or {}
    names = tuple(str(channels[key]) for key in sorted(channels, key=int))
    return ResultsFolder(
        root=root,
        plans=plans,
        dataset=dataset,
        classes=_classes(root / "dataset.json", dataset),
        channels=names,
        intensities=tuple(_intensities(root, whole, plans, len(names))),
        axes=tuple(2 - int(axis) for axis in forward),  # type: ignore[arg-type]  # SimpleITK gives z, y, x
        turned=reader in _TURNED,
        checkpoints=_checkpoints(root),
    )


def _configuration(root: Path, whole: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plans of the configuration that the folder is named by, with those that it inherits from."""
    configurations, name = whole.get("configurations", {}), root.name.rpartition("__")[2]
    if name not in configurations:
        raise ValueError(
            f"{root}: expected a folder named TRAINER__PLANS__CONFIGURATION with one of the configurations "
            f"{sorted(configurations)} of its plans.json"
        )
    plans: dict[str, Any] = {}
    while name:
        parent = configurations[name]
        plans = {**parent, **plans, "inherits_from": None}
        name = parent.get("inherits_from")
    return plans


def _check_configuration(root: Path, plans: Mapping[str, Any]) -> None:
    file = root / "plans.json"
    if len(plans["patch_size"]) != 3:
        raise ValueError(f"{file}: patch_size is {plans['patch_size']}, expected a 3D configuration")
    if plans.get("previous_stage"):
        raise ValueError(
            f"{file}: a cascade, after {plans['previous_stage']!r}; expected a configuration of one stage"
        )
    preprocessor = plans.get("preprocessor_name", "DefaultPreprocessor")
    if preprocessor != "DefaultPreprocessor":
        raise ValueError(f"{file}: preprocessor_name is {preprocessor}, expected DefaultPreprocessor")
    for kind in ("data", "probabilities"):
        name = plans.get(f"resampling_fn_{kind}", _RESAMPLING)
        options = plans.get(f"resampling_fn_{kind}_kwargs", {})
        if name != _RESAMPLING or options.get("order_z", 0) != 0:
            raise ValueError(
                f"{file}: resampling_fn_{kind} is {name} {options}, expected {_RESAMPLING}, order_z 0"
            )


def _classes(file: Path, dataset: Mapping[str, Any]) -> dict[int, str]:
    labels = {name: value for name, value in dataset.get("labels", {}).items() if name != "ignore"}
    regions = [name for name, value in labels.items() if isinstance(value, list | tuple) and len(value) > 1]
    if regions:
        raise ValueError(
            f"{file}: the labels {regions} are regions of several classes, told by a sigmoid each; "
            f"expected classes "
            "that exclude each other"
        )
    names = {int(value[0] if isinstance(value, list) else value): str(name) for name, value in labels.items()}
    if sorted(names) != list(range(len(labels))) or len(names) < 2:
        raise ValueError(f"{file}: expected labels 0, 1, ... without a gap, found {labels}")
    return dict(sorted(names.items()))


def _intensities(
    root: Path, whole: Mapping[str, Any], plans: Mapping[str, Any], count: int
) -> list[dict[str, Any]]:
    schemes, masks = plans["normalization_schemes"], plans["use_mask_for_norm"]
    if not len(schemes) == len(masks) == count:
        raise ValueError(
            f"{root}: dataset.json names {count} channels, plans.json has {len(schemes)} "
            f"normalization_schemes"
        )
    statistics = whole.get("foreground_intensity_properties_per_channel", {})
    channels = []
    for number, (scheme, mask) in enumerate(zip(schemes, masks, strict=True)):
        channel = {"scheme": str(scheme), "mask": bool(mask)}
        if scheme == "CTNormalization":
            of_channel = statistics[str(number)]
            channel |= {"mean": of_channel["mean"], "std": of_channel["std"]}
            channel |= {"lower": of_channel["percentile_00_5"], "upper": of_channel["percentile_99_5"]}
        channels.append(channel)
    return channels


def _checkpoints(root: Path) -> dict[str, Path]:
    """Return the weights by fold, of the last epoch where both are there, as nnU-Net's predictor."""
    found = {}
    for folder in sorted(root.glob("fold_*")):
        files = [folder / name for name in _CHECKPOINTS if (folder / name).is_file()]
        if files:
            found[folder.name.removeprefix("fold_")] = files[0]
    return found


def check_held_out(root: str | PathLike[str], split_file: str | PathLike[str], folds: Sequence[int]) -> None:
    """Check that the folds of a split are those that nnU-Net held out, as the folders ``validation`` show.

    Args:
        root: results folder.
        split_file: see `dckd_ext.data.splits.read_split`.
        folds: to look at; one without predictions of its validation tells nothing.

    Raises:
        ValueError: when a fold of the split has cases that nnU-Net's fold was trained on.
    """
    split = read_split(split_file)["folds"]
    for fold in folds:
        folder = Path(root).expanduser() / f"fold_{fold}" / "validation"
        held_out = {file.name.partition(".")[0] for file in folder.glob("*.*")} - {"summary"}
        seen = sorted(set(split[fold]) - held_out) if held_out and fold < len(split) else []
        if seen:
            raise ValueError(
                f"{split_file}: fold {fold} has {listed(seen)}, which nnU-Net's fold_{fold} was trained "
                f"on: expected "
                "nnU-Net's own split, splits_final.json in its folder of preprocessed data"
            )
