"""What a bundle's docs say: the lists of config files that commands use, and run ids."""

from __future__ import annotations

import re
from pathlib import Path

from dckd_ext.lint.config import Finding

__all__ = ["config_lists", "run_ids", "unknown_files"]

_COMMAND = re.compile(r"""monai\.bundle run[ \t].*?--config_file[=\s]+("[^"]*"|'[^']*'|\S+)""")
_FILE = re.compile(r"configs/([\w.-]+\.(?:json|ya?ml))")
_RUN_ID = re.compile(r"monai\.bundle run +(\w+)")


def config_lists(root: Path) -> list[list[Path]]:
    """List the config files to check: train and inference alone, and those of the commands in the docs.

    Args:
        root: folder of the bundle.

    Raises:
        FileNotFoundError: if there is neither.
    """
    files = sorted((root / "configs").glob("*"))
    alone = [[file] for kind in ("train", "inference") for file in files if _config_called(file, kind)]
    documented = [[root / "configs" / name for name in names] for names in _commands(root)]
    lists = [names for names in [*alone, *documented] if all(file.is_file() for file in names)]
    if not lists:
        raise FileNotFoundError(
            f"{root}: expected configs/train.* or configs/inference.* (json, yaml, yml), or commands in docs"
        )
    return [names for index, names in enumerate(lists) if names not in lists[:index]]


def unknown_files(root: Path) -> list[Finding]:
    """Find config files of commands in the docs that the bundle does not have."""
    names = {name for names in _commands(root) for name in names}
    return [
        Finding(str(root / "docs"), "--config_file", f"a command uses configs/{name}, which is not there")
        for name in sorted(names)
        if not (root / "configs" / name).is_file()
    ]


def run_ids(root: Path) -> set[str]:
    """List the ids that the docs tell to run."""
    return set(_RUN_ID.findall(_text(root)))


def _commands(root: Path) -> list[list[str]]:
    found = (_FILE.findall(value) for value in _COMMAND.findall(_text(root)))
    return [names for names in found if names]


def _text(root: Path) -> str:
    """Return the docs, with each command on one line."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted((root / "docs").glob("*.md")))
    return re.sub(r"\\\s*\n", " ", text)


def _config_called(file: Path, kind: str) -> bool:
    return file.stem == kind and file.suffix in (".json", ".yaml", ".yml")
