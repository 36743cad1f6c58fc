"""Zip files of bundles: equal bytes from equal files, and nothing outside their folder."""

from __future__ import annotations

import hashlib
import lzma
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

__all__ = ["check_paths", "sha256_of", "unpack", "write_zip"]

_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the first time that a zip file can state
_MOST = 4 * 2**30  # bytes unpacked; no bundle comes near
# what zipfile raises for damaged, encrypted and unknown content, by the way of compression
_BROKEN = (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error, lzma.LZMAError)


def write_zip(files: Mapping[str, Path], root: str, target: Path) -> None:
    """Write files below a root folder, in sorted order, with fixed times and modes.

    They are stored, not compressed: weights hardly shrink, and versions of zlib compress to different bytes.

    Args:
        files: content by path inside the root, such as "configs/train.yaml".
        root: name of the only folder at the top of the zip.
        target: zip file to write.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(files):
            entry = zipfile.ZipInfo(f"{root}/{path}", _EARLIEST)
            entry.create_system = 3  # Unix, wherever it is packed
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.file_size = files[path].stat().st_size
            with files[path].open("rb") as source, archive.open(entry, "w") as packed:
                shutil.copyfileobj(source, packed, 2**20)


def unpack(file: Path, root: str, folder: Path) -> None:
    """Unpack a zip file whose only top folder is ``root``, into a folder that exists.

    Every entry is checked before the first is written.

    Raises:
        ValueError: if it is no whole zip file, or an entry is a link, leaves the folder, lies outside
            ``root`` or comes twice, or all of them are larger than 4 GB.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _check_entries(file, archive.infolist())
            check_paths(str(file), [entry.filename for entry in entries])
            others = sorted({entry.filename.split("/")[0] for entry in archive.infolist()} - {root})
            if others or not entries:
                raise ValueError(
                    f"{file}: expected {root}/ as the only top folder, found {others or 'nothing'}"
                )
            for entry in entries:
                target = folder / entry.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as packed, target.open("xb") as unpacked:
                    shutil.copyfileobj(packed, unpacked, 2**20)
    except _BROKEN as error:
        raise ValueError(f"{file} is no whole zip file: {error}") from error


def check_paths(file: str, paths: Iterable[str]) -> None:
    """Refuse paths that leave their folder, that other systems read otherwise, or that come twice.

    Raises:
        ValueError: with ``file``, which holds the paths, and the path.
    """
    seen: set[str] = set()
    for path in paths:
        parts = path.split("/")
        if not path or any(part in ("", ".", "..") for part in parts) or "\\" in path or ":" in path:
            raise ValueError(f"{file}: the path {path!r} leaves its folder, or does on other systems")
        if path.casefold() in seen:
            raise ValueError(f"{file}: the path {path!r} comes twice")
        seen.add(path.casefold())
    files_as_folders = {str(parent) for path in seen for parent in PurePosixPath(path).parents} & seen
    if files_as_folders:
        raise ValueError(f"{file}: {sorted(files_as_folders)} are files and folders at once")


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as source:
        while chunk := source.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def _check_entries(file: Path, entries: Iterable[zipfile.ZipInfo]) -> None:
    entries = list(entries)
    for entry in entries:
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ValueError(f"{file}: {entry.filename!r} is a link or another special file")
    total = sum(entry.file_size for entry in entries)
    if total > _MOST:
        raise ValueError(f"{file}: would unpack to {total / 2**30:.1f} GB, at most 4 are expected")
