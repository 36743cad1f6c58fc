"""The name of a case: in tables, splits and masks alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from os import PathLike
from pathlib import PurePath

__all__ = ["case_names", "without_ending"]


def case_names(paths: Sequence[str | PathLike[str]]) -> list[str]:
    """Name volumes by the shortest part of their paths that tells them apart.

    One part is taken for all, the first of these under which no two have the same name: the file's name
    without its ending, the folder that holds it, the folder above that, and so on; then two neighbours of
    these, joined by "_"; then three. `dckd_ext.export.predict`, which is shipped alone, takes this module
    along.

    Args:
        paths: of the volumes, all relative to one folder or all absolute.

    Raises:
        ValueError: when no part tells two of them apart, as for a.nii beside a.nii.gz; names both paths.

    Examples:
        >>> case_names(["imagesTr/a_001.nii.gz", "imagesTr/a_002.nii.gz"])
        ['a_001', 'a_002']
        >>> case_names(["case001/image.nii.gz", "case002/image.nii.gz"])
        ['case001', 'case002']
        >>> case_names(["oslo/1/t1.nii", "rome/1/t1.nii", "rome/2/t1.nii"])
        ['oslo_1', 'rome_1', 'rome_2']
    """
    parts = [_path_parts(path) for path in paths]
    deepest = max(map(len, parts), default=0)
    for length in range(1, deepest + 1):
        for start in range(deepest - length + 1):
            names = ["_".join(reversed(part[start : start + length])) for part in parts]
            if all(names) and len(set(names)) == len(names):
                return names
    owner: dict[str, str] = {}
    for path, part in zip(map(str, paths), parts, strict=True):
        name = "_".join(reversed(part))
        if name in owner:
            raise ValueError(
                f"{owner[name]} and {path} cannot be told apart by a name, both would be the case "
                f"{part[0]!r}: expected paths that differ in more than the ending, so rename or remove one"
            )
        owner[name] = path
    return []


def _path_parts(path: str | PathLike[str]) -> list[str]:
    """Return the file's name without its ending, then the folders from the nearest to the farthest."""
    pure = PurePath(path)
    folders = [part for part in pure.parent.parts if part not in (pure.anchor, "..")]
    return [without_ending(pure.name), *reversed(folders)]


def without_ending(name: str) -> str:
    """Return the name of a volume's file without its ending.

    Examples:
        >>> without_ending("a.nii.gz"), without_ending("A.NRRD")
        ('a', 'A')
    """
    return re.sub(r"\.(nii|nii\.gz|nrrd|nhdr)$", "", name, flags=re.IGNORECASE)
