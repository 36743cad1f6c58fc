"""Networks and class names read from any MONAI bundle, the model zoo's included."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import torch.nn as nn
from monai.bundle import ConfigParser

from dckd_ext.networks import Teacher, check_weights, load_weights

__all__ = [
    "Teacher",
    "check_compatible",
    "class_names",
    "in_channels",
    "load_bundle_config",
    "student_network",
    "teacher_network",
]

StrPath = str | PathLike[str]


def load_bundle_config(bundle: StrPath) -> ConfigParser:
    """Read a bundle's inference config, or its train config where it has none, with the metadata.

    Nothing is evaluated yet. To evaluate is to run the bundle's code: use bundles that you trust.

    Args:
        bundle: folder of the bundle; `bundle_root` in the config becomes its absolute path.

    Raises:
        FileNotFoundError: if the folder, its config or its metadata is missing.
    """
    root = _root(bundle)
    parser = ConfigParser()
    parser.read_config(_config_file(root))
    parser.read_meta(_metadata_file(root))
    parser["bundle_root"] = str(root)
    return parser


def student_network(bundle: StrPath) -> nn.Module:
    """Build the `network_def` of a bundle, with random weights.

    Args:
        bundle: folder of the bundle.

    Raises:
        FileNotFoundError: if the folder or its config is missing.
        ValueError: if the config has no `network_def` or does not build a network from it.
    """
    parser = load_bundle_config(bundle)
    file = _config_file(_root(bundle))
    if "network_def" not in parser:
        raise ValueError(f"{file} has no key 'network_def', only {sorted(parser.get())}.")
    with importable(_root(bundle)):
        network = parser.get_parsed_content("network_def")
    if not isinstance(network, nn.Module):
        raise ValueError(
            f"'network_def' in {file} should build a network, it gives {type(network).__name__}."
        )
    return network


def teacher_network(
    bundle: StrPath, weights: StrPath | None = None, label_map: Mapping[int, int] | None = None
) -> Teacher:
    """Build the network of a bundle with its weights, frozen and in eval mode.

    Args:
        bundle: folder of the bundle.
        weights: state dict of the network; `models/model.pt` of the bundle by default.
        label_map: student class of every teacher class, see `Teacher`.

    Returns:
        The network, wrapped so that it answers with one map of logits in the student's class order. Taps take
        the names of the wrapped network.

    Raises:
        FileNotFoundError: if the folder, its config or the weights are missing.
        ValueError: if the weights are not those of the network.
    """
    network = student_network(bundle)
    file = Path(weights) if weights else _root(bundle) / "models" / "model.pt"
    check_weights(file)
    load_weights(network, file)
    return Teacher(network, label_map)


def class_names(bundle: StrPath) -> dict[int, str]:
    """Read the names of a bundle's classes, background included, from its metadata.

    Args:
        bundle: folder of the bundle.

    Raises:
        FileNotFoundError: if the folder or its metadata is missing.
        ValueError: if the metadata has no `channel_def` for the output `pred`, not one from class 0 on, or
            one that disagrees with its `num_channels`.
    """
    key = "network_data_format#outputs#pred#channel_def"
    names = {int(index): str(name) for index, name in _metadata(bundle, key).items()}
    if sorted(names) != list(range(len(names))):
        raise ValueError(f"'{key}' of {bundle} should name the classes 0, 1, ... without a gap, got {names}.")
    channels = _metadata(bundle, "network_data_format#outputs#pred").get("num_channels", len(names))
    if channels != len(names):
        raise ValueError(f"'{key}' of {bundle} names {len(names)} classes, but 'num_channels' is {channels}.")
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


def check_compatible(
    teacher_bundle: StrPath, student_bundle: StrPath, label_map: Mapping[int, int] | None = None
) -> None:
    """Check that a teacher can teach a student: equal input channels, the same classes in the same order.

    With a label map every teacher class must go to a student class, every student class must be reached, and
    a class that both name (in any case) must go to its namesake; other names are taken as meant.

    Args:
        teacher_bundle: folder of the teacher's bundle.
        student_bundle: folder of the student's bundle.
        label_map: student class of every teacher class.

    Raises:
        ValueError: if they do not fit; where only the order differs, the message holds the label map to pass.
    """
    channels = in_channels(teacher_bundle), in_channels(student_bundle)
    if channels[0] != channels[1]:
        raise ValueError(f"The teacher takes images of {channels[0]} channels, the student of {channels[1]}.")
    teacher, student = class_names(teacher_bundle), class_names(student_bundle)
    both = f"teacher {teacher}, student {student}"
    of_name = {_plain(name): index for index, name in student.items()}
    namesakes = {index: of_name[_plain(name)] for index, name in teacher.items() if _plain(name) in of_name}
    if label_map is None:
        if len(teacher) == len(student) and namesakes == {index: index for index in student}:
            return
        if len(teacher) == len(student) == len(set(namesakes.values())):
            raise ValueError(f"The classes come in another order: {both}. Pass label_map={namesakes}.")
        raise ValueError(f"The classes differ: {both}. Pass a label_map, or choose another teacher.")
    label_map = {int(index): int(target) for index, target in label_map.items()}
    if set(label_map) != set(teacher) or set(label_map.values()) != set(student):
        raise ValueError(
            f"label_map {label_map} should name every teacher class and reach every student class: {both}."
        )
    wrong = {
        teacher[index]: student[label_map[index]]
        for index in namesakes
        if label_map[index] != namesakes[index]
    }
    if wrong:
        raise ValueError(f"label_map {label_map} mixes up classes of the same name ({wrong}): {both}.")


def _root(bundle: StrPath) -> Path:
    root = Path(bundle).expanduser().resolve()
    if not root.is_dir():
        raise FileNotFoundError(f"No bundle folder at {root}.")
    return root


def _config_file(root: Path) -> Path:
    names = [
        f"configs/{kind}.{ending}" for kind in ("inference", "train") for ending in ("json", "yaml", "yml")
    ]
    for name in names:
        if (root / name).is_file():
            return root / name
    raise FileNotFoundError(f"{root} is no bundle: it has none of {names}.")


def _metadata_file(root: Path) -> Path:
    file = root / "configs" / "metadata.json"
    if not file.is_file():
        raise FileNotFoundError(f"The bundle has no metadata at {file}.")
    return file


def _metadata(bundle: StrPath, key: str) -> Any:
    file = _metadata_file(_root(bundle))
    value = json.loads(file.read_text(encoding="utf-8"))
    for part in key.split("#"):
        if not isinstance(value, dict) or part not in value:
            found = sorted(value) if isinstance(value, dict) else value
            raise ValueError(f"{file} has no key '{key}': in place of '{part}' there is {found}.")
        value = value[part]
    return value


@contextmanager
def importable(root: Path) -> Iterator[None]:
    """Let the config import the bundle's own `scripts`, whatever `scripts` of another bundle is loaded."""
    others = _take_scripts()
    sys.path.insert(0, str(root))
    try:
        yield
    finally:
        sys.path.remove(str(root))
        _take_scripts()
        sys.modules.update(others)


def _take_scripts() -> dict[str, Any]:
    names = [name for name in sys.modules if name.partition(".")[0] == "scripts"]
    return {name: sys.modules.pop(name) for name in names}


def _plain(name: str) -> str:
    return name.strip().casefold()
