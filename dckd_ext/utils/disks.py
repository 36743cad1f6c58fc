"""Full disks, named."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["full_disk_named", "out_of_space"]

_NO_SPACE = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def out_of_space(error: BaseException | None, path: Path, probe: Path | None = None) -> OSError | None:
    """Return the error of a full disk, or of a limit on files, that another comes from; None without one.

    Args:
        error: what went wrong.
        path: what was being written: the returned error names it, and the disk and what is free on it.
        probe: a file beside it that is written to, to try the disk, when no error of a disk is found:
            torch.save and others hide it behind one of their own.
    """
    while error is not None:
        number = error.errno if isinstance(error, OSError) else None
        if number is not None and number in _NO_SPACE:
            disk, free = _disk(path.parent)
            left = f"{free / 2**20:.1f} MB are free on the disk {disk}"
            return OSError(number, f"cannot write {path}: {os.strerror(number)} ({left})")
        error = error.__cause__ or error.__context__
    return None if probe is None else out_of_space(_write_more(probe), path)


@contextmanager
def full_disk_named(path: Path, probe: Path) -> Iterator[None]:
    """Let the error of a full disk in a block name ``path``, and the disk and what is free on it.

    Args:
        path: what is being written, a file or a folder.
        probe: a file that is written after an error, see `out_of_space`, and removed.

    Raises:
        OSError: when the disk is full, in the place of the block's error.
    """
    try:
        yield
    except Exception as error:
        full = out_of_space(error, path, probe)
        with suppress(OSError):
            probe.unlink()
        if full:
            raise full from None
        raise


def _write_more(probe: Path) -> OSError | None:
    try:
        with open(probe, "ab") as file:
            file.write(bytes(2**16))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error
    return None


def _disk(folder: Path) -> tuple[Path, int]:
    """Return the mount point that a folder is on, and the bytes that are free there."""
    mount = folder.resolve()
    while not os.path.ismount(mount):
        mount = mount.parent
    return mount, shutil.disk_usage(mount).free
