"""Where training patches are centred when lesions fill a thousandth of the volume."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform
from scipy.ndimage import uniform_filter

from dckd_ext.utils.labels import UNLABELLED

__all__ = ["CropClassesd"]


class CropClassesd(MapTransform):
    """Sort voxels into centres of training patches: 0 other tissue, 1 lesion, 2 lesion look-alike.

    Look-alikes are voxels outside all lesions whose local mean grey lies between the 10th and 90th percentile
    of that in the lesions; in a volume without a lesion, between the 10th and 40th percentile of the volume.
    They are the shadows, lobules and cysts that a network takes for lesions (our decision: unlike mining the
    errors of a network, it needs none). The map is for `monai.transforms.ClassesToIndicesd`, and for
    `RandCropByLabelClassesd` after it.

    Args:
        image_key: image, ``1HWD``, any scale.
        label_key: label, ``1HWD``; everything above 0 is lesion. Where it is `UNLABELLED`, the classes of the
            teacher's stored answer (``teacher_answers``) stand for it, if there is one.
        output: key of the map, uint8, ``1HWD``.
        size: edge of the local mean, voxels.

    Examples:
        >>> image, label = torch.zeros(1, 8, 8, 8), torch.zeros(1, 8, 8, 8)
        >>> label[0, 2, 2, 2] = 1
        >>> classes = CropClassesd(size=1)({"image": image, "label": label})["crop_classes"]
        >>> [int(number) for number in torch.bincount(classes.flatten())]
        [0, 1, 511]
    """

    def __init__(
        self,
        image_key: str = "image",
        label_key: str = "label",
        output: str = "crop_classes",
        size: int = 5,
    ):
        super().__init__([image_key, label_key])
        self.image_key, self.label_key, self.output, self.size = image_key, label_key, output, size

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return ``data`` with the map."""
        image, label = (np.asarray(data[key])[0] for key in (self.image_key, self.label_key))
        if (label == UNLABELLED).all():
            teacher = data.get("teacher_answers")
            found = None if teacher is None else np.asarray(teacher[: data["teacher_classes"]]).argmax(0)
            label = np.zeros_like(label) if found is None else found
        local = uniform_filter(image.astype(np.float32), self.size, mode="nearest")
        lesion = label > 0
        low, high = np.percentile(local[lesion], [10, 90]) if lesion.any() else np.percentile(local, [10, 40])
        classes = ((local >= low) & (local <= high)).astype(np.uint8) * 2
        classes[lesion] = 1
        return {**data, self.output: MetaTensor(torch.from_numpy(classes)[None])}
