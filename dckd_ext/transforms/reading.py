"""Reading volumes into MONAI's tensors, by the rules of `dckd_ext.data.volumes`; errors name the file."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import ImageReader, MetaTensor
from monai.transforms import LoadImaged
from monai.utils import ImageMetaKey, MetaKeys, SpaceKeys, ensure_tuple

from dckd_ext.data.grids import Grid, three_positive
from dckd_ext.data.images import read_image
from dckd_ext.data.labels import read_label
from dckd_ext.data.volumes import Volume, is_volume, warn_of
from dckd_ext.utils.errors import named_errors
from dckd_ext.utils.labels import UNLABELLED

__all__ = ["HEADER", "PLACE", "STORED_ORDER", "ReadVolumed", "VolumeReader", "grid_of"]

PLACE = "place"
"""Key of the meta data: what says where the voxels are, the order of the array or the header."""
STORED_ORDER, HEADER = "order of the array", "header"


class ReadVolumed(LoadImaged):
    """MONAI's ``LoadImaged`` for volumes and DICOM series, by the rules of `dckd_ext.data.volumes`.

    A label is brought onto the grid of its image: turned where its axes are stored in another order or
    direction, refused where it lies elsewhere (`dckd_ext.data.labels.label_on`).

    Volumes of uint8 stay uint8 with ``dtype=None``; reading one then takes two to three times
    its bytes.

    The headers of the open ABUS set (NRRD) state ones for its spacing, and what counts is the order of the
    array: axis 0 is lateral, 1 depth, 2 the sweep. So with ``placeholder_spacing`` every NRRD file gets the
    affine ``diag(spacing)`` in stored order, never flipped or permuted: of this spacing if its header states
    none or ones, else of the header's (our decision). One warning a process says so.

    A key that holds None, the label of a volume without one, becomes a volume of `UNLABELLED` on the grid of
    the image.

    Args:
        keys: keys of the files to read; the image before its label.
        placeholder_spacing: mm, one number a stored axis, for NRRD files without a spacing. None: such files
            are refused, ones are taken as they are, and NRRD files get their header's affine.
        max_extent: greatest plausible size of a volume, mm, one number a stored axis. None: any.
        image_key: key of the image.
        label_key: key of its label.
        **kwargs: those of ``LoadImaged``, for example ``dtype``.

    Raises:
        FileNotFoundError: when a file does not exist.
        ValueError: as `dckd_ext.data.images.read_image` and `dckd_ext.data.labels.label_on`, with the file.

    Examples:
        >>> read = ReadVolumed(["image", "label"], placeholder_spacing=[0.2, 0.073, 0.475674], dtype=None)
    """

    def __init__(
        self,
        keys: KeysCollection,
        placeholder_spacing: Sequence[float] | None = None,
        max_extent: Sequence[float] | None = None,
        image_key: str = "image",
        label_key: str = "label",
        **kwargs: Any,
    ):
        with _no_word_of_codecs():
            super().__init__(keys, **kwargs)
        self.nrrd_spacing = three_positive("placeholder_spacing (key nrrd_spacing)", placeholder_spacing)
        self.max_extent = three_positive("max_extent", max_extent)
        self.image_key, self.label_key = image_key, label_key

    def __call__(self, data: Mapping[Hashable, Any], reader: Any = None) -> dict[Hashable, Any]:
        """Load every key of ``data`` that holds a path."""
        for key in self.key_iterator(dict(data)):
            if data[key] is None:
                data = {**data, key: _unlabelled(data[self.image_key])}
                continue
            with named_errors(str(key), data[key]):
                data = {**data, **self._load_one(key, data)}
        return dict(data)

    def _load_one(self, key: Hashable, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        image = data.get(self.image_key) if key == self.label_key else None
        reader = VolumeReader(self.nrrd_spacing, self.max_extent, image)
        keys, self.keys = self.keys, (key,)
        try:
            return super().__call__({key: data[key]}, reader)
        finally:
            self.keys = keys


@contextmanager
def _no_word_of_codecs() -> Iterator[None]:
    """Let MONAI make its readers, one of each kind, without what those of DICOM say of GPUs: none is used."""
    logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "NvImgCodecPydicomReader")
        yield


def _unlabelled(image: MetaTensor) -> MetaTensor:
    return MetaTensor(torch.full(image.shape, UNLABELLED, dtype=torch.uint8), meta=dict(image.meta))


class VolumeReader(ImageReader):
    """MONAI's reader of one NIfTI or NRRD file or DICOM series, by the rules of `dckd_ext.data.volumes`.

    Args:
        nrrd_spacing: see `dckd_ext.data.volumes.read_volume`.
        max_extent: see there.
        image: the image, as it was read, if the file is its label.
    """

    def __init__(
        self,
        nrrd_spacing: Sequence[float] | None = None,
        max_extent: Sequence[float] | None = None,
        image: Any = None,
    ):
        self.nrrd_spacing, self.max_extent = nrrd_spacing, max_extent
        self.image = image if isinstance(image, MetaTensor) else None

    def verify_suffix(self, filename: Any) -> bool:
        """Say whether the file's name ends as volumes do."""
        return all(map(is_volume, ensure_tuple(filename)))

    def read(self, data: Any, **kwargs: Any) -> Volume:
        """Read one file; warn of what is doubtful about its place."""
        (path,) = ensure_tuple(data)
        if self.image is None:
            volume = read_image(Path(path), self.nrrd_spacing, self.max_extent)
        else:
            name = f"image {self.image.meta.get(ImageMetaKey.FILENAME_OR_OBJ, '?')}"
            volume = read_label(path, *grid_of(self.image, self.image.meta[MetaKeys.SPATIAL_SHAPE]), name)
        for note in volume.notes:
            warn_of(str(path), note)
        return volume

    def get_data(self, img: Volume) -> tuple[np.ndarray, dict]:
        """Return the voxels and MONAI's meta data of them."""
        meta = {
            MetaKeys.AFFINE: img.affine,
            MetaKeys.ORIGINAL_AFFINE: img.affine.copy(),
            MetaKeys.SPATIAL_SHAPE: np.asarray(img.grid.shape),
            MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan") if img.voxels.ndim == 3 else -1,
            MetaKeys.SPACE: SpaceKeys.RAS,
            PLACE: STORED_ORDER if img.stored_order else HEADER,
        }
        return img.voxels, meta


def grid_of(volume: MetaTensor, shape: Sequence[int]) -> tuple[Grid, bool]:
    """Return the grid of an image, or of a prediction on it, and whether the order of the array is the place.

    Args:
        volume: as `ReadVolumed` made it, or with its meta data.
        shape: its voxels along the spatial axes.
    """
    grid = Grid(tuple(map(int, shape)), np.asarray(volume.affine.cpu(), float))
    return grid, volume.meta.get(PLACE) == STORED_ORDER
