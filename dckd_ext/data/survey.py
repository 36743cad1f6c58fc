"""Everything that is wrong with the data of a folder, case by case."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np

from dckd_ext.data.folders import folder_layout
from dckd_ext.data.grids import Grid, extent_problem, voxel_edges
from dckd_ext.data.labels import check_classes, label_on, label_spacing, whole_numbers
from dckd_ext.data.msd import Case, msd_cases
from dckd_ext.data.tdsc import ABUS_MAX_EXTENT, LesionBox, find_files, read_boxes, read_kinds, tdsc_sections
from dckd_ext.data.volumes import (
    Volume,
    channels_first,
    constant_note,
    count_not_finite,
    is_volume,
    read_volume,
)
from dckd_ext.metrics.scores import bounding_box

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
    """One case: its size in voxels, spacing in mm, foreground in voxels, ml and as a share of all voxels.

    ``problems`` end a training or spoil it, ``warnings`` are to be looked at.
    """

    section: str
    case: Case
    size: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    voxels: int | None = None
    ml: float | None = None
    share: float | None = None
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


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
    there = chain(folder.glob("imagesTr/*"), folder.glob("labelsTr/*"))  # without a list all are cases
    problems = [
        Problem(str(path), "dataset.json does not list it under training")
        for path in sorted(there)
        if is_volume(path) and path.resolve() not in listed  # data files of detached headers are none
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


def survey_case(
    listing: Listing,
    section: str,
    case: Case,
    classes: int,
    channels: int = 1,
    nrrd_spacing: Sequence[float] | None = None,
) -> CaseSurvey:
    """Read the image, then the mask of one case, and note all that is wrong with them.

    Volumes of the open ABUS set must be uint8, as large as a breast at most, and their lesion's bounding box
    that of ``bbx_labels.csv``, give or take a voxel.

    Args:
        listing: of the folder.
        section: the case's.
        case: one of the listing.
        classes: number of classes of the masks, the background counted.
        channels: of the images.
        nrrd_spacing: see `dckd_ext.data.volumes.read_volume`.
    """
    found = CaseSurvey(section, case)
    abus = listing.layout == "tdsc"
    grid = _survey_image(found, nrrd_spacing, channels, abus)
    mask = _read(found, "label", label_spacing(*grid) if grid else nrrd_spacing, abus)
    if mask is not None:
        _survey_mask(found, mask, grid, classes, listing.boxes.get(section, {}).get(case["case_id"]))
    return found


def _survey_image(
    found: CaseSurvey, nrrd_spacing: Sequence[float] | None, channels: int, abus: bool
) -> tuple[Grid, bool] | None:
    """Survey the image; return its grid and whether the order of its array counts, if it can be read."""
    image = _read(found, "image", nrrd_spacing, abus)
    if image is None:
        return None
    found.size, found.spacing = image.grid.shape, _spacing(image)
    try:
        channels_first(image.voxels, channels)
    except ValueError as error:
        _note(found, "image", str(error))
    if bad := count_not_finite(image.voxels):
        _note(found, "image", f"{bad} voxels are NaN or infinite, expected finite intensities")
    if note := constant_note(image.voxels):
        found.warnings.append(Problem(found.case["image"], note))
    if abus and (problem := extent_problem(found.size, found.spacing, ABUS_MAX_EXTENT)):
        _note(found, "image", problem)
    return image.grid, image.stored_order


def _survey_mask(
    found: CaseSurvey, mask: Volume, image: tuple[Grid, bool] | None, classes: int, box: LesionBox | None
) -> None:
    voxels = whole_numbers(mask.voxels)
    try:
        voxels = label_on(mask, *(image or (mask.grid, mask.stored_order))).voxels
    except ValueError as error:
        _note(found, "label", str(error))
    try:
        check_classes(voxels, classes)
    except ValueError as error:
        _note(found, "label", str(error))
    foreground = voxels > 0
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


def _read(found: CaseSurvey, key: str, nrrd_spacing: Sequence[float] | None, abus: bool) -> Volume | None:
    """Read one file as it is; None, with a note, if it is no volume."""
    try:
        volume = read_volume(found.case[key], nrrd_spacing)
    except FileNotFoundError:
        _note(found, key, "there is no such file")
        return None
    except ValueError as error:
        _note(found, key, str(error))
        return None
    found.warnings += [Problem(found.case[key], note) for note in volume.notes]
    if abus and volume.voxels.dtype != np.uint8:
        _note(found, key, f"expected voxels of uint8, found {volume.voxels.dtype}")
    return volume


def _spacing(volume: Volume) -> tuple[float, ...]:
    return tuple(round(float(edge), 6) for edge in voxel_edges(volume.affine))


def _note(found: CaseSurvey, key: str, text: str) -> None:
    found.problems.append(Problem(str(found.case[key]), text))
