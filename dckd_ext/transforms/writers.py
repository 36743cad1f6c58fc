"""Writing results."""

from __future__ import annotations

import logging
import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.data import NibabelWriter
from monai.transforms import SaveImaged

from dckd_ext.utils.files import written_whole

__all__ = ["SaveMaskd", "WholeNibabelWriter"]

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


class SaveMaskd(SaveImaged):
    """Save classes as ``CASE_seg.nii.gz``, uint8, in the grid that they are in, whole or not at all.

    ``CASE`` is the item's key ``case``, the name that the case has in tables too (`dckd_ext.data.naming`);
    MONAI would take the image's file name, which several cases may share.

    Args:
        keys: of the classes, channel first.
        output_dir: folder, made when it is needed.

    Raises:
        RuntimeError: by MONAI, when a file cannot be written.
    """

    def __init__(self, keys: KeysCollection, output_dir: str | Path) -> None:
        super().__init__(
            keys, output_dir=output_dir, output_dtype=np.uint8, resample=False, writer=WholeNibabelWriter
        )
        self.folder = Path(output_dir)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Save; ``data`` stays as it is."""
        for key in self.key_iterator(dict(data)):
            self.saver(data[key], filename=self.folder / f"{data['case']}_seg")
        return dict(data)
