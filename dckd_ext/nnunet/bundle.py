"""A results folder of nnU-Net as a MONAI bundle: its configs in memory, or written with the weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

import torch
import yaml
from monai.bundle import ConfigParser
from torch import nn

from dckd_ext import __version__
from dckd_ext.networks.state_dicts import load_state
from dckd_ext.nnunet.folder import ResultsFolder, read_results_folder
from dckd_ext.nnunet.networks import network_config, read_checkpoint
from dckd_ext.utils.documents import read_mapping
from dckd_ext.utils.files import written_whole

__all__ = ["chosen_folds", "folder_config", "folder_metadata", "load_fold", "write_bundle"]

_TEMPLATE = Path(__file__).with_name("inference.yaml")


def folder_config(folder: ResultsFolder, folds: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the inference config of a results folder.

    Args:
        folder: of `read_results_folder`.
        folds: the network is that of one fold, or the mean of several; None: one, whatever its weights.

    Raises:
        ValueError: as `network_config`.
    """
    network = network_config(folder)
    if folds is not None and len(folds) > 1:
        network = {"_target_": "dckd_ext.networks.MeanLogits", "members": [network for _ in folds]}
    return {
        **read_mapping(_TEMPLATE),
        "patch_size": folder.plans["patch_size"],
        "in_channels": len(folder.channels),
        "network_def": network,
        "preprocessing": {"_target_": "Compose", "transforms": _preprocessing(folder)},
    }


def _preprocessing(folder: ResultsFolder) -> list[dict[str, Any]]:
    options, back = (folder.plans[f"resampling_fn_{kind}_kwargs"] for kind in ("data", "probabilities"))
    turned = {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None}
    return [
        {"_target_": "dckd_ext.transforms.ReadVolumed", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "dckd_ext.transforms.CheckVolumed", "in_channels": "@in_channels"},
        *([turned] if folder.turned else []),
        {"_target_": "dckd_ext.transforms.PermuteAxesd", "keys": "image", "axes": list(folder.axes)},
        {
            "_target_": "CropForegroundd",
            "keys": "image",
            "source_key": "image",
            "select_fn": "$lambda image: image != 0",
            "allow_smaller": True,
        },
        {
            "_target_": "dckd_ext.transforms.PlannedIntensityd",
            "keys": "image",
            "channels": [dict(channel) for channel in folder.intensities],
        },
        {
            "_target_": "dckd_ext.transforms.PlannedSpacingd",
            "keys": "image",
            "spacing": folder.plans["spacing"],
            "order": options.get("order", 3),
            "inverse_order": back.get("order", 1),
            "separate": options.get("force_separate_z"),
        },
    ]


def folder_metadata(folder: ResultsFolder) -> dict[str, Any]:
    """Return the metadata of a results folder: its classes and channels, and what a bundle has to say."""
    name = str(folder.dataset.get("name") or folder.root.parent.name)
    common = {
        "type": "image",
        "spatial_shape": folder.plans["patch_size"],
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": True,
    }
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json",
        "version": "0.1.0",
        "changelog": {"0.1.0": f"made from nnU-Net's {folder.root.name}"},
        "monai_version": version("monai"),
        "pytorch_version": torch.__version__.partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {"dckd-ext": __version__, "nibabel": version("nibabel")},
        "supported_apps": {},
        "name": f"{name} by nnU-Net",
        "task": f"Segmentation of {', '.join(list(folder.classes.values())[1:])}",
        "description": f"nnU-Net's {folder.root.name}, trained on {name}",
        "authors": str(folder.dataset.get("author") or "those who trained it"),
        "copyright": str(
            folder.dataset.get("licence") or folder.dataset.get("license") or "of those who trained it"
        ),
        "network_data_format": {
            "inputs": {
                "image": {
                    **common,
                    "format": "magnitude",
                    "modality": folder.channels[0],
                    "num_channels": len(folder.channels),
                    "channel_def": {str(number): name for number, name in enumerate(folder.channels)},
                }
            },
            "outputs": {
                "pred": {
                    **common,
                    "format": "segmentation",
                    "num_channels": len(folder.classes),
                    "channel_def": {str(number): name for number, name in folder.classes.items()},
                }
            },
        },
    }


