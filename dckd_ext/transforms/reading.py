"""Reading volumes: errors that name the file, and the spacing of NRRD files that state none."""

from __future__ import annotations

import logging
import os
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import nibabel
import nrrd
import numpy as np
from monai.config import KeysCollection
from monai.data import MetaTensor, NibabelReader, NrrdReader
from monai.data.image_reader import NrrdImage
from monai.data.utils import affine_to_spacing
from monai.transforms import LoadImaged
from monai.utils import SpaceKeys

from dckd_ext.utils.errors import root_cause

__all__ = ["ReadVolumed", "extent_problem", "named_read_errors", "read_voxels"]

_logger = logging.getLogger(__name__)


class ReadVolumed(LoadImaged):
    """MONAI's ``LoadImaged`` for volumes: errors name the file, and NRRD files may lack a spacing.

    Volumes of uint8 stay uint8 with ``dtype=None``; reading one then takes two to three times
    its bytes.

    The headers of the open ABUS set (NRRD) state ones for its spacing, and what counts is the order of the
    array: axis 0 is lateral, 1 depth, 2 the sweep. So with ``placeholder_spacing`` every NRRD file gets the
    affine ``diag(spacing)`` in stored order, never flipped or permuted: of this spacing if its header states
    none or ones, else of the header's (our decision). One warning a process says so.

    Args:
        keys: keys of the files to read.
        placeholder_spacing: mm, one number a stored axis, for NRRD files without a spacing. None: such files
            are refused, ones are taken as they are, and NRRD files get their header's affine as in MONAI.
        max_extent: greatest plausible size of a volume, mm, one number a stored axis. None: any.
        **kwargs: those of ``LoadImaged``, for example ``dtype``.

    Raises:
        FileNotFoundError: when a file does not exist.
        ValueError: when a file cannot be read to its end, is no 3D volume (NRRD), states no spacing, or is
            larger than ``max_extent``.

    Examples:
        >>> read = ReadVolumed(["image", "label"], placeholder_spacing=[0.2, 0.073, 0.475674], dtype=None)
    """

    def __init__(
        self,
        keys: KeysCollection,
        placeholder_spacing: Sequence[float] | None = None,
        max_extent: Sequence[float] | None = None,
        **kwargs: Any,
    ):
        super().__init__(keys, **kwargs)
        self.max_extent = _three_positive("max_extent", max_extent)
        placeholder = _three_positive("placeholder_spacing (key nrrd_spacing)", placeholder_spacing)
        for reader in (_ScalarNibabelReader(), _StoredNrrdReader(placeholder)):
            self._loader.register(reader)  # those registered last are tried first

    def __call__(self, data: Mapping[Hashable, Any], reader: Any = None) -> dict[Hashable, Any]:
        """Load every key of ``data`` that holds a path."""
        for key in self.key_iterator(dict(data)):
            with named_read_errors(str(key), data[key]):
                loaded = self._load_one(key, data, reader)
            self._check_extent(key, data[key], loaded[key])
            data = {**data, **loaded}
        return dict(data)

    def _load_one(self, key: Hashable, data: Mapping[Hashable, Any], reader: Any) -> dict[Hashable, Any]:
        keys, self.keys = self.keys, (key,)
        try:
            return super().__call__({key: data[key]}, reader)
        finally:
            self.keys = keys

    def _check_extent(self, key: Hashable, path: Any, volume: Any) -> None:
        if self.max_extent and isinstance(volume, MetaTensor):
            problem = extent_problem(volume.shape, affine_to_spacing(volume.affine).tolist(), self.max_extent)
            if problem:
                raise ValueError(f"{key}: {path}: {problem}")


class _ScalarNibabelReader(NibabelReader):
    """MONAI's NIfTI reader, which says what is wrong with a colour image."""

    def get_data(self, img: Any) -> tuple[np.ndarray, dict]:
        if img.get_data_dtype().names:
            names = "".join(img.get_data_dtype().names)
            raise ValueError(f"expected one value a voxel, found a colour image ({names})")
        voxels, meta = super().get_data(img)
        return _native(voxels), meta


