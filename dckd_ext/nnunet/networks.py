"""nnU-Net's networks and weights, from plans and checkpoints."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dckd_ext.networks import PlainUNet
from dckd_ext.networks.state_dicts import load_plain, numpy_in_weights
from dckd_ext.nnunet.folder import ResultsFolder

__all__ = ["network_config", "read_checkpoint"]

_ARCHITECTURES = "dynamic_network_architectures"


def network_config(folder: ResultsFolder) -> dict[str, Any]:
    """Return the ``network_def`` of a configuration.

    nnU-Net's default, a plain U-Net of two convolutions a level with instance norm, is made of MONAI's parts;
    another one needs the package ``dynamic_network_architectures``.

    Raises:
        ValueError: for plans of before nnU-Net 2.5, a network of another package, or one that needs that
            package
            where it is not installed.
    """
    file = folder.root / "plans.json"
    if "architecture" not in folder.plans:
        raise ValueError(f"{file}: no key 'architecture', expected plans of nnU-Net 2.5 or newer")
    architecture = folder.plans["architecture"]
    name, options = str(architecture["network_class_name"]), dict(architecture["arch_kwargs"])
    if _is_plain(name, options):
        return _plain_config(folder, options)
    if not name.startswith(f"{_ARCHITECTURES}."):
        raise ValueError(f"{file}: the network is {name}, expected one of {_ARCHITECTURES}")
    if importlib.util.find_spec(_ARCHITECTURES) is None:
        raise ValueError(
            f"{file}: {name.rpartition('.')[2]} needs the package {_ARCHITECTURES}; in the source tree: "
            "pip install '.[nnunet]'"
        )
    for key in architecture.get("_kw_requires_import", []):
        if options.get(key) is not None:
            options[key] = _torch_class(file, str(options[key]))
    return {
        "_target_": name,
        "input_channels": len(folder.channels),
        "num_classes": len(folder.classes),
        **options,
        "deep_supervision": False,
    }


def _torch_class(file: Path, name: str) -> str:
    if not name.startswith("torch.nn.") or not name.replace(".", "").replace("_", "").isalnum():
        raise ValueError(f"{file}: the network is made of {name!r}, expected classes of torch.nn")
    return f"${name}"


def _is_plain(name: str, options: Mapping[str, Any]) -> bool:
    def twice(key: str) -> bool:
        return set(np.atleast_1d(options.get(key, 0))) == {2}

    return (
        name.rpartition(".")[2] == "PlainConvUNet"
        and twice("n_conv_per_stage")
        and twice("n_conv_per_stage_decoder")
        and options["n_stages"] >= 3
        and str(options.get("conv_op")).endswith("Conv3d")
        and str(options.get("norm_op")).endswith("InstanceNorm3d")
        and bool((options.get("norm_op_kwargs") or {}).get("affine"))
        and str(options.get("nonlin")).endswith("LeakyReLU")
        and not options.get("dropout_op")
        and not options.get("nonlin_first")
    )


def _plain_config(folder: ResultsFolder, options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "_target_": "dckd_ext.networks.PlainUNet",
        "spatial_dims": 3,
        "in_channels": len(folder.channels),
        "out_channels": len(folder.classes),
        "kernel_size": options["kernel_sizes"],
        "strides": options["strides"],
        "upsample_kernel_size": options["strides"][1:],
        "filters": options["features_per_stage"],
        "norm_name": ["INSTANCE", dict(options["norm_op_kwargs"])],
        "act_name": ["leakyrelu", {"negative_slope": 0.01, **(options.get("nonlin_kwargs") or {})}],
        "trans_bias": bool(options.get("conv_bias", False)),
    }


def read_checkpoint(file: Path, network: torch.nn.Module) -> dict[str, Tensor]:
    """Read the weights of a fold, by the names of a network of `network_config`; no code of the file runs.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds anything but tensors, plain values and numpy's numbers, or no weights.
    """
    with numpy_in_weights():
        try:
            content = load_plain(file)
        except ValueError as error:
            raise ValueError(
                f"{error}. If you trust the file, write what is needed of it by nnU-Net's own environment: "
                "torch.save({'network_weights': torch.load(FILE, weights_only=False)['network_weights']}, "
                "FILE)"
            ) from None
    weights = content.get("network_weights") if isinstance(content, Mapping) else None
    if not isinstance(weights, Mapping):
        raise ValueError(f"{file}: expected a checkpoint of nnU-Net, with 'network_weights'")
    weights = {
        key.removeprefix("module.").removeprefix("_orig_mod."): value for key, value in weights.items()
    }
    return _renamed(weights, network) if isinstance(network, PlainUNet) else dict(weights)


def _renamed(weights: Mapping[str, Tensor], network: PlainUNet) -> dict[str, Tensor]:
    """Rename the weights of a PlainConvUNet.

    The biases before an instance norm are left out: it subtracts whatever they add.
    """
    last = len(network.strides) - 1
    renamed = {}
    for key, value in weights.items():
        part, kind, *rest = key.split(".")
        level = int(rest[0]) if rest and rest[0].isdigit() else -1
        if part == "encoder" and kind == "stages":
            block = {0: "input_block", last: "bottleneck"}.get(level, f"downsamples.{level - 1}")
            name = _of_block(block, rest[2:])
        elif part == "decoder" and kind == "stages":
            name = _of_block(f"upsamples.{level}.conv_block", rest[1:])
        elif part == "decoder" and kind == "transpconvs":
            name = f"upsamples.{level}.transp_conv.conv.{rest[1]}"
        elif part == "decoder" and kind == "seg_layers" and level == last - 1:
            name = f"output_block.conv.conv.{rest[1]}"
        else:  # the decoder lists the encoder again; the other heads are for training
            name = None
        if name:
            renamed[name] = value
    return {
        key: renamed[unskipped]
        for key in network.state_dict()
        if (unskipped := _without_skips(key, last)) in renamed
    }


def _of_block(block: str, rest: list[str]) -> str | None:
    """Name a weight ``convs.NUMBER.conv.weight`` in a block of two convolutions."""
    _, number, layer, *kind = rest
    if layer == "conv" and kind == ["weight"]:
        return f"{block}.conv{int(number) + 1}.conv.weight"
    return f"{block}.norm{int(number) + 1}.{kind[0]}" if layer == "norm" else None


def _without_skips(key: str, last: int) -> str:
    """Name a weight by its block: MONAI's ``DynUNet`` lists each a second time, nested in ``skip_layers``."""
    if not key.startswith("skip_layers."):
        return key
    parts = key.split(".")[1:]
    level = 0
    while parts[0] == "next_layer" and level < last - 1:
        parts, level = parts[1:], level + 1
    if parts[0] == "next_layer":
        return ".".join(["bottleneck", *parts[1:]])
    if parts[0] == "upsample":
        return ".".join([f"upsamples.{last - 1 - level}", *parts[1:]])
    return ".".join(["input_block" if level == 0 else f"downsamples.{level - 1}", *parts[1:]])
