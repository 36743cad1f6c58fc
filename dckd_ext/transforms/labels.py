"""Label files as they are: nothing resampled, in the smallest type."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import torch
from monai.data import MetaTensor

from dckd_ext.transforms.reading import named_read_errors

__all__ = ["read_label", "read_label_for", "whole_numbers"]

_NRRD_ENDINGS = (".nrrd", ".nhdr")


def read_label(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """Read the classes of a NIfTI or NRRD file, axes in the stored order (the first index runs fastest).

    Returns:
        The classes, ``(H, W, D)``, as `whole_numbers` makes them, and the voxel edges in mm; None for NRRD,
        whose headers in the open ABUS set hold a placeholder of 1.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it cannot be read to its end or holds NaN or infinite values.
    """
    with named_read_errors("label", path):
        if Path(path).suffix in _NRRD_ENDINGS:
            return whole_numbers(nrrd.read(str(path))[0]), None
        image = nib.Nifti1Image.from_filename(path)
        return whole_numbers(np.asarray(image.dataobj)), nib.affines.voxel_sizes(image.affine)


def read_label_for(prediction: torch.Tensor, path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """Read the label of a prediction, with the spacing of the label file, or of the prediction for NRRD.

    Args:
        prediction: brought back to the image file's grid; its affine is that of the image as it was read.
        path: the label file.

    Raises:
        FileNotFoundError: as `read_label`.
        ValueError: as `read_label`, and for a NRRD label with a prediction that has no affine.
    """
    label, spacing = read_label(path)
    if spacing is not None:
        return label, spacing
    if not isinstance(prediction, MetaTensor):
        raise ValueError(
            f"{path}: the header of a NRRD label is not asked for its spacing, expected a prediction with an "
            f"affine (MetaTensor), found {type(prediction).__name__}"
        )
    return label, nib.affines.voxel_sizes(np.asarray(prediction.affine.cpu()))


def whole_numbers(volume: np.ndarray) -> np.ndarray:
    """Round to whole numbers and keep them in uint8, or in int32 where a value does not fit.

    Nothing of the volume's size is made in between, nor at all if it is uint8 already.

    Raises:
        ValueError: for NaN or infinite values.
    """
    if volume.dtype == np.uint8:
        return volume
    low, high = float(volume.min()), float(volume.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("found NaN or infinite values, expected whole numbers")
    fits = low >= -0.5 and high < 255.5
    rounded = np.empty_like(volume, dtype=np.uint8 if fits else np.int32)
    np.rint(volume, out=rounded, casting="unsafe")
    return rounded