def chosen_folds(folder: ResultsFolder, folds: Sequence[str] | None = None) -> dict[str, Path]:
    """Return the weights of folds, or of all that are there; of "all" only where it is alone, as in nnU-Net.

    Raises:
        FileNotFoundError: if there are no weights, or none of one of the folds.
    """
    there = dict(folder.checkpoints)
    if not there:
        raise FileNotFoundError(
            f"{folder.root}: expected fold_0/checkpoint_final.pth, or that of another fold"
        )
    if folds is None:
        return {fold: file for fold, file in there.items() if fold != "all"} or there
    if missing := [fold for fold in folds if fold not in there]:
        raise FileNotFoundError(
            f"{folder.root}: no checkpoint of fold {', '.join(missing)}, only of {', '.join(there)}"
        )
    return {fold: there[fold] for fold in folds}


def load_fold(network: nn.Module, file: str | PathLike[str]) -> None:
    """Load the weights of a fold into the network of `network_config`; every name and shape has to agree.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: as `read_checkpoint`, and if the weights are those of another network, or not finite.
    """
    load_state(network, read_checkpoint(Path(file), network), Path(file))


def write_bundle(
    results: str | PathLike[str], out: str | PathLike[str], folds: Sequence[str] | None = None
) -> list[Path]:
    """Write a results folder as a MONAI bundle that segments as nnU-Net's own predictor without mirroring.

    Args:
        results: nnU-Net's folder ``TRAINER__PLANS__CONFIGURATION``.
        out: folder of the bundle, which must not be there, or be empty.
        folds: one fold, or several whose logits are averaged; by default all with weights.

    Returns:
        The files.

    Raises:
        FileNotFoundError: if the folder or weights are missing.
        ValueError: for what cannot be taken over, see `read_results_folder` and `network_config`; if
            ``out`` is in use.
    """
    folder, root = read_results_folder(results), Path(out)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise ValueError(f"{root} is there already: expected a new or an empty folder")
    checkpoints = chosen_folds(folder, folds)
    config = folder_config(folder, list(checkpoints))
    network = ConfigParser({"network_def": config["network_def"]}).get_parsed_content("network_def")
    members = network.members if len(checkpoints) > 1 else [network]
    for member, file in zip(members, checkpoints.values(), strict=True):
        load_fold(member, file)
    return [
        _written(root / "configs" / "inference.yaml", _config_text(config)),
        _written(root / "configs" / "metadata.json", json.dumps(folder_metadata(folder), indent=4)),
        _written(root / "docs" / "README.md", _model_card(folder, list(checkpoints))),
        _weights(root / "models" / "model.pt", network),
    ]


def _config_text(config: Mapping[str, Any]) -> str:
    """Write the config: the template as it stands, and what the plans say beneath."""
    planned = {key: value for key, value in config.items() if key not in read_mapping(_TEMPLATE)}
    plain = json.loads(json.dumps(planned))  # without YAML's anchors for what comes twice
    text = yaml.safe_dump(plain, sort_keys=False, width=110, default_flow_style=None)
    return f"{_TEMPLATE.read_text(encoding='utf-8')}\n# from nnU-Net's plans\n{text}"


def _model_card(folder: ResultsFolder, folds: Sequence[str]) -> str:
    names = ", ".join(f"{number} {name}" for number, name in folder.classes.items())
    return (
        f"# {folder_metadata(folder)['name']}\n\nnnU-Net's {folder.root.name}, fold {', '.join(folds)}, "
        f"made by "
        f"`dckd import nnunet`.\n\n- Channels: {', '.join(folder.channels)}\n- Classes: {names}\n"
        f"- Spacing: {folder.plans['spacing']} mm; window: {folder.plans['patch_size']} voxels; axes as "
        f"SimpleITK "
        "gives them (z, y, x)\n\nIts licence is that of the weights and of the data that they were "
        "trained on.\n"
    )


def _written(file: Path, text: str) -> Path:
    with written_whole(file) as beside:
        beside.write_text(text, encoding="utf-8")
    return file


def _weights(file: Path, network: nn.Module) -> Path:
    with written_whole(file) as beside:
        torch.save(network.state_dict(), beside)
    return file
