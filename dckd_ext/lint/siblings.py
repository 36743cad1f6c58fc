"""Bundles that must be equal but for a table of exceptions, `exceptions.yaml` in the folder they are in.

The table is a list; ``*`` in ``bundle`` stands for the same text in ``sibling``::

    - bundle: "*_unet_student_segmentation"
      sibling: "*_teacher_segmentation"
      may_differ:
        train.yaml: [network_def, epochs]

Every file that both have in ``configs`` is compared: JSON and YAML by their keys at the top and those of
``train`` and ``validate``, other files as a whole.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from dckd_ext.lint.config import Finding, load_file

__all__ = ["TABLE", "differences", "pairs", "sibling_differences"]


class _Nothing:
    def __repr__(self) -> str:
        return "nothing"


NOTHING = _Nothing()
TABLE = "exceptions.yaml"
_short = reprlib.Repr()
_short.maxstring = 60
_PARTS = ("train", "validate")


def sibling_differences(root: Path) -> list[Finding]:
    """Keys in which a bundle differs from its siblings, against the table; nothing where there is no table.

    Args:
        root: folder of the bundle.

    Raises:
        ValueError: if the table cannot be understood.
    """
    here = root.resolve()
    names: dict[tuple[str, str, str, str], list[str]] = {}
    for one, other, may_differ in pairs(here.parent):
        if here not in (one, other):
            continue
        sibling = other if here == one else one
        for file in sorted(path.name for path in (here / "configs").iterdir() if path.is_file()):
            if not (sibling / "configs" / file).is_file():
                continue
            for key, values in differences(here / "configs" / file, sibling / "configs" / file).items():
                if key not in may_differ.get(file, ()):
                    ours, theirs = map(_short.repr, values)
                    names.setdefault((file, key, ours, theirs), []).append(sibling.name)
    return [
        Finding(
            str(root / "configs" / file),
            key,
            f"found {ours}, expected {theirs} as in {', '.join(siblings)}, or a row of {TABLE}",
        )
        for (file, key, ours, theirs), siblings in names.items()
    ]


def pairs(folder: Path) -> Iterator[tuple[Path, Path, dict[str, list[str]]]]:
    """List the bundles that a folder's table compares, with the keys of each file in which they may differ.

    Raises:
        ValueError: if the table cannot be understood.
    """
    table = folder / TABLE
    if not table.is_file():
        return
    rows = yaml.safe_load(table.read_text(encoding="utf-8"))
    for row in rows if isinstance(rows, list) else [rows]:
        if not isinstance(row, dict) or row.keys() != {"bundle", "sibling", "may_differ"}:
            raise ValueError(f"{table}: expected a list of bundle, sibling and may_differ, found {row}")
        name = re.compile(re.escape(row["bundle"]).replace(r"\*", "(.+)"))
        for bundle in sorted(folder.iterdir()):
            if found := name.fullmatch(bundle.name):
                sibling = folder / row["sibling"].replace("*", found.group(1) if found.groups() else "")
                if sibling.is_dir() and bundle.is_dir():
                    yield bundle, sibling, row["may_differ"]


def differences(one: Path, other: Path) -> dict[str, tuple[Any, Any]]:
    """Both values of every key in which two config files differ; other files differ in the one key 'text'.

    A key that one of them lacks has there the value `NOTHING`.
    """
    configs = one.suffix in (".yaml", ".yml", ".json")
    ours, theirs = (
        _flat(load_file(file)) if configs else {"text": file.read_text()} for file in (one, other)
    )
    both = {
        key: (ours.get(key, NOTHING), theirs.get(key, NOTHING)) for key in sorted(ours.keys() | theirs.keys())
    }
    return {key: values for key, values in both.items() if values[0] != values[1]}


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    flat = {key: value for key, value in config.items() if key not in _PARTS}
    for part in _PARTS:
        flat.update({f"{part}#{key}": value for key, value in config.get(part, {}).items()})
    return flat
