"""DICOM series: found in a folder, a zip or a file, chosen, and read as volumes.

A series has a path, as if it were a file of its folder or zip: ``DIR/3_T1_MPRAGE``, of number and
description, so that it is named and read like any other volume. Its place is what its images state; until it
is read, headers alone are. With ``nrrd_spacing`` (ABUS) frames without positions lie as they are stored:
columns are lateral, rows depth, frames the sweep; along axes without a stated spacing that one counts.

`dckd_ext.export.predict`, which is shipped by itself, takes this module along.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from dckd_ext.data.dicom_files import Open, dicom_names, dicom_package, opened, quiet_pydicom
from dckd_ext.data.dicom_planes import Plane, frame_value, image_planes, stack, stated_spacing
from dckd_ext.data.grids import as_mm
from dckd_ext.data.volumes import Volume

__all__ = ["Series", "choose_series", "find_series", "is_series", "read_series", "series_at"]

_HEADER = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber"),
    *("SeriesDescription", "InstanceNumber", "Modality", "ImageType", "Rows", "Columns", "NumberOfFrames"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SpacingBetweenSlices"),
    *("SamplesPerPixel", "PhotometricInterpretation", "SequenceOfUltrasoundRegions"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)
_RESCALE = (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
_NO_IMAGES = ("SEG", "RTSTRUCT", "RTDOSE", "PR", "SR", "KO")
_GREY = 2  # that the channels of a grey image stored in colour may differ by, as its compression leaves them


@dataclass(frozen=True, eq=False)
class Series:
    """A volume among DICOM files.

    Attributes:
        root: the folder, zip or file that holds it.
        name: of number and description, as no other of the root has it.
        uid: of the series.
        number: of the series in its study.
        description: what the scanner calls it.
        modality: "MR", "US", ...
        shape: columns, rows, planes.
        planes: in the order of the third axis.
        affine: to mm (right, anterior, superior); None where the files state no positions.
        spacing: mm along the three axes, as far as it is stated.
        problem: why it cannot be segmented.
    """

    root: Path
    name: str
    uid: str
    number: str
    description: str
    modality: str
    shape: tuple[int, int, int]
    planes: tuple[Plane, ...]
    affine: np.ndarray | None
    spacing: tuple[float | None, float | None, float | None]
    problem: str | None

    @property
    def path(self) -> Path:
        """As if it were a file."""
        return self.root / self.name

    @property
    def files(self) -> tuple[str, ...]:
        """Names of its files in the root, in the order of its planes, each once."""
        return tuple(dict.fromkeys(plane.file for plane in self.planes))

    def __str__(self) -> str:
        """Return a line for a list."""
        text = f"{self.name} ({self.modality}, {self.shape[2]} slices)"
        return f"{text}: {self.problem}" if self.problem else text


def is_series(path: Path) -> bool:
    """Say whether a path is one of a `Series`."""
    return (
        not path.exists() and path.parent.exists() and any(s.path == path for s in find_series(path.parent))
    )


def series_at(path: Path) -> Series:
    """Return the series of a path.

    Raises:
        FileNotFoundError: when there is none.
    """
    for series in find_series(path.parent) if path.parent.exists() else ():
        if series.path == path:
            return series
    raise FileNotFoundError(f"{path}: there is no such series")


@cache
def find_series(root: Path) -> tuple[Series, ...]:
    """Find the series of a folder, a zip or a file by their headers, once in a process.

    Each multi-frame file is one. What holds no images, such as reports and segmentations, is left out.

    Raises:
        ValueError: when pydicom is not installed, or a DICOM file or zip cannot be read; names it.
    """
    groups: dict[tuple[str, ...], list[tuple[str, Any]]] = {}
    with opened(root) as open_file:
        for name in dicom_names(root, open_file):
            header = _header(root, name, open_file)
            if header is not None:
                own = str(header.SOPInstanceUID) if int(header.get("NumberOfFrames") or 1) > 1 else ""
                groups.setdefault((str(header.SeriesInstanceUID), own), []).append((name, header))
    keys = sorted(groups, key=lambda key: (int(groups[key][0][1].get("SeriesNumber") or 0), key))
    names = _unique([_name(groups[key][0][1]) for key in keys])
    return tuple(_series(root, name, groups[key]) for name, key in zip(names, keys, strict=True))


def choose_series(root: Path, wanted: str | None = None) -> list[Series]:
    """Choose the series of a root to segment.

    Args:
        root: folder, zip or file.
        wanted: a number, UID, name or description, in any case, with ``*`` and ``?`` for any characters. By
            default the only one that can be segmented.

    Returns:
        One or, by ``wanted``, several; none when the root has no DICOM images.

    Raises:
        ValueError: when there is none or more than one; lists them. As `find_series`.
    """
    found = find_series(root)
    if not found:
        return []
    if wanted is None:
        chosen = [series for series in found if not series.problem]
        if len(chosen) == 1:
            return chosen
        if len(found) == 1:
            raise ValueError(f"{root}: {found[0]}")
        what = "choose by --series" if chosen else "none of which can be segmented"
    else:
        chosen = [series for series in found if _is(series, wanted)]
        if chosen:
            return chosen
        what = f"none of which is {wanted!r}"
    raise ValueError(f"{root}: holds {len(found)} DICOM series, {what}: {'; '.join(map(str, found))}")


def read_series(series: Series, nrrd_spacing: Sequence[float] | None = None) -> Volume:
    """Read the voxels of a series, rescaled as its files say.

    Args:
        series: one of `find_series`.
        nrrd_spacing: mm along columns, rows and frames, for what a file without positions does not state.

    Raises:
        ValueError: when it cannot be segmented (``problem``), does not say where it lies, is in colour or
            cannot be decoded; the text leaves the series out.
    """
    if series.problem:
        raise ValueError(series.problem)
    affine, notes = _affine(series, nrrd_spacing)
    with opened(series.root) as open_file:
        voxels = _frames(series, open_file) if len(series.files) == 1 else _slices(series, open_file)
    return Volume(voxels, affine, notes=tuple(notes))


def _header(root: Path, name: str, open_file: Open) -> Any:
    """Read the header of an image; None for other objects."""
    pydicom = dicom_package("pydicom")
    file = f"{root / name}"
    try:
        with open_file(name) as stream, quiet_pydicom():
            header = pydicom.dcmread(stream, stop_before_pixels=True, force=True, specific_tags=[*_HEADER])
    except Exception as error:  # pydicom's, zlib's and zipfile's
        raise ValueError(f"{file}: cannot be read as DICOM: {error}") from error
    if "SOPClassUID" not in header and "MediaStorageSOPClassUID" not in header.file_meta:
        raise ValueError(f"{file}: cannot be read as DICOM: it states no SOP class")
    if not header.get("Rows") or not header.get("Columns") or header.get("Modality") in _NO_IMAGES:
        return None
    if "SeriesInstanceUID" not in header or "SOPInstanceUID" not in header:
        raise ValueError(f"{file}: states no UID of its series or image")
    return header


def _series(root: Path, name: str, images: Sequence[tuple[str, Any]]) -> Series:
    first = images[0][1]
    planes = [plane for file, header in images for plane in image_planes(header, file)]
    affine, problem = None, _image_problem([header for _, header in images])
    spacing: tuple[float | None, float | None, float | None] = (None, None, None)
    if len(planes) > 1 and len(images) == 1 and planes[0].place is None:
        spacing = stated_spacing(first)
    elif not problem:
        try:
            order, affine = stack(planes)
        except ValueError as error:
            problem = str(error)
        else:
            planes = [planes[index] for index in order]
            x, y, z = (float(edge) for edge in np.linalg.norm(affine[:3, :3], axis=0))
            spacing = (x, y, z)
    return Series(
        root=root,
        name=name,
        uid=str(first.SeriesInstanceUID),
        number=str(first.get("SeriesNumber") or ""),
        description=str(first.get("SeriesDescription") or "").strip(),
        modality=str(first.get("Modality") or "?"),
        shape=(int(first.Columns), int(first.Rows), len(planes)),
        planes=tuple(planes),
        affine=affine,
        spacing=spacing,
        problem=problem,
    )


def _image_problem(headers: Sequence[Any]) -> str | None:
    if any("LOCALIZER" in (header.get("ImageType") or ()) for header in headers):
        return "a localizer"
    sizes = sorted({(int(header.Columns), int(header.Rows)) for header in headers})
    if len(sizes) > 1:
        return f"mixed sizes: {', '.join(f'{columns} x {rows}' for columns, rows in sizes)}"
    kinds = {str(header.get("PhotometricInterpretation")) for header in headers}
    if unfit := sorted(kind for kind in kinds if not re.match("MONOCHROME2|RGB|YBR", kind)):
        return f"expected grey values (MONOCHROME2), found {', '.join(unfit)}"
    syntaxes = {header.file_meta.get("TransferSyntaxUID") for header in headers} - {None}
    return next(filter(None, map(_syntax_problem, sorted(syntaxes, key=str))), None)


def _syntax_problem(syntax: Any) -> str | None:
    if not syntax.is_compressed or syntax.is_deflated:
        return None
    try:
        decoder = dicom_package("pydicom.pixels").get_decoder(syntax)
    except NotImplementedError:
        return f"compressed as {syntax.name} ({syntax}), which pydicom cannot decode"
    if decoder.is_available:
        return None
    needed = "; or ".join(decoder.missing_dependencies)
    return f"compressed as {syntax.name} ({syntax}), which pydicom decodes with one of: {needed}"


def _name(header: Any) -> str:
    words = (str(header.get(key) or "") for key in ("SeriesNumber", "SeriesDescription"))
    text = re.sub(r"[^0-9A-Za-z-]+", "_", "_".join(filter(None, words))).strip("_")
    return text[:80] or str(header.get("Modality") or "series")


def _unique(names: Sequence[str]) -> list[str]:
    return [
        f"{name}_{names[:index].count(name) + 1}" if names.count(name) > 1 else name
        for index, name in enumerate(names)
    ]


def _is(series: Series, wanted: str) -> bool:
    exact = (series.number, series.uid)
    return wanted in exact or any(
        fnmatchcase(text.casefold(), wanted.casefold()) for text in (series.description, series.name)
    )


def _affine(series: Series, nrrd_spacing: Sequence[float] | None) -> tuple[np.ndarray, Iterable[str]]:
    if series.affine is not None:
        return series.affine, ()
    axes = ("columns", "rows", "frames")
    lacking = [axis for axis, edge in zip(axes, series.spacing, strict=True) if edge is None]
    if nrrd_spacing is None:
        if lacking:
            raise ValueError(f"it states no distance of its {' and '.join(lacking)}, in mm")
        edges = np.array(series.spacing, float)
        note = "it states no positions: axes are taken to the left, the back and up, the first voxel at 0"
        return np.diag([-edges[0], -edges[1], edges[2], 1.0]), [note]
    edges = np.array(
        [b if a is None else a for a, b in zip(series.spacing, nrrd_spacing, strict=True)], float
    )
    note = f"it states no distance of its {' and '.join(lacking)}: taken as {as_mm(edges)} (nrrd_spacing)"
    return np.diag([*edges, 1.0]), [note] if lacking else []


def _slices(series: Series, open_file: Open) -> np.ndarray:
    """Read one file a plane."""
    parts = [_grey(*_pixels(file, open_file)).T for file in series.files]
    voxels = np.empty(series.shape, np.result_type(*parts), order="F")
    for index, part in enumerate(parts):
        voxels[..., index] = part
    return voxels


def _frames(series: Series, open_file: Open) -> np.ndarray:
    """Read all planes from one file."""
    header, stored = _pixels(series.files[0], open_file)
    stored = _grey(header, stored)
    order = [plane.frame for plane in series.planes]
    if order != sorted(order):
        stored = stored[order]
    return stored.transpose(2, 1, 0)


def _pixels(file: str, open_file: Open) -> tuple[Any, np.ndarray]:
    pydicom, pixels = dicom_package("pydicom"), dicom_package("pydicom.pixels")
    try:
        with open_file(file) as stream, quiet_pydicom():
            data = pydicom.dcmread(stream, force=True)
            return data, pixels.pixel_array(data)
    except Exception as error:  # pydicom's, its plugins', zlib's and zipfile's
        raise ValueError(f"{file}: its voxels cannot be read: {error}") from error


def _grey(header: Any, stored: np.ndarray) -> np.ndarray:
    """Return one real number a voxel, rescaled frame by frame; integers stay as they are where nothing is."""
    if int(header.get("SamplesPerPixel") or 1) > 1:
        if np.ptp(stored, axis=-1).max(initial=0) > _GREY:
            raise ValueError("expected one value a voxel, found a colour image")
        stored = stored[..., 0]
    frames = range(int(header.get("NumberOfFrames") or 1))
    scale = np.array([[_rescale(header, n, key, one) for n in frames] for key, one in _RESCALE], float)
    if (scale == [[1], [0]]).all():
        return stored
    slope, intercept = scale if len(frames) > 1 else scale[:, 0]
    shape = (-1, 1, 1) if len(frames) > 1 else ()
    return (stored * np.reshape(slope, shape) + np.reshape(intercept, shape)).astype(np.float32)


def _rescale(header: Any, frame: int, keyword: str, otherwise: float) -> float:
    value = frame_value(header, frame, "PixelValueTransformationSequence", keyword)
    return otherwise if value is None else float(value)
