"""NIfTI and NRRD files: one reading for training, inference, evaluation, checks, pictures and predict.

What a header says of the place of its voxels is read by these rules; all places are in mm (right, anterior,
superior), whatever unit the header has:

- NIfTI: the sform if its code is above 0, else the qform if its code is above 0, else what ITK, and so Slicer
  and ITK-SNAP, shows: edges from pixdim, axes to the left, the back and up, the first voxel at 0.
- NRRD: space directions and origin in one of the eight spaces, long or short, in any case; without a space
  left-posterior-superior, as ITK has it. With ``nrrd_spacing`` the order of the array is the place (ABUS).

numpy and nibabel alone, and pynrrd for NRRD: `dckd_ext.export.predict`, which is shipped by itself, takes
this module along.
"""

from __future__ import annotations

import bz2
import gzip
import io
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from dckd_ext.data.grids import (
    TOLERANCE,
    Grid,
    as_mm,
    corner_distance,
    extent_problem,
    parts,
    voxel_edges,
)

__all__ = [
    "ENDINGS",
    "Volume",
    "channels_first",
    "check_place",
    "constant_note",
    "count_not_finite",
    "is_volume",
    "mask_image",
    "nifti_header",
    "read_volume",
    "read_voxels",
    "warn_of",
]

ENDINGS = (".nii", ".nii.gz", ".nrrd", ".nhdr")
"""Of the files that can be read, in small or capital letters."""

