"""DICOM files in a folder, a zip or by themselves; a zip is read in place, nothing of it is written to disk.

The standard library alone, and pydicom where a file is read: `dckd_ext.export.predict`, which is shipped by
itself, takes this module along.
"""

from __future__ import annotations

import logging
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any

__all__ = ["MAX_MEMBERS", "MAX_UNPACKED", "Open", "dicom_names", "dicom_package", "opened", "quiet_pydicom"]

MAX_UNPACKED = 4 * 2**30
"""Bytes that a zip may hold."""
MAX_MEMBERS = 100_000
"""Files that a zip may hold."""

_PREAMBLE = 128
_ENDINGS = (".dcm", ".dicom", ".ima")
_ENCRYPTED = 1

Open = Callable[[str], IO[bytes]]


def dicom_package(name: str) -> Any:
    """Import pydicom, highdicom or a module of theirs, which come with the extra `dicom`.

    Raises:
        ValueError: when it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"DICOM needs the package {error.name}: pip install pydicom highdicom (extra 'dicom')"
        ) from error


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Take values as files have them; warnings about them would show what patients are called."""
    libraries = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    levels = [logger.level for logger in libraries]
    with dicom_package("pydicom.config").disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in libraries:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(libraries, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def opened(root: Path) -> Iterator[Open]:
    """Yield what opens a file of a folder, a zip or the one file ``root``, by its name in it.

    Raises:
        ValueError: when a zip cannot be read, is encrypted, or holds more than `MAX_MEMBERS` files or
            `MAX_UNPACKED` bytes.
    """
    if not _is_zip(root):
        yield lambda name: (root / name).open("rb")
        return
    try:
        archive = zipfile.ZipFile(root)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"{root}: cannot be read as a zip: {error}") from error
    with archive:
        _check_bounds(root, archive)
        yield lambda name: archive.open(name)


def dicom_names(root: Path, open_file: Open) -> list[str]:
    """List the DICOM files of a root, at any depth, by their first bytes or their ending; no hidden ones."""
    return [name for name in _names(root) if _is_dicom(name or root.name, open_file(name))]


def _names(root: Path) -> list[str]:
    if _is_zip(root):
        with zipfile.ZipFile(root) as archive:
            names = [member.filename for member in archive.infolist() if not member.is_dir()]
    elif root.is_dir():
        walk = os.walk(root)
        names = [
            os.path.relpath(os.path.join(folder, file), root) for folder, _, files in walk for file in files
        ]
    else:
        names = [""]
    return sorted(name for name in names if not os.path.basename(name).startswith("."))


def _is_zip(root: Path) -> bool:
    return root.is_file() and root.suffix.lower() == ".zip"


def _is_dicom(name: str, file: IO[bytes]) -> bool:
    with file:
        return name.lower().endswith(_ENDINGS) or file.read(_PREAMBLE + 4)[_PREAMBLE:] == b"DICM"


def _check_bounds(root: Path, archive: zipfile.ZipFile) -> None:
    members = archive.infolist()
    size = sum(member.file_size for member in members)  # zipfile reads no more than a member says
    if len(members) > MAX_MEMBERS or size > MAX_UNPACKED:
        raise ValueError(
            f"{root}: holds {len(members)} files of {size / 2**30:.1f} GiB, expected at most {MAX_MEMBERS} "
            f"of {MAX_UNPACKED / 2**30:.0f} GiB: unpack it, if you trust it, and name the folder"
        )
    if any(member.flag_bits & _ENCRYPTED for member in members):
        raise ValueError(f"{root}: is encrypted: unpack it and name the folder")
