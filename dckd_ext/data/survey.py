"""Everything that is wrong with the data of a folder, case by case."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing

from dckd_ext.data.folders import folder_layout
from dckd_ext.data.msd import Case, msd_cases
from dckd_ext.data.tdsc import ABUS_MAX_EXTENT, LesionBox, find_files, read_boxes, read_kinds, tdsc_sections
from dckd_ext.metrics.scores import bounding_box
from dckd_ext.transforms.checks import count_not_finite, values_outside
from dckd_ext.transforms.reading import ReadVolumed, extent_problem

__all__ = ["CaseSurvey", "Listing", "Problem", "list_folder", "survey_case"]


@dataclass(frozen=True)
class Problem:
    """What is wrong with one file or folder."""

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


@dataclass
class Listing:
    """The cases of a folder by section, what is wrong with their files' names, and the tables about them."""

    layout: str
    sections: dict[str, list[Case]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    boxes: dict[str, dict[int, LesionBox]] = field(default_factory=dict)


@dataclass
class CaseSurvey:
    """One case: its size in voxels, spacing in mm, foreground in voxels, ml and as a share of all voxels."""

    section: str
    case: Case
    size: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    voxels: int | None = None
    ml: float | None = None
    share: float | None = None
    problems: list[Problem] = field(default_factory=list)


def list_folder(dataset_dir: str) -> Listing:
    """List all cases of a folder in either layout, and what is wrong before any is read.

    Raises:
        FileNotFoundError: when the folder has neither layout.
        ValueError: when its ``dataset.json`` cannot be understood.
    """
    folder = Path(dataset_dir)
    return _list_msd(folder) if folder_layout(dataset_dir) == "msd" else _list_tdsc(folder)


def _list_msd(folder: Path) -> Listing:
    cases = list(msd_cases(folder).values())
    listed = {Path(case[key]).resolve() for case in cases for key in ("image", "label")}
    there = chain(folder.glob("imagesTr/[!.]*.*"), folder.glob("labelsTr/[!.]*.*"))
    problems = [
        Problem(str(path), "dataset.json does not list it under training")
        for path in sorted(there)
        if path.resolve() not in listed
    ]
    if not cases:
        problems.append(Problem(str(folder / "dataset.json"), "it lists no cases under training"))
    return Listing("msd", {"training": cases}, problems)


def _list_tdsc(folder: Path) -> Listing:
    listing = Listing("tdsc")
    owner: dict[int, str] = {}
    for name, path in tdsc_sections(folder).items():
        files = find_files(path)
        listing.problems += [Problem(str(file), text) for file, text in files.problems()]
        listing.problems += [
            Problem(str(files.images[number][0]), f"section {owner[number]} has the number {number} as well")
            for number in sorted(owner.keys() & files.images)
        ]
        owner.update(dict.fromkeys(files.images, name))
        kinds, boxes = (
            _table(listing, path / table, read, files.images)
            for table, read in (("labels.csv", read_kinds), ("bbx_labels.csv", read_boxes))
        )
        listing.boxes[name], listing.sections[name] = boxes, files.cases(kinds)
        if not files.images:
            listing.problems.append(Problem(str(path), "it holds no volumes (DATA_NNN.nrrd or .nii.gz)"))
    return listing


def _table(listing: Listing, path: Path, read, numbers: Iterable[int]) -> dict:
    """Read a table and note where it does not fit the volumes; a section without the table is fine."""
    if not path.is_file():
        return {}
    try:
        rows = read(path.parent)
    except ValueError as error:
        listing.problems.append(Problem(str(path), str(error).removeprefix(str(path)).lstrip(":, ")))
        return {}
    for text, lacking in (
        ("rows without a volume", rows.keys() - set(numbers)),
        ("volumes without a row", set(numbers) - rows.keys()),
    ):
        if lacking:
            listing.problems.append(Problem(str(path), f"{text}: {', '.join(map(str, sorted(lacking)))}"))
    return rows


def survey_case(listing: Listing, section: str, case: Case, read: ReadVolumed, classes: int) -> CaseSurvey:
    """Read the image, then the mask of one case, and note all that is wrong with them.

    Volumes of the open ABUS set must be uint8, as large as a breast at most, and their lesion's bounding box
    that of ``bbx_labels.csv``, give or take a voxel. ``read`` reads the keys image and label, one at a time.
    """
    found = CaseSurvey(section, case)
    abus = listing.layout == "tdsc"
    _survey_image(found, read, abus)
    box = listing.boxes.get(section, {}).get(case["case_id"])
    _survey_mask(found, read, classes, abus, box)
    return found


def _survey_image(found: CaseSurvey, read: ReadVolumed, abus: bool) -> None:
    image = _read(found, "image", read, abus)
    if image is None:
        return
    found.size, found.spacing = tuple(image.shape[:3]), _spacing(image)
    bad = count_not_finite(image)
    if bad:
        _note(found, "image", f"{bad} voxels are NaN or infinite")
    problem = extent_problem(found.size, found.spacing, ABUS_MAX_EXTENT) if abus else None
    if problem:
        _note(found, "image", problem)


def _survey_mask(
    found: CaseSurvey, read: ReadVolumed, classes: int, abus: bool, box: LesionBox | None
) -> None:
    mask = _read(found, "label", read, abus)
    if mask is None:
        return
    if found.size and tuple(mask.shape) != found.size:
        _note(found, "label", f"has shape {tuple(mask.shape)}, expected that of the image: {found.size}")
    elif found.size and not np.allclose(_spacing(mask), found.spacing, rtol=1e-3):
        _note(found, "label", f"has spacing {_spacing(mask)} mm, expected that of the image: {found.spacing}")
    outside = values_outside(mask, classes)
    if outside:
        values = ", ".join(f"{value:g}" for value in outside[:8])
        _note(found, "label", f"found values [{values}], expected whole numbers from 0 to {classes - 1}")
    foreground = mask.numpy() > 0
    found.voxels = int(np.count_nonzero(foreground))
    found.ml = found.voxels * float(np.prod(_spacing(mask))) / 1000
    found.share = found.voxels / foreground.size
    if not found.voxels:
        _note(found, "label", "it has no foreground voxel")
    elif box is not None:
        _compare_box(found, foreground, box)


def _compare_box(found: CaseSurvey, foreground: np.ndarray, box: LesionBox) -> None:
    edges = np.array([(edge.start, edge.stop - 1) for edge in bounding_box(foreground) or ()])
    # The table may count the last voxel in the length, or not: both are within a voxel of this.
    centre, lengths = edges.mean(axis=1), edges[:, 1] - edges[:, 0] + 1
    if _within_a_voxel(centre, box.centre) and _within_a_voxel(lengths, box.lengths):
        return
    reverse = _within_a_voxel(centre[::-1], box.centre) and _within_a_voxel(lengths[::-1], box.lengths)
    _note(
        found,
        "label",
        f"its foreground has the centre {centre.tolist()} and the lengths {lengths.tolist()}, bbx_labels.csv "
        f"says {box.centre.tolist()} and {box.lengths.tolist()}"
        + (", the same with the axes reversed" if reverse else ""),
    )


def _within_a_voxel(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((np.abs(one - other) <= 1).all())


def _read(found: CaseSurvey, key: str, read: ReadVolumed, abus: bool) -> MetaTensor | None:
    """Read one file as it is; None, with a note, if it is no volume."""
    try:
        volume = read({key: found.case[key]})[key]
    except FileNotFoundError:
        _note(found, key, "there is no such file")
        return None
    except ValueError as error:
        _note(found, key, str(error).removeprefix(f"{key}: cannot read {found.case[key]}: "))
        return None
    if volume.ndim != 3 and not (key == "image" and volume.ndim == 4 and not abus):
        _note(found, key, f"expected a 3D volume, found shape {tuple(volume.shape)}")
        return None
    if abus and volume.dtype != torch.uint8:
        _note(found, key, f"expected voxels of uint8, found {volume.dtype}".replace("torch.", ""))
    return volume


def _spacing(volume: MetaTensor) -> tuple[float, ...]:
    return tuple(round(float(edge), 6) for edge in affine_to_spacing(volume.affine))


def _note(found: CaseSurvey, key: str, text: str) -> None:
    found.problems.append(Problem(str(found.case[key]), text))