class _StoredNrrdReader(NrrdReader):
    """MONAI's NRRD reader, without its copies of the voxels and with a spacing for headers that lack one."""

    def __init__(self, placeholder: tuple[float, ...] | None):
        super().__init__(channel_dim="no_channel")
        self.placeholder = placeholder

    def get_data(self, img: Any) -> tuple[np.ndarray, dict]:
        if img.array.ndim != 3:
            raise ValueError(
                "expected a volume with three axes and one value a voxel, found the sizes "
                f"{img.array.shape} (a colour image or a series of volumes?)"
            )
        header = {"space origin": np.zeros(3), **img.header, **self._directions(img.header)}
        # MONAI makes the meta data; the array stands in, so that the voxels are not copied.
        _, meta = super().get_data(NrrdImage(np.empty(0, np.uint8), header))
        return _native(img.array), meta

    def _directions(self, header: Mapping[str, Any]) -> dict[str, Any]:
        spacing = _header_spacing(header)
        if self.placeholder is None:
            if spacing is None:
                raise ValueError("the NRRD header states no spacing: give placeholder_spacing (mm)")
            return {} if "space directions" in header else {"space directions": np.diag(spacing)}
        if spacing is None or np.allclose(spacing, 1):
            _say_placeholder(self.placeholder)
            spacing = np.asarray(self.placeholder)
        return {"space directions": np.diag(spacing), "space origin": np.zeros(3), "space": SpaceKeys.RAS}


def _native(voxels: np.ndarray) -> np.ndarray:
    """Without a copy, unless the file's byte order is one that torch does not take."""
    return voxels.astype(voxels.dtype.newbyteorder("="), copy=False)


def _header_spacing(header: Mapping[str, Any]) -> np.ndarray | None:
    """Spacing of each stored axis as the header states it, or None."""
    if "space directions" in header:
        spacing = np.linalg.norm(np.asarray(header["space directions"], float), axis=1)
    else:
        spacing = np.asarray(header.get("spacings", np.nan), float)
    return spacing if spacing.shape == (3,) and np.isfinite(spacing).all() and spacing.all() else None


@cache
def _say_placeholder(spacing: tuple[float, ...]) -> None:
    _logger.warning(
        "NRRD files whose header states no spacing are taken to have %s mm (axes in stored order: lateral, "
        'depth, sweep). To use another: --nrrd_spacing "[...]" (key nrrd_spacing of the bundles\' configs)',
        " x ".join(f"{edge:g}" for edge in spacing),
    )


def read_voxels(path: str | os.PathLike[str]) -> np.ndarray:
    """Read the array of a NRRD or NIfTI file as it is stored, whatever its header says of its place.

    Raises:
        FileNotFoundError: when the file does not exist.
        ValueError: when it cannot be read.
    """
    with named_read_errors("volume", path):
        if str(path).endswith(".nrrd"):
            return nrrd.read(str(path))[0]
        return np.asanyarray(nibabel.nifti1.load(path).dataobj)


def extent_problem(shape: Sequence[int], spacing: Sequence[float], max_extent: Sequence[float]) -> str | None:
    """Say what is wrong with a volume that is larger than can be; None if it is not.

    Args:
        shape: voxels an axis, the three spatial axes first.
        spacing: mm an axis.
        max_extent: mm an axis.

    Examples:
        >>> extent_problem((865, 682, 354), (0.2, 0.073, 0.475674), (200, 60, 250))
    """
    extent = [size * edge for size, edge in zip(shape[:3], spacing, strict=False)]
    if all(found <= most for found, most in zip(extent, max_extent, strict=False)):
        return None
    found, most, edges = (
        " x ".join(f"{value:.4g}" for value in values) for values in (extent, max_extent, spacing)
    )
    return (
        f"{' x '.join(map(str, shape[:3]))} voxels of {edges} mm extend over {found} mm, expected at most "
        f"{most} mm along the stored axes: a wrong spacing, or exchanged axes?"
    )


@contextmanager
def named_read_errors(name: str, path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn whatever reading ``path`` raises into an error that names it.

    Raises:
        FileNotFoundError: when the file does not exist.
        ValueError: for any other error.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{name}: there is no file {path}") from error
    except Exception as error:
        empty = os.path.isfile(path) and not os.path.getsize(path)
        cause = "the file is empty" if empty else _reason(root_cause(error))
        raise ValueError(f"{name}: cannot read {path}: {cause}") from error


def _reason(error: BaseException) -> str:
    return str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"


def _three_positive(name: str, values: Sequence[float] | None) -> tuple[float, ...] | None:
    if values is None:
        return None
    try:
        numbers = tuple(map(float, values))
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != 3 or not all(0 < number < np.inf for number in numbers):
        raise ValueError(f"{name}: expected three positive numbers (mm, one a stored axis), found {values}")
    return numbers
