"""Writing masks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import SaveImaged
from monai.utils import ImageMetaKey

from dckd_ext.data.dicom_seg import write_segmentation
from dckd_ext.data.dicom_series import is_series, series_at
from dckd_ext.data.volumes import mask_image, nifti_header
from dckd_ext.transforms.reading import grid_of
from dckd_ext.utils.files import written_whole

__all__ = ["SaveMaskd"]


class SaveMaskd(SaveImaged):
    """Save classes as ``CASE_seg.nii.gz``, uint8, in the grid that they are in, whole or not at all.

    A mask on the grid of the NIfTI file that it was made from takes that file's header: both forms, their
    codes and the unit. So every reader shows it on the image, whichever form it takes. Other masks state
    their affine in both forms. The shape is the image's, axes of one voxel included.

    ``CASE`` is the item's key ``case``, the name that the case has in tables too (`dckd_ext.data.naming`);
    MONAI would take the image's file name, which several cases may share.

    Args:
        keys: of the classes, ``(1, X, Y, Z)``, with the meta data of the image.
        output_dir: folder, made when it is needed.
        segmentation: what `dckd_ext.bundle.segmentation` returns. The mask of a DICOM series is written as
            ``CASE_seg.dcm`` too then.

    Raises:
        ValueError: for more than one channel.
        OSError: when a file cannot be written, with its path; what stood there before still does.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        segmentation: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(keys, output_dir=output_dir)  # MONAI Label leaves out what is a SaveImaged
        self.folder = Path(output_dir)
        self.segmentation = segmentation

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Save; ``data`` stays as it is."""
        for key in self.key_iterator(dict(data)):
            mask = data[key]
            with written_whole(self.folder / f"{data['case']}_seg.nii.gz") as beside:
                nibabel.save(_image(mask), beside)
            source = Path(mask.meta.get(ImageMetaKey.FILENAME_OR_OBJ, ""))
            if self.segmentation is not None and is_series(source):
                with written_whole(self.folder / f"{data['case']}_seg.dcm") as beside:
                    affine = grid_of(mask, mask.shape[1:])[0].affine
                    write_segmentation(beside, _voxels(mask), series_at(source), affine, self.segmentation)
        return dict(data)


def _image(mask: MetaTensor) -> Any:
    grid, _ = grid_of(mask, mask.shape[1:])
    return mask_image(
        _voxels(mask), grid, nifti_header(mask.meta.get(ImageMetaKey.FILENAME_OR_OBJ, ""), grid)
    )


def _voxels(mask: MetaTensor) -> np.ndarray:
    if mask.ndim != 4 or len(mask) != 1:
        raise ValueError(f"expected classes in one channel, found the shape {tuple(mask.shape)}")
    return mask.as_tensor()[0].cpu().numpy().astype(np.uint8, copy=False)