_logger = logging.getLogger(__name__)
_NIFTI_PLACE = (
    *("pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)
_NIFTI_UNITS = {0: 1.0, 1: 1e3, 2: 1.0, 3: 1e-3}  # unknown (mm, as everybody takes it), m, mm, micrometres
_NRRD_UNITS = {"mm": 1.0, "millimeter": 1.0, "m": 1e3, "meter": 1e3, "cm": 10.0, "um": 1e-3, "micron": 1e-3}
_NRRD_AXES = (("right", "left"), ("anterior", "posterior"), ("superior", "inferior"))
_STREAMS: Mapping[str, Any] = {"gzip": gzip.open, "gz": gzip.open, "bzip2": bz2.open, "bz2": bz2.open}
_ITK_AXES = np.diag([-1.0, -1.0, 1.0, 1.0])
_PLAUSIBLE = (1.0, 5000.0)  # mm that a volume extends over, along its longest axis
_DEFLATE = 1032  # bytes that a byte of gzip can hold at most


@dataclass(frozen=True)
class Volume:
    """A file as it was read.

    Attributes:
        voxels: ``(X, Y, Z)``, or ``(X, Y, Z, C)`` with more than one channel, axes in the stored order.
        affine: from indices to mm (right, anterior, superior).
        header: of a NIfTI file; masks take their place from it.
        stored_order: labels and images belong together by the order of their arrays (``nrrd_spacing``).
        notes: what is doubtful about the place, for a warning.
    """

    voxels: np.ndarray
    affine: np.ndarray
    header: Any = None
    stored_order: bool = False
    notes: tuple[str, ...] = ()

    @property
    def grid(self) -> Grid:
        """Shape and affine."""
        return Grid(self.voxels.shape[:3], self.affine)


def is_volume(path: str | os.PathLike[str]) -> bool:
    """Say whether a file's name ends as volumes do, and is not hidden.

    Examples:
        >>> [is_volume(name) for name in ("a.nii.gz", "A.NII.GZ", "a.nhdr", "a.txt", ".a.nii")]
        [True, True, True, False, False]
    """
    name = Path(path).name.lower()
    return name.endswith(ENDINGS) and not name.startswith(".")


def read_volume(
    path: str | os.PathLike[str],
    nrrd_spacing: Sequence[float] | None = None,
    max_extent: Sequence[float] | None = None,
) -> Volume:
    """Read a file to its end.

    Args:
        path: a NIfTI or NRRD file.
        nrrd_spacing: mm, one number a stored axis. The order of the array is then what counts, and every NRRD
            file has the affine ``diag(spacing)``, never flipped or permuted: of this spacing where its header
            states none or ones, else of the header's.
        max_extent: greatest plausible size, mm, one number a stored axis. None: any.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is damaged, no volume of one real number a voxel, states no spacing (NRRD), has an
            affine that cannot be inverted, or is larger than ``max_extent``; the text leaves the file out.
    """
    volume = _read_nrrd(Path(path), nrrd_spacing) if _is_nrrd(path) else _read_nifti(Path(path))
    return check_place(replace(volume, stored_order=nrrd_spacing is not None), max_extent)


def check_place(volume: Volume, max_extent: Sequence[float] | None = None) -> Volume:
    """Return a volume with a note where its extent is not plausible.

    Raises:
        ValueError: when its affine cannot be inverted, or it is larger than ``max_extent``.
    """
    if not np.isfinite(volume.affine).all() or not abs(np.linalg.det(volume.affine[:3, :3])) > 0:
        raise ValueError(f"expected an affine that can be inverted, found {volume.affine.tolist()}")
    if max_extent and (problem := extent_problem(volume.grid.shape, voxel_edges(volume.affine), max_extent)):
        raise ValueError(problem)
    extent = np.multiply(volume.grid.shape, voxel_edges(volume.affine))
    if not _PLAUSIBLE[0] <= extent.max() <= _PLAUSIBLE[1]:
        note = f"it extends over {as_mm(extent)}: does the header state the true spacing and its unit?"
        volume = replace(volume, notes=(*volume.notes, note))
    return volume


def read_voxels(path: str | os.PathLike[str]) -> np.ndarray:
    """Read the array of a file, whatever its header says of its place. Errors as for `read_volume`."""
    return _nrrd_voxels(Path(path))[0] if _is_nrrd(path) else _nifti_voxels(Path(path))[0]


def channels_first(voxels: np.ndarray, channels: int) -> np.ndarray:
    """Return a view of a volume's voxels as ``CXYZ``.

    Raises:
        ValueError: for another number of channels.
    """
    volume = voxels[None] if voxels.ndim == 3 else np.moveaxis(voxels, -1, 0)
    if volume.ndim != 4 or len(volume) != channels:
        raise ValueError(f"expected a 3D volume with {channels} channel(s), found the shape {voxels.shape}")
    return volume


def count_not_finite(voxels: np.ndarray) -> int:
    """Count the voxels that are NaN or infinite in float32, part by part, so that it takes little memory."""
    if voxels.dtype.kind != "f":
        return 0
    largest = np.finfo(np.float32).max
    return sum(int((~(np.abs(part) <= largest)).sum()) for part in parts(voxels))


def constant_note(voxels: np.ndarray) -> str | None:
    """Say that a volume holds one value only, in which there is nothing to see; None if it holds more."""
    first = voxels.flat[0]
    if any((part != first).any() for part in parts(voxels)):
        return None
    return f"all voxels are {first:g}: what is found in it means nothing"


def nifti_header(path: str | os.PathLike[str], grid: Grid) -> Any:
    """Return the header of the NIfTI file that has this grid; None for other files."""
    if _is_nrrd(path) or not is_volume(path) or not Path(path).is_file():
        return None
    header: Any = nibabel.load(path).header
    shape = _check_shape(header.get_data_shape())[:3]
    same = shape == tuple(grid.shape) and np.allclose(_nifti_affine(header, shape)[0], grid.affine, atol=1e-6)
    return header if same else None


@cache
def warn_of(path: str, note: str) -> None:
    """Log a warning about a file, once in a process."""
    _logger.warning("%s: %s", path, note)


def mask_image(mask: np.ndarray, grid: Grid, header: Any = None) -> Any:
    """Make the NIfTI image of a mask, which every reader shows where it shows the image.

    Args:
        mask: ``(X, Y, Z)``.
        grid: where it lies, if there is no header; both forms say so then.
        header: of the NIfTI file that the mask belongs to: its forms, codes and unit are kept as they are.
    """
    if header is None:
        image = nibabel.Nifti1Image(mask, grid.affine)
        image.set_sform(grid.affine, code=1)
        image.set_qform(grid.affine, code=1)
        image.header.set_xyzt_units("mm")
        return image
    nifti2 = isinstance(header, nibabel.Nifti2Header)
    own = (nibabel.Nifti2Header if nifti2 else nibabel.Nifti1Header)()
    own.set_data_dtype(mask.dtype)
    own.set_data_shape(mask.shape)
    for field in _NIFTI_PLACE:
        own[field] = header[field]
    own["pixdim"][4:] = 0
    own["xyzt_units"] = int(header["xyzt_units"]) & 7  # of length; a mask has no time
    return (nibabel.Nifti2Image if nifti2 else nibabel.Nifti1Image)(mask, None, own)


# NIfTI


def _read_nifti(path: Path) -> Volume:
    voxels, header = _nifti_voxels(path)
    affine, notes = _nifti_affine(header, voxels.shape[:3])
    return Volume(voxels, affine, header, notes=tuple(notes))


def _nifti_voxels(path: Path) -> tuple[np.ndarray, Any]:
    if not is_volume(path):
        raise ValueError(f"expected a file that ends in {', '.join(ENDINGS)}")
    with _faults(path):
        image: Any = nibabel.load(path)
    if not isinstance(image, nibabel.Nifti1Image):  # NIfTI-2 is one too
        raise ValueError(f"expected a NIfTI volume, found {type(image).__name__}")
    _check_type(image.get_data_dtype())
    shape = _check_shape(image.shape)
    with _faults(path):
        if path.suffix.lower() == ".gz":
            _check_length(path, image)
            with gzip.open(path) as stream:
                voxels = np.asanyarray(type(image).from_stream(stream).dataobj)
                while stream.read(2**20):  # the check sum comes after the last voxel
                    pass
        else:
            voxels = np.asanyarray(image.dataobj)
    return _native(voxels).reshape(shape, order="F"), image.header


def _check_length(path: Path, image: Any) -> None:
    """Refuse a header that claims more than the file can hold, before memory is asked for."""
    claimed = int(np.prod(image.shape, dtype=float)) * image.get_data_dtype().itemsize
    if claimed > _DEFLATE * path.stat().st_size:
        raise ValueError(f"the header claims {claimed:.3g} bytes of voxels, more than the file can hold")


def _nifti_affine(header: Any, shape: Sequence[int]) -> tuple[np.ndarray, list[str]]:
    """Find the affine in mm, and say what is doubtful about it."""
    notes = []
    sform, qform = header.get_sform(coded=True)[0], None
    try:
        qform = header.get_qform(coded=True)[0]
    except ValueError as error:  # without an sform nibabel has refused it before
        notes.append(f"its qform cannot be understood ({error}), the sform is taken")
    if sform is not None:
        affine = sform
        notes += filter(None, [_disagreement(header, sform, qform, shape)])
    elif qform is not None:
        affine = qform
    else:
        affine = _ITK_AXES @ np.diag([*np.abs(header["pixdim"][1:4].astype(float)), 1])
        notes.append(
            "neither sform nor qform is set: taken as ITK does, axes to the left, the back and up, the first "
            "voxel at 0"
        )
    unit = int(header["xyzt_units"]) & 7
    if unit not in _NIFTI_UNITS:
        notes.append(f"xyzt_units has no unit of length of the number {unit}, taken as mm")
    scale = _NIFTI_UNITS.get(unit, 1.0)
    return np.diag([scale, scale, scale, 1]) @ affine, notes


def _disagreement(
    header: Any, sform: np.ndarray, qform: np.ndarray | None, shape: Sequence[int]
) -> str | None:
    """Say what other readers may take the place for, if that is elsewhere."""
    edges = voxel_edges(sform)
    if not edges.all():
        return None  # refused afterwards
    what, other = "qform", qform
    if other is None:  # ITK takes the edges from pixdim, whichever form it takes
        what, other = "pixdim", sform @ np.diag([*header["pixdim"][1:4] / edges, 1])
    distance = corner_distance(Grid(tuple(shape), sform), Grid(tuple(shape), other))
    if distance <= TOLERANCE * edges.min():
        return None
    scale = _NIFTI_UNITS.get(int(header["xyzt_units"]) & 7, 1.0)
    return (
        f"its sform (code {int(header['sform_code'])}) and its {what} put a corner {distance * scale:.3g} mm "
        f"apart: the sform is taken, ITK readers (Slicer, ITK-SNAP) may take the {what}"
    )


# NRRD


def _read_nrrd(path: Path, placeholder: Sequence[float] | None) -> Volume:
    voxels, header = _nrrd_voxels(path)
    if voxels.ndim != 3:
        raise ValueError(
            f"expected a volume with three axes and one value a voxel, found the sizes {voxels.shape} (a "
            "colour image or a series of volumes?)"
        )
    directions = _nrrd_directions(header)
    if placeholder is not None:
        if directions is None or np.allclose(np.linalg.norm(directions, axis=1), 1):
            _say_placeholder(" x ".join(f"{edge:g}" for edge in placeholder))
            directions = np.diag(placeholder)
        edges = np.linalg.norm(directions, axis=1)
        return Volume(voxels, np.diag([*edges, 1.0]))
    if directions is None:
        raise ValueError("the NRRD header states no spacing")
    notes = []
    if "space directions" not in header or "space" not in header:
        notes.append("the NRRD header states no space, taken as ITK does: left-posterior-superior")
    affine = np.eye(4)
    affine[:3, :3] = directions.T
    affine[:3, 3] = header.get("space origin", np.zeros(3))
    affine = np.diag([*_nrrd_signs(header.get("space", "left-posterior-superior")), 1]) @ affine
    units = {unit.lower() for unit in header.get("space units", ["mm"])}
    if len(units) > 1 or not units <= _NRRD_UNITS.keys():
        notes.append(f"space units are {sorted(units)}, taken as mm; known are {', '.join(_NRRD_UNITS)}")
        units = {"mm"}
    scale = _NRRD_UNITS[units.pop()]
    return Volume(voxels, np.diag([scale, scale, scale, 1]) @ affine, notes=tuple(notes))


def _nrrd_directions(header: Mapping[str, Any]) -> np.ndarray | None:
    """Find the steps of the stored axes, a row each; None where the header does not state them."""
    if "space directions" in header:
        directions = np.asarray(header["space directions"], float)
    else:
        directions = np.diag(np.atleast_1d(np.asarray(header.get("spacings", np.nan), float)))
    stated = directions.shape == (3, 3) and np.isfinite(directions).all()
    return directions if stated and np.linalg.norm(directions, axis=1).all() else None


def _nrrd_signs(space: str) -> list[int]:
    """1 for an axis to the right, to the front or up, -1 for one to the left, to the back or down."""
    words = space.strip().lower().split("-")
    words = list(words[0]) if len(words) == 1 else words
    signs = [
        next((sign for sign, name in ((1, plus), (-1, minus)) if word in (name, name[0])), 0)
        for word, (plus, minus) in zip(words, _NRRD_AXES, strict=False)
    ]
    if len(words) != 3 or not all(signs):
        raise ValueError(
            "expected a space of right or left, anterior or posterior, superior or inferior, such as "
            f"left-posterior-superior or LPS, found {space}"
        )
    return signs


def _nrrd_voxels(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    try:
        import nrrd
    except ImportError as error:
        raise ValueError("NRRD files need the package pynrrd: pip install pynrrd") from error
    with _faults(path), open(path, "rb") as file:
        header = nrrd.read_header(file)
        with _nrrd_data_file(header, path) or file as data:
            voxels = _nrrd_array(nrrd, header, data)
    _check_type(voxels.dtype)
    return _native(voxels), header


def _nrrd_data_file(header: dict[str, Any], path: Path) -> Any:
    """Open the data file of a detached header, which has to lie beside it; None if the data follow it."""
    names = [header.pop(key) for key in ("data file", "datafile") if key in header]
    if not names:
        return None
    name = names[0]
    if Path(name).name != name or "\\" in name or name in ("", "LIST", ".."):
        raise ValueError(f"expected a data file in the header's own folder, found {name}")
    if not path.with_name(name).is_file():
        raise ValueError(f"its data file {name} is not beside it")
    return open(path.with_name(name), "rb")


def _nrrd_array(nrrd: Any, header: dict[str, Any], file: Any) -> np.ndarray:
    """Read the voxels; compressed ones to the end of their stream, which pynrrd does not check for."""
    if header["encoding"] not in _STREAMS:
        return nrrd.read_data(header, file)
    for _ in range(header.get("line skip", header.get("lineskip", 0))):
        file.readline()
    with _STREAMS[header["encoding"]](file) as stream:
        plain = {key: value for key, value in header.items() if key not in ("line skip", "lineskip")}
        return nrrd.read_data({**plain, "encoding": "raw"}, io.BytesIO(stream.read()))


@cache
def _say_placeholder(spacing: str) -> None:
    _logger.warning(
        "NRRD files whose header states no spacing are taken to have %s mm (axes in stored order: lateral, "
        'depth, sweep). To use another: --nrrd_spacing "[...]" (key nrrd_spacing of the bundles\' configs)',
        spacing,
    )


# Both


def _is_nrrd(path: str | os.PathLike[str]) -> bool:
    return Path(path).suffix.lower() in (".nrrd", ".nhdr")


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    """Say in one form what is wrong with a file that cannot be read."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:  # nibabel's, pynrrd's, zlib's and numpy's
        if path.is_file() and not path.stat().st_size:
            raise ValueError("the file is empty") from error
        cause = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
        raise ValueError(f"cannot be read: {cause}") from error


def _check_type(dtype: np.dtype) -> None:
    if dtype.names:
        raise ValueError(f"expected one value a voxel, found a colour image ({''.join(dtype.names)})")
    if dtype.kind not in "biuf":
        raise ValueError(f"expected one real number a voxel, found {dtype}")


def _check_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape without trailing axes of one, which many programs add to a volume."""
    kept = list(shape)
    while len(kept) > 3 and kept[-1] == 1:
        kept.pop()
    if len(kept) not in (3, 4) or not all(kept):
        raise ValueError(f"expected a 3D volume, found the shape {tuple(shape)}")
    return tuple(kept)


def _native(voxels: np.ndarray) -> np.ndarray:
    """Without a copy, unless the file's byte order or precision is one that torch does not take."""
    if voxels.dtype.itemsize > 8:
        return voxels.astype(np.float64)
    return voxels.astype(voxels.dtype.newbyteorder("="), copy=False)
