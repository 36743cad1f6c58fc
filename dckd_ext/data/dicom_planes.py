"""Where the images of a DICOM series lie: planes from headers, and the grid that they make.

numpy alone, and pydicom's data sets: `dckd_ext.export.predict`, which is shipped by itself, takes this module
along.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dckd_ext.data.grids import TOLERANCE

__all__ = ["Plane", "frame_value", "image_planes", "stack", "stated_spacing"]

_TURN = 1e-3  # of direction cosines: they agree so far
_GAP = 1.5  # distances above so many usual ones hold a missing slice
_SAME_PLACE = 0.01  # of the usual distance
_CENTIMETRE = 3  # code of the unit of an ultrasound region
_PLACES = (
    ("PlanePositionSequence", "ImagePositionPatient", "PlaneOrientationSequence", "ImageOrientationPatient"),
    (
        *("PlanePositionVolumeSequence", "ImagePositionVolume"),
        *("PlaneOrientationVolumeSequence", "ImageOrientationVolume"),
    ),
)


class Plane(NamedTuple):
    """One frame of a file; where it lies, if that is stated.

    Attributes:
        file: its name.
        frame: its number in the file, from 0.
        name: for texts.
        place: three coordinates of the first voxel, and six of the axes of rows and columns, DICOM's.
        spacing: mm between columns and between rows.
    """

    file: str
    frame: int
    name: str
    place: np.ndarray | None
    spacing: np.ndarray | None


def image_planes(header: Any, file: str) -> list[Plane]:
    """Return the planes of a file in stored order."""
    count = int(header.get("NumberOfFrames") or 1)
    names = [f"frame {frame + 1}" for frame in range(count)] if count > 1 else [file]
    return [
        Plane(file, frame, name, _place(header, frame), _pixel_spacing(header, frame))
        for frame, name in enumerate(names)
    ]


def frame_value(header: Any, frame: int, sequence: str, keyword: str) -> Any:
    """Read a value of a frame: from its functional groups, from the shared ones, or from the file's top."""
    own = header.get("PerFrameFunctionalGroupsSequence") or []
    shared = header.get("SharedFunctionalGroupsSequence") or []
    for group in (*own[frame : frame + 1], *shared[:1]):
        for item in group.get(sequence) or []:
            if item.get(keyword) is not None:
                return item.get(keyword)
    return header.get(keyword)


def stack(planes: Sequence[Plane]) -> tuple[list[int], np.ndarray]:
    """Order planes along their normal, and find the affine of the voxels (column, row, plane).

    The frames of one file stay in stored order where that runs one way, up or down.

    Returns:
        The order, and the affine to mm: right, anterior, superior.

    Raises:
        ValueError: says why they make no regular grid.
    """
    if len(planes) < 2:
        raise ValueError("one slice, expected several")
    places = [plane.place for plane in planes if plane.place is not None]
    spacings = [plane.spacing for plane in planes if plane.spacing is not None]
    if len(places) < len(planes) or len(spacings) < len(planes):
        lacking = next(p for p in planes if p.place is None or p.spacing is None)
        raise ValueError(f"{lacking.name} states no position, orientation or pixel spacing")
    place, spacing = np.array(places), np.array(spacings)
    orientations = np.unique(np.round(place[:, 3:] / _TURN), axis=0)
    if (np.abs(place[:, 3:] - place[0, 3:]) > _TURN).any():
        raise ValueError(f"mixed orientations: {len(orientations)} among {len(planes)} slices")
    if (np.abs(spacing - spacing[0]) > TOLERANCE / 100 * spacing[0]).any():
        raise ValueError(f"mixed pixel spacings: {sorted({tuple(map(float, row)) for row in spacing})}")
    row, column = place[0, 3:6], place[0, 6:]
    if not np.allclose([row @ row, column @ column, row @ column], [1, 1, 0], atol=10 * _TURN):
        raise ValueError(f"its image orientation {place[0, 3:].tolist()} is no pair of axes at right angles")
    height = place[:, :3] @ np.cross(row, column)
    order = np.argsort(height, kind="stable")
    if len({plane.file for plane in planes}) == 1 and (np.diff(height) < 0).all():
        order = order[::-1]
    _check_distances([planes[index] for index in order], np.abs(np.diff(height[order])))
    step = (place[order[-1], :3] - place[order[0], :3]) / (len(planes) - 1)
    regular = place[order[0], :3] + np.arange(len(planes))[:, None] * step
    edge = min(*spacing[0], float(np.linalg.norm(step)))
    if (away := np.linalg.norm(place[order, :3] - regular, axis=1).max()) > TOLERANCE * edge:
        raise ValueError(f"slices are unevenly placed: up to {away:.3g} mm away from a regular grid")
    affine = np.eye(4)
    affine[:3] = np.column_stack([row * spacing[0, 0], column * spacing[0, 1], step, place[order[0], :3]])
    return order.tolist(), np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def stated_spacing(header: Any) -> tuple[float | None, float | None, float | None]:
    """Return mm along columns, rows and frames, as far as a multi-frame file without positions says it."""
    edges = _pixel_spacing(header, 0)
    if edges is None:
        edges = _region_spacing(header)
    between = frame_value(header, 0, "PixelMeasuresSequence", "SpacingBetweenSlices")
    in_plane = (None, None) if edges is None else (float(edges[0]), float(edges[1]))
    return (*in_plane, float(between) if between else None)


