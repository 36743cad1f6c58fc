"""The configs of any MONAI bundle."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from yaml import YAMLError

from dckd_ext.bundle.foreign import on_this_device, override
from dckd_ext.networks.state_dicts import numpy_in_weights
from dckd_ext.nnunet import folder_config, folder_metadata, is_results_folder, read_results_folder
from dckd_ext.utils.documents import read_mapping

__all__ = [
    "StrPath",
    "bundle_root",
    "config_file",
    "evaluated",
    "importable",
    "is_distillation",
    "load_bundle_config",
    "read_metadata",
]

StrPath = str | PathLike[str]


def load_bundle_config(bundle: StrPath, overrides: Mapping[str, Any] | None = None) -> ConfigParser:
    """Read a bundle's inference config, or its train config where it has none, with the metadata.

    Nothing is evaluated yet. To evaluate is to run the bundle's code: use bundles that you trust. Without
    CUDA, expressions that name it name the CPU.

    Args:
        bundle: folder of the bundle, or a results folder of nnU-Net; `bundle_root` in the config becomes
            its absolute path.
        overrides: values for keys of the config, or arguments of its `network_def`; None takes an argument
            out.

    Raises:
        FileNotFoundError: if the folder, its config or its metadata is missing.
        ValueError: if one of the two is broken, or an override has no place; names the file.
    """
    root = bundle_root(bundle)
    parser = ConfigParser()
    parser.set(on_this_device(_read_config(root)))
    parser.read_meta(read_metadata(root))
    parser["bundle_root"] = str(root)
    override(parser, overrides)
    return parser


def _read_config(root: Path) -> Any:
    if is_results_folder(root):
        return folder_config(read_results_folder(root))
    parser, config = ConfigParser(), config_file(root)
    try:
        parser.read_config(config)
    except (ValueError, AttributeError, YAMLError) as error:  # the second for what is no mapping
        raise ValueError(f"{config}: cannot be read as a config: {' '.join(str(error).split())}") from error
    return parser.get()


def evaluated(parser: ConfigParser, key: str, instantiate: bool = True) -> Any:
    """Evaluate a key of a config of `load_bundle_config`, with the bundle's own `scripts`.

    ``torch.load`` in it reads tensors, plain values and NumPy's arrays, and runs no code of its file.

    Args:
        parser: of the config.
        key: to evaluate.
        instantiate: whether to build components, or to give them as `ConfigComponent`.
    """
    with importable(Path(parser["bundle_root"])), numpy_in_weights():
        return parser.get_parsed_content(key, instantiate=instantiate)


def is_distillation(bundle: StrPath) -> bool:
    """Tell whether a bundle is a workflow that trains another bundle's network and has no weights of its own.

    Its train config has the keys ``teacher_bundle`` and ``student_bundle``. One that is missing or broken
    tells nothing.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    files = [file for file in _config_files(bundle_root(bundle), "train") if file.is_file()]
    try:
        config = ConfigParser.load_config_file(files[0]) if files else None
    except (ValueError, YAMLError):
        return False
    return isinstance(config, dict) and {"teacher_bundle", "student_bundle"} <= config.keys()


def bundle_root(bundle: StrPath) -> Path:
    """Return the absolute folder of a bundle; raises FileNotFoundError if there is none."""
    root = Path(bundle).expanduser().resolve()
    if not root.is_dir():
        raise FileNotFoundError(f"No bundle folder at {root}")
    return root


def config_file(root: Path) -> Path:
    """Return a bundle's inference config, its train config where it has none, or the plans of nnU-Net."""
    if is_results_folder(root):
        return root / "plans.json"
    files = [*_config_files(root, "inference"), *_config_files(root, "train")]
    for file in files:
        if file.is_file():
            return file
    names = [file.relative_to(root).as_posix() for file in files]
    raise FileNotFoundError(f"{root} is no bundle: it has none of {names}")


def _config_files(root: Path, kind: str) -> list[Path]:
    """Return where a bundle may have its train or inference config."""
    return [root / "configs" / f"{kind}.{ending}" for ending in ("json", "yaml", "yml")]


def read_metadata(root: Path) -> dict[str, Any]:
    """Read a bundle's metadata, or make it of what nnU-Net says of its data set.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is broken; names the file.
    """
    if is_results_folder(root):
        return folder_metadata(read_results_folder(root))
    file = root / "configs" / "metadata.json"
    if not file.is_file():
        raise FileNotFoundError(f"The bundle has no metadata at {file}")
    return read_mapping(file)


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
