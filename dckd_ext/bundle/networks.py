"""The networks of bundles: a student's with random weights, a teacher's with its own."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from monai.utils import get_package_version
from torch import nn

from dckd_ext.bundle.config import StrPath, bundle_root, config_file, evaluated, load_bundle_config
from dckd_ext.bundle.plain_networks import is_factory, network_of_factory, plain_network
from dckd_ext.networks import Teacher, load_weights
from dckd_ext.networks.class_maps import ClassMap
from dckd_ext.nnunet import chosen_folds, is_results_folder, load_fold, read_results_folder
from dckd_ext.utils.errors import first_line

__all__ = ["student_network", "teacher_network", "weights_file"]

_PROMPTS = {"point_coords", "point_labels", "class_vector", "prompt_class", "boxes", "masks"}


def student_network(bundle: StrPath, config: Mapping[str, Any] | None = None) -> nn.Module:
    """Build the `network_def` of a bundle, with random weights. This runs the bundle's code.

    Args:
        bundle: folder of the bundle.
        config: values for keys of its config, see `load_bundle_config`.

    Raises:
        FileNotFoundError: if the folder or its config is missing.
        ValueError: if the config has no `network_def`, does not build a network from it, or one that answers
            to prompts.
    """
    return _network(load_bundle_config(bundle, config))


def teacher_network(
    bundle: StrPath,
    weights: StrPath | None = None,
    label_map: Mapping[int, int] | ClassMap | None = None,
    config: Mapping[str, Any] | None = None,
) -> Teacher:
    """Build the network of a bundle with its weights, frozen and in eval mode. This runs the bundle's code.

    Args:
        bundle: folder of the bundle, whose `models/model.ts` teaches where it has no other weights; or a
            results folder of nnU-Net, whose first fold teaches; or a TorchScript or ONNX file, or
            ``module:function``, which returns a network. Scripted and ONNX
            networks give no features.
        weights: state dict of the network; `weights_file` of the bundle by default. Of a function's network
            they are as it returns them by default; files hold theirs.
        label_map: student class of every teacher class, see `Teacher`.
        config: values for keys of its config, see `load_bundle_config`.

    Returns:
        The network, wrapped so that it answers with one map of logits in the student's class order. Taps take
        the names of the wrapped network.

    Raises:
        FileNotFoundError: if the folder, its config or the weights are missing.
        ValueError: if there is no such network, or the weights are not those of it, or not finite.
    """
    return Teacher(_with_weights(bundle, Path(weights) if weights else None, config), label_map)


def _with_weights(bundle: StrPath, weights: Path | None, config: Mapping[str, Any] | None) -> nn.Module:
    if is_factory(str(bundle)):
        network = network_of_factory(str(bundle))
        if weights:
            load_weights(network, weights)
        return network
    path = Path(bundle).expanduser()
    if not path.is_dir():
        if weights:
            raise ValueError(f"{path} holds its weights: expected no teacher_weights, found {weights}")
        return plain_network(path)
    parser = load_bundle_config(path, config)
    if is_results_folder(path):
        network = _network(parser)
        load_fold(network, weights or next(iter(chosen_folds(read_results_folder(path)).values())))
        return network
    weights = weights or _weights_file(parser)
    if not weights.is_file() and (script := path / "models" / "model.ts").is_file():
        return plain_network(script)
    network = _network(parser)
    load_weights(network, weights)
    return network


def weights_file(bundle: StrPath, config: Mapping[str, Any] | None = None) -> Path:
    """Return the weights that a bundle's own `CheckpointLoader` reads, else its `models/model.pt`.

    Args:
        bundle: folder of the bundle.
        config: values for keys of its config, see `load_bundle_config`.
    """
    return _weights_file(load_bundle_config(bundle, config))


def _weights_file(parser: ConfigParser) -> Path:
    usual = Path(parser["bundle_root"]) / "models" / "model.pt"
    named = [Path(str(evaluated(parser, f"{place}#load_path"))) for place in _loaders(parser.get())]
    there = [file for file in [*named, usual] if file.is_file()]
    return there[0] if there else next(iter(named), usual)


def _loaders(config: Any, place: str = "") -> Iterator[str]:
    """Yield where a config has a `CheckpointLoader`."""
    if isinstance(config, dict) and str(config.get("_target_", "")).endswith("CheckpointLoader"):
        yield place
    parts = (
        config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else []
    )
    for key, value in parts:
        yield from _loaders(value, f"{place}#{key}" if place else str(key))


def _network(parser: ConfigParser) -> nn.Module:
    file = config_file(bundle_root(parser["bundle_root"]))
    if "network_def" not in parser:
        raise ValueError(f"{file} has no key 'network_def', only {sorted(parser.get())}")
    try:
        network = evaluated(parser, "network_def")
    except Exception as error:  # whatever the bundle's code raises
        raise ValueError(f"'network_def' in {file} cannot be built: {_cause(parser, error)}") from error
    if not isinstance(network, nn.Module):
        raise ValueError(f"'network_def' in {file} should build a network, it gives {type(network).__name__}")
    if prompts := sorted(_PROMPTS & inspect.signature(network.forward).parameters.keys()):
        raise ValueError(
            f"'network_def' in {file} builds {type(network).__name__}, which segments what a prompt asks for "
            f"({', '.join(prompts)}): expected a network that answers to the image alone"
        )
    return network


def _cause(parser: ConfigParser, error: Exception) -> str:
    """Say in one line why a network cannot be built, and how to build it where an argument is unknown."""
    text = first_line(error)
    unknown = re.search(r"unexpected keyword argument '(\w+)'", text)
    definition = parser.get("network_def")
    if not unknown or not isinstance(definition, dict) or unknown[1] not in definition:
        return text
    name = str(definition["_target_"]).rpartition(".")[2]
    return (
        f"{name} takes no {unknown[1]!r} (monai {get_package_version('monai')}): leave it out, for a teacher "
        f"by --teacher_config#{unknown[1]} null"
    )
