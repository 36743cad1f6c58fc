"""What an earlier run left in a folder."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

__all__ = ["set_aside"]

_logger = logging.getLogger(__name__)


def set_aside(folder: str | os.PathLike[str], patterns: Sequence[str]) -> None:
    """Move the files of an earlier run to ``previous/TIME``, so that a new one does not mix with them.

    Args:
        folder: of the results.
        patterns: of the names of files in it, such as ``events.out.*``.

    Examples:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "events.out.1").write_text("curve")
        >>> set_aside(folder, ["events.out.*"])
        >>> [file.name for file in folder.rglob("*") if file.is_file()], (folder / "events.out.1").exists()
        (['events.out.1'], False)
    """
    files = [file for pattern in patterns for file in sorted(Path(folder).glob(pattern))]
    if not files:
        return
    newest = max(file.stat().st_mtime for file in files)
    target = Path(folder) / "previous" / time.strftime("%Y%m%d-%H%M%S", time.localtime(newest))
    target.mkdir(parents=True, exist_ok=True)
    for file in files:
        os.replace(file, target / file.name)
    _logger.info("%d files of an earlier run are now in %s", len(files), target)
