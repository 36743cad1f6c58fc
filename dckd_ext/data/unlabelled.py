"""Volumes without labels beside the labelled cases of a folder."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path

import numpy as np

from dckd_ext.data.folders import all_cases
from dckd_ext.data.msd import Case
from dckd_ext.data.naming import case_names
from dckd_ext.data.volumes import is_volume, read_voxels
from dckd_ext.utils.errors import listed, named_errors

__all__ = ["FIRST_ID", "unlabelled_cases", "without_labels"]

FIRST_ID = 1_000_000  # case numbers of volumes without a label start here, above those with one
_logger = logging.getLogger(__name__)


def unlabelled_cases(
    folder: str | PathLike[str] | None, dataset_dir: str | None = None, section: str = "training"
) -> list[Case]:
    """List the volumes of a folder and its subfolders, without those that are labelled cases as well.

    Volumes are compared by their voxels, since copies have other names and headers. The labelled cases of all
    sections count, so that none is learnt from twice or before it is scored on; so do their label files, for
    a folder that holds both. What is left out is named in a warning, and so is a file that cannot be read.

    Args:
        folder: NIfTI and NRRD files at any depth; None: there are no such volumes.
        dataset_dir: folder of the labelled cases, see `dckd_ext.data.case_list`; None: there are none, and
            every fifth volume is kept for the validation.
        section: "training" or "validation".

    Returns:
        One dict a case: ``image`` (path), ``label`` (None), ``case`` ("unlabelled_NAME") and ``case_id``,
        from `FIRST_ID` on.

    Raises:
        FileNotFoundError: when the folder is missing or holds no such file.
        ValueError: when no names tell two volumes apart, or too few are left: one, or two without labels.
    """
    validates = section == "validation"
    if folder is None or (validates and dataset_dir is not None):
        return []
    cases = _usable(Path(folder), dataset_dir, logging.DEBUG if validates else logging.WARNING)
    if dataset_dir is not None:
        return cases
    return cases[::5] if validates else [case for index, case in enumerate(cases) if index % 5]


def _usable(root: Path, dataset_dir: str | None, level: int) -> list[Case]:
    """List the volumes that can be read, each content once, and log what is left out."""
    files = _volumes(root)
    names = case_names([file.relative_to(root) for file in files])
    known = _labelled(dataset_dir) if dataset_dir is not None else {}
    cases: list[Case] = []
    same, broken = [], []
    for number, (name, file) in enumerate(zip(names, files, strict=True)):
        try:
            digest = _digest(file)
        except (ValueError, OSError) as error:
            broken.append(str(error))
            continue
        if digest in known:
            same.append(f"{file} ({known[digest]})")
            continue
        known[digest] = f"as {file}"
        case = {"image": str(file), "label": None, "case": f"unlabelled_{name}"}
        cases.append({**case, "case_id": FIRST_ID + number})
    if same:
        _logger.log(level, "%d volumes are known already, not used again: %s", len(same), listed(same))
    if broken:
        _logger.log(level, "%d volumes cannot be read, left out: %s", len(broken), listed(broken))
    _logger.log(min(level, logging.INFO), "%d of %d volumes without labels take part", len(cases), len(files))
    _check_some(cases, len(files), root, 1 if dataset_dir is not None else 2)
    return cases


def _volumes(root: Path) -> list[Path]:
    if not root.is_dir():
        found = "a file" if root.is_file() else "nothing"
        raise FileNotFoundError(f"unlabelled_dir {root}: found {found}, expected a folder of volumes")
    if files := sorted(filter(is_volume, root.rglob("*"))):
        return files
    raise FileNotFoundError(f"unlabelled_dir {root} holds no NIfTI or NRRD file, in no subfolder either")


def _labelled(dataset_dir: str) -> dict[str, str]:
    """Digests of the labelled cases, and of their label files where these can be read."""
    known = {}
    for name, case in all_cases(dataset_dir).items():
        known[_digest(case["image"])] = f"labelled case {name}"
        with suppress(ValueError, OSError):
            known[_digest(case["label"])] = f"label of case {name}"
    return known


def without_labels(cases: Sequence[Case]) -> list[Case]:
    """Make labelled cases into ones that nobody has labelled, for studies of what their labels would bring.

    Examples:
        >>> without_labels([{"image": "a.nii", "label": "b.nii", "case": "a", "case_id": 7}])
        [{'image': 'a.nii', 'label': None, 'case': 'unlabelled_a', 'case_id': 1000007}]
    """
    return [
        case | {"label": None, "case": f"unlabelled_{case['case']}", "case_id": FIRST_ID + case["case_id"]}
        for case in cases
    ]


def _digest(file: str | PathLike[str]) -> str:
    """Digest shape and values; the type in which they are stored does not count."""
    with named_errors("volume", file):
        voxels = read_voxels(file)
    digest = hashlib.sha256(str(voxels.shape).encode())
    for plane in voxels.T:  # one by one: volumes have hundreds of megabytes
        digest.update(np.ascontiguousarray(plane, dtype=np.float32).tobytes())
    return digest.hexdigest()


def _check_some(cases: Sequence[Case], count: int, root: Path, least: int) -> None:
    if len(cases) >= least:
        return
    left = "none" if not cases else f"{len(cases)}"
    wanted = "some that can be read and are not labelled cases"
    if least > 1:
        wanted = "two or more that can be read: without labels every fifth is kept for the validation"
    raise ValueError(f"unlabelled_dir {root}: {left} of the {count} volumes is left, expected {wanted}")