def _check_distances(planes: Sequence[Plane], distances: np.ndarray) -> None:
    usual = float(np.median(distances))
    same = distances <= _SAME_PLACE * (usual or 1.0)
    if same.any():
        first = int(same.argmax())
        raise ValueError(
            f"{planes[first].name} and {planes[first + 1].name} have the same position, {same.sum()} such "
            f"pair(s) of {len(planes)} slices: several volumes (echoes, times) or copies in one series"
        )
    wide = distances > _GAP * usual
    if wide.any():
        first, missing = int(wide.argmax()), int((np.round(distances[wide] / usual) - 1).sum())
        raise ValueError(
            f"a gap: {planes[first].name} and {planes[first + 1].name} lie {distances[first]:.3g} mm apart, "
            f"others {usual:.3g} mm; {missing} slice(s) are missing"
        )


def _place(header: Any, frame: int) -> np.ndarray | None:
    for sequence, position, turn_sequence, orientation in _PLACES:
        place = _numbers(frame_value(header, frame, sequence, position), 3)
        turn = _numbers(frame_value(header, frame, turn_sequence, orientation), 6)
        if place is not None and turn is not None:
            return np.concatenate([place, turn])
    return None


def _pixel_spacing(header: Any, frame: int) -> np.ndarray | None:
    """Between columns, then between rows: the other way round than in the file."""
    edges = _numbers(frame_value(header, frame, "PixelMeasuresSequence", "PixelSpacing"), 2)
    return edges[::-1] if edges is not None and (edges > 0).all() else None


def _region_spacing(header: Any) -> np.ndarray | None:
    """Of an ultrasound image, whose regions state it in cm; None where they differ."""
    found = {
        (abs(float(region.PhysicalDeltaX)) * 10, abs(float(region.PhysicalDeltaY)) * 10)
        for region in header.get("SequenceOfUltrasoundRegions") or []
        if region.get("PhysicalUnitsXDirection") == region.get("PhysicalUnitsYDirection") == _CENTIMETRE
    }
    edges = np.array(found.pop()) if len(found) == 1 else np.zeros(2)
    return edges if (edges > 0).all() else None


def _numbers(value: Any, count: int) -> np.ndarray | None:
    try:
        numbers = np.array(value, float)
    except (TypeError, ValueError):
        return None
    return numbers if numbers.shape == (count,) and np.isfinite(numbers).all() else None
