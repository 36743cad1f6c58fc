"""The cases of a folder in any of the layouts that the bundles take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dckd_ext.data.msd import DOWNLOAD_HINT, Case, msd_cases, msd_datalist
from dckd_ext.data.pairs import pair_folders
from dckd_ext.data.tdsc import TDSC_SECTIONS, tdsc_datalist

__all__ = ["all_cases", "case_list", "folder_layout"]


def case_list(
    dataset_dir: str | None,
    section: str | int,
    split_file: str = "",
    fold: int = 0,
    held_out: Sequence[int] = (),
    seed: int = 0,
    limit: int | None = None,
) -> list[Case]:
    """List the cases of one section of a folder.

    Args:
        dataset_dir: a folder in the layout of the Medical Segmentation Decathlon (``dataset.json``, listed by
            `msd_datalist`) or of the open ABUS set (``Train``, ``Validation``, ``Test``: `tdsc_datalist`).
            None: there are no labelled cases.
        section: "training", "validation", "test" or "all"; in the first layout a fold's number too.
        split_file: path of the split file. The open ABUS set comes split: this, ``fold``, ``held_out`` and
            ``seed`` do not apply to it.
        fold: the fold to validate on.
        held_out: folds to leave out of training as well.
        seed: seed of a split that has to be made.
        limit: keep only the first cases, for trials.

    Returns:
        One dict a case: ``image`` and ``label`` (paths), ``case`` (name), ``case_id`` (number), and for the
        open ABUS set ``kind`` ("M", "B" or "").

    Raises:
        FileNotFoundError: when the folder has neither layout, or not this section.
        ValueError: for an unknown section, and what the two functions refuse.
    """
    if dataset_dir is None:
        return []
    if folder_layout(dataset_dir) == "msd":
        return msd_datalist(dataset_dir, section, split_file, fold, held_out, seed, limit)
    return tdsc_datalist(dataset_dir, section, limit)


def all_cases(dataset_dir: str) -> dict[str, Case]:
    """Return every labelled case of a folder by its name, whatever the split.

    Raises:
        FileNotFoundError: when the folder has neither layout.
        ValueError: when its files are not as the layout has them.
    """
    if folder_layout(dataset_dir) == "msd":
        return msd_cases(Path(dataset_dir))
    return {case["case"]: case for case in tdsc_datalist(dataset_dir, "all")}


def folder_layout(dataset_dir: str) -> str:
    """Return "tdsc" for the layout of the open ABUS set, else "msd": that of the Decathlon, or two folders.

    Raises:
        FileNotFoundError: when the folder has neither.
    """
    folder = Path(dataset_dir)
    if (folder / "dataset.json").is_file() or pair_folders(folder) is not None:
        return "msd"
    if any((folder / name).is_dir() for name in TDSC_SECTIONS.values()):
        return "tdsc"
    parent = f" Give the folder above it, {folder.resolve().parent}?" if (folder / "DATA").is_dir() else ""
    raise FileNotFoundError(
        f"dataset_dir {folder} has neither dataset.json nor a folder {', '.join(TDSC_SECTIONS.values())}."
        f"{parent} Expected two folders images and labels, the layout of the Medical Segmentation Decathlon "
        "(dataset.json, imagesTr, labelsTr) or that of the open ABUS set (Train, Validation and Test with "
        f"DATA/DATA_NNN.nrrd, MASK/MASK_NNN.nrrd and labels.csv). {DOWNLOAD_HINT}"
    )
