"""Data lists of a folder in the layout of the Medical Segmentation Decathlon (MSD), and its splits."""

from __future__ import annotations

import json
import logging
import os
import random
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dckd_ext.utils.files import written_whole

__all__ = ["download_msd", "image_files", "msd_datalist"]

_logger = logging.getLogger(__name__)
_VOLUME_ENDINGS = (".nii", ".nii.gz", ".nrrd")
DOWNLOAD_HINT = (
    "MONAI downloads the hippocampus set: add --download true, or run "
    "monai.apps.DecathlonDataset(root, 'Task04_Hippocampus', 'training', download=True)"
)
Case = dict[str, Any]


def msd_datalist(
    dataset_dir: str,
    section: str | int,
    split_file: str,
    fold: int = 0,
    held_out: Sequence[int] = (),
    seed: int = 0,
    limit: int | None = None,
) -> list[Case]:
    """List the cases of one section of an MSD folder.

    The split file holds ``{"folds": [[name, ...], ...], "test": [name, ...]}``. If there is none, one with
    five folds is drawn at random, by ``seed``, from the folder's cases and saved there (our decision; give
    related cases neighbouring folds by hand where there are any).

    Args:
        dataset_dir: folder with ``dataset.json``, ``imagesTr`` and ``labelsTr``.
        section: "training" (all folds but ``fold`` and ``held_out``), "validation" (``fold``), a fold number,
            "test", or "all" (every fold and the test cases).
        split_file: path of the split file.
        fold: the fold to validate on.
        held_out: folds to leave out of training as well, for choosing hyper-parameters on an inner split.
        seed: seed of a split that has to be made.
        limit: keep only the first cases, for trials.

    Returns:
        One dict a case: ``image`` and ``label`` (paths), ``case`` (name) and ``case_id`` (its number in the
        folder's sorted list, the same in every section).

    Raises:
        FileNotFoundError: when the folder has no ``dataset.json``.
        ValueError: for an unknown fold or section, an empty section, or training and validation cases that
            the folder lacks. Missing test cases are counted and skipped.
    """
    cases = msd_cases(Path(dataset_dir))
    split = _read_split(Path(split_file), list(cases), seed)
    names = _section_names(split, section, fold, held_out, split_file)
    missing = [name for name in names if name not in cases]
    if missing and str(section) not in ("test", "all"):
        raise ValueError(
            f"{len(missing)} of the {len(names)} cases that {split_file} lists for {section} are not in "
            f"{dataset_dir}, the first is {missing[0]}. For data of your own give --split_file a new path: "
            "a split is then made and saved there"
        )
    if missing:
        _logger.warning(
            "%s: %d of %d cases are not in %s, skipped", section, len(missing), len(names), dataset_dir
        )
    found = [cases[name] for name in names if name in cases][:limit]
    if not found:
        raise ValueError(f"no case of {section} (as listed in {split_file}) is in {dataset_dir}")
    return found


def msd_cases(folder: Path) -> dict[str, Case]:
    """List the cases with a label of an MSD folder by name.

    Raises:
        FileNotFoundError: when the folder has no ``dataset.json``.
        ValueError: when that is no JSON, or an entry of it lacks image or label.
    """
    index = folder / "dataset.json"
    if not index.is_file():
        raise FileNotFoundError(
            f"dataset_dir {folder} has no dataset.json: expected a folder in the layout of the Medical "
            f"Segmentation Decathlon (dataset.json, imagesTr, labelsTr). {DOWNLOAD_HINT}"
        )
    try:
        entries = json.loads(index.read_text())["training"]
        named = {_case_name(entry["image"]): (entry["image"], entry["label"]) for entry in entries}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{index}: expected {{"training": [{{"image": path, "label": path}}, ...]}}, '
            f"found {type(error).__name__}: {error}"
        ) from error
    return {
        name: {
            "image": str(folder / image),
            "label": str(folder / label),
            "case": name,
            "case_id": number,
        }
        for number, (name, (image, label)) in enumerate(sorted(named.items()))
    }


def _case_name(path: str | Path) -> str:
    return Path(path).name.removesuffix(".gz").removesuffix(".nii").removesuffix(".nrrd")


def _read_split(path: Path, names: list[str], seed: int) -> dict[str, Any]:
    if path.is_file():
        split = json.loads(path.read_text())
        if not isinstance(split.get("folds"), list):
            raise ValueError(
                f"{path}: expected the key 'folds' with a list of lists of case names, found {sorted(split)}"
            )
        return split
    shuffled = random.Random(seed).sample(names, len(names))
    rule = f"five folds drawn at random with seed {seed}"
    split = {"comment": rule, "folds": [sorted(shuffled[fold::5]) for fold in range(5)], "test": []}
    with written_whole(path) as beside:
        beside.write_text(json.dumps(split, indent=4))
    _logger.warning("there was no split file %s: made and saved one (%s)", path, rule)
    return split


def _section_names(
    split: dict, section: str | int, fold: int, held_out: Sequence[int], file: str
) -> list[str]:
    folds: list[list[str]] = split["folds"]
    for number in (fold, *held_out):
        _check_fold(number, len(folds), file)
    if section == "training":
        return [
            name for number, names in enumerate(folds) if number not in (fold, *held_out) for name in names
        ]
    if section == "validation":
        return folds[fold]
    if section == "test":
        return split.get("test", [])
    if section == "all":
        return [name for names in folds for name in names] + split.get("test", [])
    _check_fold(section, len(folds), file)
    return folds[int(section)]


def _check_fold(number: str | int, count: int, file: str) -> None:
    if str(number) not in map(str, range(count)):
        raise ValueError(
            f"unknown fold or section {number!r}: {file} has the folds 0 to {count - 1}, and test and all"
        )


def download_msd(dataset_dir: str, task: str) -> None:
    """Download an MSD task with MONAI (its md5 is checked) unless ``dataset_dir`` has a ``dataset.json``.

    The archive stays beside the folder, which appears when all of it is unpacked.

    Raises:
        ValueError: when ``dataset_dir`` does not end in the task's name, which the archive unpacks to, or
            holds something else.
    """
    from monai.apps import DecathlonDataset, download_url, extractall

    folder = Path(dataset_dir)
    if (folder / "dataset.json").is_file():
        return
    if folder.name != task:
        raise ValueError(f"to download, dataset_dir must end in {task}, found {dataset_dir}")
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder} has no dataset.json but is not empty: remove it to download {task} anew")
    folder.parent.mkdir(parents=True, exist_ok=True)
    archive = folder.parent / f"{task}.tar"
    download_url(DecathlonDataset.resource[task], archive, DecathlonDataset.md5[task], "md5")
    with TemporaryDirectory(dir=folder.parent, prefix=f".{task}_") as beside:
        extractall(archive, beside)
        os.replace(Path(beside) / task, folder)


def image_files(dataset_dir: str) -> list[dict[str, str]]:
    """List a folder's NIfTI and NRRD files (subfolders are left out), or the one file given, as ``image``.

    Raises:
        FileNotFoundError: when there are none.
    """
    path = Path(dataset_dir)
    files = [path] if path.is_file() else sorted(path.glob("*")) if path.is_dir() else []
    images = [
        {"image": str(file)} for file in files if file.name.endswith(_VOLUME_ENDINGS) and file.name[0] != "."
    ]
    if not images:
        raise FileNotFoundError(
            f"dataset_dir {path} holds no NIfTI file (*.nii, *.nii.gz) and no NRRD file (*.nrrd)"
        )
    return images
