"""The networks of bundles: a student's with random weights, a teacher's with its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from dckd_ext.bundle.config import StrPath, bundle_root, config_file, importable, load_bundle_config
from dckd_ext.networks import Teacher, load_weights

__all__ = ["student_network", "teacher_network"]


def student_network(bundle: StrPath) -> nn.Module:
    """Build the `network_def` of a bundle, with random weights. This runs the bundle's code.

    Args:
        bundle: folder of the bundle.

    Raises:
        FileNotFoundError: if the folder or its config is missing.
        ValueError: if the config has no `network_def` or does not build a network from it.
    """
    parser = load_bundle_config(bundle)
    file = config_file(bundle_root(bundle))
    if "network_def" not in parser:
        raise ValueError(f"{file} has no key 'network_def', only {sorted(parser.get())}")
    with importable(bundle_root(bundle)):
        network = parser.get_parsed_content("network_def")
    if not isinstance(network, nn.Module):
        raise ValueError(f"'network_def' in {file} should build a network, it gives {type(network).__name__}")
    return network


def teacher_network(
    bundle: StrPath, weights: StrPath | None = None, label_map: Mapping[int, int] | None = None
) -> Teacher:
    """Build the network of a bundle with its weights, frozen and in eval mode. This runs the bundle's code.

    Args:
        bundle: folder of the bundle.
        weights: state dict of the network; `models/model.pt` of the bundle by default.
        label_map: student class of every teacher class, see `Teacher`.

    Returns:
        The network, wrapped so that it answers with one map of logits in the student's class order. Taps take
        the names of the wrapped network.

    Raises:
        FileNotFoundError: if the folder, its config or the weights are missing.
        ValueError: if the weights are not those of the network, or not finite.
    """
    network = student_network(bundle)
    file = Path(weights) if weights else bundle_root(bundle) / "models" / "model.pt"
    load_weights(network, file)
    return Teacher(network, label_map)
