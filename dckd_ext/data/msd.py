"""Data lists of a folder in the layout of the Medical Segmentation Decathlon (MSD)."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dckd_ext.data.images import image_paths
from dckd_ext.data.naming import case_names
from dckd_ext.data.pairs import image_label_pairs, pair_folders
from dckd_ext.data.splits import draw_split, read_split, section_names
from dckd_ext.utils.documents import read_mapping
from dckd_ext.utils.errors import listed

__all__ = ["DOWNLOAD_HINT", "Case", "download_msd", "image_files", "msd_cases", "msd_datalist", "msd_labels"]

_logger = logging.getLogger(__name__)
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
        ValueError: for an unknown fold or section, an empty section, cases of it that the folder lacks, a
            split file that is not of this form or has a case in two places, or two images that no name tells
            apart.
    """
    cases = msd_cases(Path(dataset_dir))
    if not Path(split_file).is_file():
        rule = draw_split(split_file, list(cases), seed)
        _logger.warning("there was no split file %s: made and saved one (%s)", split_file, rule)
    split = read_split(split_file)
    names = section_names(split, section, fold, held_out, split_file)
    if missing := [name for name in names if name not in cases]:
        raise ValueError(
            f"{len(missing)} of the {len(names)} cases that {split_file} lists for {section} are not in "
            f"{dataset_dir}: {listed(missing)}. For data of your own give --split_file a new path: "
            "a split is then made and saved there"
        )
    if not names:
        raise ValueError(f"{split_file} lists no case for {section}")
    if section == "training":  # once is enough
        _warn_of_the_rest(split, list(cases), split_file)
    return [cases[name] for name in names][:limit]


def _warn_of_the_rest(split: Mapping[str, Any], cases: Sequence[str], file: str) -> None:
    """Say which cases of the folder the split has nowhere."""
    placed = {name for names in [*split["folds"], split["test"]] for name in names}
    if rest := [name for name in cases if name not in placed]:
        share = f"{len(rest)} of {len(cases)}"
        _logger.warning("%s cases are not used, since %s lists them nowhere: %s", share, file, listed(rest))


def msd_cases(folder: Path) -> dict[str, Case]:
    """List the cases with a label of an MSD folder by name.

    Without a ``dataset.json``, or with one that lists no cases, as nnU-Net's, they are those of the folders
    ``images`` and ``labels``, or ``imagesTr`` and ``labelsTr``: `dckd_ext.data.pairs.image_label_pairs`.

    Raises:
        FileNotFoundError: when the folder has neither a ``dataset.json`` nor these two.
        ValueError: when that is no JSON, an entry of it lacks image or label, or files have no partner.
    """
    index = folder / "dataset.json"
    content = read_mapping(index) if index.is_file() else {}
    if "training" not in content and (pair := pair_folders(folder)) is not None:
        pairs = image_label_pairs(*pair)
        return _named(folder, pairs, [label for _, label in pairs], str(folder))
    if not index.is_file():
        raise FileNotFoundError(
            f"dataset_dir {folder} has no dataset.json: expected a folder in the layout of the Medical "
            f"Segmentation Decathlon (dataset.json, imagesTr, labelsTr). {DOWNLOAD_HINT}"
        )
    try:
        files = [(folder / entry["image"], folder / entry["label"]) for entry in content["training"]]
    except (KeyError, TypeError) as error:
        raise ValueError(
            f'{index}: expected {{"training": [{{"image": path, "label": path}}, ...]}}, '
            f"found {type(error).__name__}: {error}"
        ) from error
    return _named(folder, files, [image for image, _ in files], str(index))


def _named(
    folder: Path, files: Sequence[tuple[Path, Path]], named_by: Sequence[Path], source: str
) -> dict[str, Case]:
    """Make cases of pairs of image and label, by the names of some files in the folder."""
    try:
        names = case_names([os.path.relpath(file, folder) for file in named_by])
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    return {
        name: {"image": str(image), "label": str(label), "case": name, "case_id": number}
        for number, (name, (image, label)) in enumerate(sorted(zip(names, files, strict=True)))
    }


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


def msd_labels(dataset_dir: str | PathLike[str]) -> list[str] | None:
    """Read the names of the classes, the background first, from ``labels`` of ``dataset.json``.

    They are numbers with names, as in the Medical Segmentation Decathlon, or names with numbers, as nnU-Net
    has it.

    Returns:
        None without the file or the key.

    Raises:
        ValueError: when they do not number the classes 0, 1, ... without a gap.
    """
    file = Path(dataset_dir) / "dataset.json"
    labels = read_mapping(file).get("labels") if file.is_file() else None
    if not labels:
        return None
    try:
        pairs = [(int(a), b) if str(a).isdigit() else (int(b), a) for a, b in labels.items()]
    except (AttributeError, TypeError, ValueError):
        pairs = []
    numbers, names = zip(*sorted(pairs), strict=True) if pairs else ((), ())
    if not pairs or list(numbers) != list(range(len(numbers))):
        raise ValueError(f"{file}: labels should number the classes 0, 1, ... without a gap, found {labels}")
    return [str(name) for name in names]


def image_files(dataset_dir: str) -> list[dict[str, str]]:
    """List a folder's images, or the one given: ``image`` (path) and ``case`` (name).

    These are its NIfTI and NRRD files, without those of subfolders, or else its DICOM series
    (`dckd_ext.data.images.image_paths`).

    Raises:
        FileNotFoundError: when there are none.
        ValueError: when two have the same name but for the ending, or several series can be segmented; name
            one as if it were a file of the folder.
    """
    images = image_paths(Path(dataset_dir))
    names = case_names(images)
    return [{"image": str(image), "case": name} for image, name in zip(images, names, strict=True)]
