"""Writing results."""

from __future__ import annotations

import logging
import os
from typing import Any

from monai.data import NibabelWriter

from dckd_ext.utils.files import written_whole

__all__ = ["WholeNibabelWriter"]

_logger = logging.getLogger(__name__)


class WholeNibabelWriter(NibabelWriter):
    """MONAI's NIfTI writer for ``SaveImaged(writer=...)``, never leaving half a file behind.

    Voxels keep their dtype on the way.

    Raises:
        OSError: when a file cannot be written, with its path; what stood there before still does.
            ``SaveImaged`` wraps it in a RuntimeError.
    """

    @classmethod
    def resample_if_needed(
        cls, data_array: Any, affine: Any = None, target_affine: Any = None, *args: Any, **kwargs: Any
    ) -> tuple[Any, Any]:
        """Resample to ``target_affine``; without one, spare the volume MONAI's copy in float32."""
        if target_affine is None:
            return data_array, affine
        return super().resample_if_needed(data_array, affine, target_affine, *args, **kwargs)

    def write(self, filename: str | os.PathLike[str], verbose: bool = False, **kwargs: Any) -> None:
        """Write beside ``filename``, then rename."""
        with written_whole(filename) as beside:
            super().write(beside, **kwargs)
        if verbose:
            _logger.info("written: %s", filename)
