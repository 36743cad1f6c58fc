"""Volumes without labels beside the labelled cases of a folder."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from dckd_ext.data.folders import all_cases
from dckd_ext.data.msd import Case
from dckd_ext.data.naming import case_names
from dckd_ext.data.volumes import is_volume, read_voxels
from dckd_ext.utils.errors import listed, named_errors

__all__ = ["FIRST_ID", "unlabelled_cases"]

FIRST_ID = 1_000_000  # case numbers of volumes without a label start here, above those with one
_logger = logging.getLogger(__name__)


def unlabelled_cases(
    folder: str | PathLike[str] | None, dataset_dir: str | None = None, section: str = "training"
) -> list[Case]:
    """List the volumes of a folder and its subfolders, without those that are labelled cases as well.

    Volumes are compared by their voxels, since copies have other names and headers. The labelled cases of all
    sections count, so that none is learnt from twice or before it is scored on. What is left out is named in
    a warning, and so is a file that cannot be read.

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
        ValueError: when no names tell two volumes apart, or none is left.
    """
    if folder is None:
        return []
    root = Path(folder)
    files = sorted(filter(is_volume, root.rglob("*")))
    if not files:
        raise FileNotFoundError(f"unlabelled_dir {root} holds no NIfTI or NRRD file, in no subfolder either")
    names = case_names([file.relative_to(root) for file in files])
    labelled = all_cases(dataset_dir) if dataset_dir is not None else {}
    known = {_digest(case["image"]): name for name, case in labelled.items()}
    cases, same, broken = [], [], []
    for number, (name, file) in enumerate(zip(names, files, strict=True)):
        try:
            twin = known.get(_digest(file))
        except (ValueError, OSError) as error:
            broken.append(str(error))
            continue
        if twin:
            same.append(f"{file} (labelled case {twin})")
        else:
            case = {"image": str(file), "label": None, "case": f"unlabelled_{name}"}
            cases.append({**case, "case_id": FIRST_ID + number})
    _say(cases, files, same, broken, root)
    kept = [] if labelled else cases[::5]
    return kept if section == "validation" else [case for case in cases if case not in kept]


def _digest(file: str | PathLike[str]) -> str:
    """Digest shape and values; the type in which they are stored does not count."""
    with named_errors("volume", file):
        voxels = read_voxels(file)
    digest = hashlib.sha256(str(voxels.shape).encode())
    digest.update(np.ascontiguousarray(voxels, dtype=np.float64).tobytes())
    return digest.hexdigest()


def _say(
    cases: Sequence[Case], files: Sequence[Path], same: list[str], broken: list[str], root: Path
) -> None:
    if same:
        _logger.warning("%d volumes are labelled cases too, not used again: %s", len(same), listed(same))
    if broken:
        _logger.warning("%d volumes cannot be read, left out: %s", len(broken), listed(broken))
    if not cases:
        raise ValueError(
            f"unlabelled_dir {root}: none of the {len(files)} volumes is left, expected some that can be "
            "read and are not labelled cases"
        )
    _logger.info("%d of %d volumes without labels take part", len(cases), len(files))
