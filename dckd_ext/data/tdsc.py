"""Data lists of a folder in the layout of the open ABUS set (TDSC-ABUS 2023)."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

import numpy as np

from dckd_ext.data.msd import Case

__all__ = [
    "ABUS_MAX_EXTENT",
    "ABUS_SPACING",
    "TDSC_SECTIONS",
    "LesionBox",
    "find_files",
    "read_boxes",
    "read_kinds",
    "tdsc_datalist",
    "tdsc_sections",
]

TDSC_SECTIONS = {"training": "Train", "validation": "Validation", "test": "Test"}
ABUS_SPACING = (0.2, 0.073, 0.475674)
"""Spacing of the open ABUS set (lateral, depth, sweep: as stored), whose headers hold ones instead; mm."""
ABUS_MAX_EXTENT = (200.0, 60.0, 250.0)
"""Largest extents, mm (ours): about 170 x 45 x 150 are usual; exchanged axes soon exceed these."""

_FILE = re.compile(r"(DATA|MASK)_(\d+)\.(nrrd|nhdr|nii|nii\.gz)", re.IGNORECASE)


def tdsc_datalist(
    dataset_dir: str | os.PathLike[str], section: str | int, limit: int | None = None
) -> list[Case]:
    """List the cases of one section of a folder in the layout of the open ABUS set.

    The folder holds ``Train``, ``Validation`` and ``Test`` (or some of them), each with ``DATA_NNN.nrrd`` and
    ``MASK_NNN.nrrd`` at any depth (``DATA/``, ``DATA00_49/``; ``.nii.gz`` is taken as well) and, if known,
    ``labels.csv``. Volumes and masks are matched by their number.

    Args:
        dataset_dir: the folder.
        section: "training", "validation", "test", or "all" (those of the three that are there).
        limit: keep only the first cases, for trials.

    Returns:
        One dict a case, by number: ``image`` and ``label`` (paths), ``case`` (the volume's name, "DATA_003"),
        ``case_id`` (its number) and ``kind`` ("M" malignant, "B" benign, "" where labels.csv does not say).

    Raises:
        FileNotFoundError: when the folder of the section is missing.
        ValueError: for an unknown section, a section without volumes, volumes without mask and masks without
            volume (all are listed), or a number that occurs twice.
    """
    cases: list[Case] = []
    owner: dict[int, str] = {}
    for name, folder in tdsc_sections(dataset_dir, section).items():
        files = find_files(folder)
        problems = [f"{path}: {text}" for path, text in files.problems()]
        problems += [
            f"{files.images[number][0]}: the number {number} occurs in {owner[number]} as well"
            for number in sorted(owner.keys() & files.images)
        ]
        if problems:
            raise ValueError(f"{folder} has {len(problems)} problem(s):\n" + "\n".join(problems))
        owner.update(dict.fromkeys(files.images, name))
        cases += files.cases(read_kinds(folder))
    if not cases:
        raise ValueError(f"section {section}: {dataset_dir} holds no volumes (DATA_NNN.nrrd or .nii.gz)")
    return cases[:limit]


def tdsc_sections(dataset_dir: str | os.PathLike[str], section: str | int = "all") -> dict[str, Path]:
    """Return the folders of one section, or of all that are there, by the section's name.

    Raises:
        FileNotFoundError: when there is none.
        ValueError: for an unknown section.
    """
    if section != "all" and section not in TDSC_SECTIONS:
        raise ValueError(
            f"unknown section {section!r}: {dataset_dir} is in the layout of the open ABUS set, which has no "
            f"folds but the sections {', '.join(TDSC_SECTIONS)}, and all; to evaluate take validation or test"
        )
    wanted = {
        name: Path(dataset_dir) / TDSC_SECTIONS[name] for name in TDSC_SECTIONS if section in (name, "all")
    }
    found = {name: folder for name, folder in wanted.items() if folder.is_dir()}
    if not found:
        raise FileNotFoundError(
            f"section {section}: there is no folder {' or '.join(map(str, wanted.values()))}"
        )
    return found


@dataclass
class SectionFiles:
    """Volumes and masks below one folder, by number."""

    folder: Path
    images: dict[int, list[Path]] = field(default_factory=dict)
    masks: dict[int, list[Path]] = field(default_factory=dict)

    def problems(self) -> Iterator[tuple[Path, str]]:
        """Yield the path and the trouble of each duplicate and of each file without its partner."""
        for files, others, partner in ((self.images, self.masks, "MASK"), (self.masks, self.images, "DATA")):
            for number, paths in files.items():
                if len(paths) > 1:
                    yield paths[0], f"the number {number} is also that of {', '.join(map(str, paths[1:]))}"
                if number not in others:
                    yield paths[0], f"there is no {partner}_{number:03d}.nrrd or .nii.gz below {self.folder}"

    def cases(self, kinds: Mapping[int, str]) -> list[Case]:
        """List the cases that have both a volume and a mask."""
        return [
            {
                "image": str(self.images[number][0]),
                "label": str(self.masks[number][0]),
                "case": self.images[number][0].name.split(".")[0],
                "case_id": number,
                "kind": kinds.get(number, ""),
            }
            for number in sorted(self.images.keys() & self.masks)
        ]


def find_files(folder: Path) -> SectionFiles:
    """Find the volumes and masks below a folder, in subfolders and links to folders as well."""
    files = SectionFiles(folder)
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        for match in filter(None, map(_FILE.fullmatch, sorted(names))):
            kind = files.images if match[1].upper() == "DATA" else files.masks
            kind.setdefault(int(match[2]), []).append(Path(parent) / match[0])
    return files


def read_kinds(folder: Path) -> dict[int, str]:
    """Read malignant ("M") or benign ("B") by number from a section's ``labels.csv``, if there is one.

    A row's number is that in the name of its volume, else its ``case_id``: the set's paths have backslashes
    and some of its ids are floats ("0.0").

    Raises:
        ValueError: for a missing column, or a row without number or with another kind.
    """
    kinds = {}
    for row, where in _rows(folder / "labels.csv", ("case_id", "label")):
        name = PureWindowsPath(row.get("data_path") or "").name  # takes slashes as well
        match = _FILE.fullmatch(name)
        number = int(match[2]) if match else _number(row["case_id"], where)
        kinds[number] = row["label"].strip().upper()
        if kinds[number] not in ("M", "B"):
            raise ValueError(f"{where}: expected the label M or B, found {row['label']!r}")
    return kinds


@dataclass
class LesionBox:
    """A bounding box in voxels, along the stored axes: centre and full lengths."""

    centre: np.ndarray
    lengths: np.ndarray


def read_boxes(folder: Path) -> dict[int, LesionBox]:
    """Read the lesions' bounding boxes by number from a section's ``bbx_labels.csv``, if there is one.

    Raises:
        ValueError: for a missing column or a value that is not a number.
    """
    centre, lengths = ("c_x", "c_y", "c_z"), ("len_x", "len_y", "len_z")
    boxes = {}
    for row, where in _rows(folder / "bbx_labels.csv", ("id", *centre, *lengths)):
        try:
            box = LesionBox(*(np.array([float(row[name]) for name in names]) for names in (centre, lengths)))
        except ValueError as error:
            raise ValueError(f"{where}: expected numbers, found {row}") from error
        boxes[_number(row["id"], where)] = box
    return boxes


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[dict[str, str], str]]:
    """Yield each row of a table and where it stands; nothing if there is no such file."""
    if not path.is_file():
        return
    with open(path, newline="", encoding="utf-8-sig") as file:
        table = csv.DictReader(file, skipinitialspace=True, restval="")
        missing = [name for name in columns if name not in (table.fieldnames or ())]
        if missing:
            raise ValueError(f"{path}: expected the columns {list(columns)}, found {table.fieldnames}")
        for row in table:
            yield row, f"{path}, line {table.line_num}"


def _number(text: str, where: str) -> int:
    try:
        value = float(text)
        if value == int(value):
            return int(value)
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{where}: expected a whole number as id, found {text!r}")
