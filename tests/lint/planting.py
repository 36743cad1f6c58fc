"""Copies of bundles, and the defects that are put into them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser

from dckd_ext.lint import Finding

GONE = object()


def copy_of(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target, ignore=shutil.ignore_patterns("models", "output", "eval")))


def plant(root: Path, file: str, changes: dict[str, Any]) -> None:
    """Set ids of a config file, or remove them; an id that begins with a slash is a key as it is."""
    path = root / "configs" / file
    parser = ConfigParser(ConfigParser.load_config_file(path))
    for at, value in changes.items():
        parent, _, key = at.rpartition("#")
        if at.startswith("/"):
            parser.get()[at[1:]] = value
        elif value is GONE:
            del parser[parent][key]
        else:
            parser[at] = value
    dump = json.dumps if path.suffix == ".json" else yaml.safe_dump
    path.write_text(dump(parser.get()))


def the_finding(found: list[Finding], file: str, key: str, text: str) -> None:
    assert [(Path(one.file).name, one.key) for one in found] == [(file, key)], [*map(str, found)]
    assert text in str(found[0])
