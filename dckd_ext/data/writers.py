"""Writing results."""

from __future__ import annotations

import logging
import os
from typing import Any

from monai.data import NibabelWriter

from dckd_ext.files import written_whole

__all__ = ["WholeNibabelWriter"]

_logger = logging.getLogger(__name__)


class WholeNibabelWriter(NibabelWriter):
    """MONAI's NIfTI writer for ``SaveImaged(writer=...)``, never leaving half a file behind."""

    def write(self, filename: str | os.PathLike[str], verbose: bool = False, **kwargs: Any) -> None:
        """Write beside ``filename``, then rename."""
        with written_whole(filename) as beside:
            super().write(beside, **kwargs)
        if verbose:
            _logger.info("written: %s", filename)
