"""A released bundle, brought to this machine whole and verified, or not at all."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from dckd_ext.distribution.archive import unpack
from dckd_ext.distribution.download import download
from dckd_ext.distribution.metadata import read_metadata
from dckd_ext.distribution.sources import RELEASE_URL, Remote, find
from dckd_ext.networks import read_state_dict
from dckd_ext.utils.disks import full_disk_named
from dckd_ext.utils.folders import claimed

__all__ = ["MAX_GB", "Fetched", "fetch_bundle"]

MAX_GB = 2.0
"""As much as GitHub takes for a file of a release."""

_PICKLES = {".pt", ".pth", ".ckpt", ".tar", ".pkl", ".pickle", ".bin", ".joblib"}


@dataclass(frozen=True)
class Fetched:
    """A bundle's folder, version and size (bytes), its address, and where an earlier one went."""

    folder: Path
    url: str
    version: str
    size: int
    kept: Path | None


def fetch_bundle(
    name: str,
    source: str | None = None,
    version: str | None = None,
    bundle_dir: str | PathLike[str] = ".",
    force: bool = False,
    max_gb: float = MAX_GB,
) -> Fetched:
    """Fetch a bundle from a release into `bundle_dir/name`.

    Nothing of it is run. What was downloaded is verified by SHA-256 before it is unpacked; paths, links, root
    folder, version and weights are checked in a folder beside, which becomes the bundle's in one step. A
    download that breaks off is kept in `.partial-NAME` for the next call.

    Args:
        name: of the bundle, as `model_info.json` of the release has it.
        source: where the release is, see docs/release.md; the project's own by default.
        version: "X.Y.Z"; the newest one by default.
        bundle_dir: folder that gets the bundle's folder.
        force: keep an existing bundle aside, as `NAME.kept-TIME`, instead of refusing.
        max_gb: refuse a bundle that is larger (in 2^30 bytes), before or while it is sent.

    Raises:
        FileExistsError: if there is a bundle of this name, without ``force``.
        ValueError: if source, name or version is unknown, or something fetched is not as expected.
        OSError: if the source cannot be reached, the connection breaks or stalls again and again, the disk is
            full, or another process fetches this bundle.
    """
    if not isinstance(max_gb, int | float) or not max_gb > 0:
        raise ValueError(f"max_gb: expected a number above 0, found {max_gb!r}")
    if not re.fullmatch(r"\w+", name, re.ASCII):
        raise ValueError(f"Expected the name of a bundle (letters, digits, _), found {name!r}")
    folder = Path(bundle_dir).expanduser().resolve()
    target = folder / name
    if os.path.lexists(target) and not force:
        raise FileExistsError(f"{target} exists. With --force it is kept aside and replaced")
    found = find(name, RELEASE_URL if source is None else source, version)
    work = folder / f".partial-{name}"
    with claimed(work):
        try:
            _download_all(found.files, work / "download", int(max_gb * 2**30))
            shutil.rmtree(work / name, ignore_errors=True)
            with full_disk_named(work / name, work / "room"):
                if found.unpacked:
                    _take(work / "download", [remote.path for remote in found.files], work / name)
                else:
                    unpack(work / "download" / found.files[0].path, name, work)
            fetched_version = _check(work / name, found.version)
            size = sum(file.stat().st_size for file in (work / name).rglob("*") if file.is_file())
            kept = _replace(target, work / name)
        except ValueError:
            shutil.rmtree(work, ignore_errors=True)
            raise
        shutil.rmtree(work, ignore_errors=True)
    return Fetched(target, found.url, fetched_version, size, kept)


def _download_all(files: Sequence[Remote], folder: Path, most: int) -> None:
    for remote in files:
        download(remote, folder / remote.path, most)
        most -= (folder / remote.path).stat().st_size


def _take(source: Path, paths: list[str], target: Path) -> None:
    """Move the verified files alone: an earlier call may have left others."""
    for path in paths:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        os.replace(source / path, target / path)


def _check(root: Path, version: str | None) -> str:
    for file in sorted(root.rglob("*")):
        if file.suffix.lower() in _PICKLES:
            read_state_dict(file)
    found = str(read_metadata(root).get("version"))
    if version is not None and found != version:
        raise ValueError(f"{root.name} should be version {version}, its metadata says {found}")
    return found


def _replace(target: Path, new: Path) -> Path | None:
    if not os.path.lexists(target):
        os.rename(new, target)
        return None
    kept = target.with_name(f"{target.name}.kept-{time.strftime('%Y%m%d-%H%M%S')}")
    os.rename(target, kept)
    try:
        os.rename(new, target)
    except OSError:
        os.rename(kept, target)
        raise
    return kept
