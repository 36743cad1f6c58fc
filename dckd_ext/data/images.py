"""Any image that can be segmented, by its path: a NIfTI or NRRD file, or a DICOM series.

`dckd_ext.export.predict`, which is shipped by itself, takes this module along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dckd_ext.data.dicom_series import choose_series, is_series, read_series, series_at
from dckd_ext.data.volumes import ENDINGS, Volume, check_place, is_volume, read_volume

__all__ = ["image_paths", "read_image"]


def image_paths(root: Path, series: str | None = None) -> list[Path]:
    """List the images of a root: the volumes of a folder, or else its DICOM series.

    Args:
        root: a folder, of volumes directly or of DICOM files at any depth, a zip of DICOM files, one file, or
            the path of a series.
        series: which of several DICOM series, see `dckd_ext.data.dicom_series.choose_series`.

    Returns:
        Paths; a series has one as if it were a file of ``root``.

    Raises:
        FileNotFoundError: when there is no such file or folder, or it holds neither.
        ValueError: when no series can be chosen; lists what there is.
    """
    if is_series(root):
        return [root]
    if not root.exists():
        raise FileNotFoundError(f"{root}: there is no such file or folder")
    files = sorted(root.iterdir()) if root.is_dir() else [root]
    found = [file for file in files if is_volume(file)] or [one.path for one in choose_series(root, series)]
    if not found:
        raise FileNotFoundError(f"{root}: expected volumes ({', '.join(ENDINGS)}) or DICOM files, found none")
    return found


def read_image(
    path: Path, nrrd_spacing: Sequence[float] | None = None, max_extent: Sequence[float] | None = None
) -> Volume:
    """Read what `image_paths` lists, to its end; see `dckd_ext.data.volumes.read_volume`.

    Raises:
        FileNotFoundError: when there is no such file or series.
        ValueError: as `read_volume` and `read_series`; the text leaves the path out.
    """
    if is_volume(path):
        return read_volume(path, nrrd_spacing, max_extent)
    volume = read_series(series_at(path), nrrd_spacing)
    return check_place(replace(volume, stored_order=nrrd_spacing is not None), max_extent)
