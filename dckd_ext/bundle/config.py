"""The configs of any MONAI bundle."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from yaml import YAMLError

from dckd_ext.utils.documents import read_mapping

__all__ = ["StrPath", "bundle_root", "config_file", "importable", "load_bundle_config", "metadata_file"]

StrPath = str | PathLike[str]


def load_bundle_config(bundle: StrPath) -> ConfigParser:
    """Read a bundle's inference config, or its train config where it has none, with the metadata.

    Nothing is evaluated yet. To evaluate is to run the bundle's code: use bundles that you trust.

    Args:
        bundle: folder of the bundle; `bundle_root` in the config becomes its absolute path.

    Raises:
        FileNotFoundError: if the folder, its config or its metadata is missing.
        ValueError: if one of the two is broken; names the file.
    """
    root = bundle_root(bundle)
    parser, config = ConfigParser(), config_file(root)
    try:
        parser.read_config(config)
    except (ValueError, AttributeError, YAMLError) as error:  # the second for what is no mapping
        raise ValueError(f"{config}: cannot be read as a config: {' '.join(str(error).split())}") from error
    parser.read_meta(read_mapping(metadata_file(root)))
    parser["bundle_root"] = str(root)
    return parser


def bundle_root(bundle: StrPath) -> Path:
    """Return the absolute folder of a bundle; raises FileNotFoundError if there is none."""
    root = Path(bundle).expanduser().resolve()
    if not root.is_dir():
        raise FileNotFoundError(f"No bundle folder at {root}")
    return root


def config_file(root: Path) -> Path:
    """Return a bundle's inference config, or its train config where it has none."""
    names = [
        f"configs/{kind}.{ending}" for kind in ("inference", "train") for ending in ("json", "yaml", "yml")
    ]
    for name in names:
        if (root / name).is_file():
            return root / name
    raise FileNotFoundError(f"{root} is no bundle: it has none of {names}")


def metadata_file(root: Path) -> Path:
    """Return a bundle's metadata; raises FileNotFoundError if there is none."""
    file = root / "configs" / "metadata.json"
    if not file.is_file():
        raise FileNotFoundError(f"The bundle has no metadata at {file}")
    return file


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
