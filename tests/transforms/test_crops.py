"""Patch centres: which voxels are called what, and what MONAI's crop makes of them."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import ClassesToIndicesd, Compose, RandCropByLabelClassesd

from dckd_ext.transforms.crops import CropClassesd


@pytest.fixture
def case() -> dict:
    """Tissue of 100 with a lesion and a look-alike of 40, and a black margin."""
    image = torch.full((1, 40, 20, 20), 100.0)
    image[:, :6] = 0.0
    image[:, 10:18, 6:14, 6:14] = 40.0
    image[:, 26:34, 6:14, 6:14] = 40.0
    label = torch.zeros_like(image, dtype=torch.uint8)
    label[:, 10:18, 6:14, 6:14] = 1
    return {"image": MetaTensor(image), "label": MetaTensor(label)}


def test_lesion_look_alike_and_the_rest(case: dict):
    classes = CropClassesd(size=1)(case)["crop_classes"]
    expected = torch.zeros(1, 40, 20, 20, dtype=torch.uint8)
    expected[:, 10:18, 6:14, 6:14] = 1
    expected[:, 26:34, 6:14, 6:14] = 2
    assert torch.equal(classes.as_tensor(), expected)


def test_without_a_lesion_dark_tissue_counts():
    image = torch.arange(1000.0).reshape(1, 10, 10, 10)
    classes = CropClassesd(size=1)({"image": image, "label": torch.zeros_like(image)})["crop_classes"]
    chosen = image[classes.as_tensor() == 2]
    np.testing.assert_allclose([chosen.min(), chosen.max()], np.percentile(np.arange(1000), [10, 40]), atol=1)
    assert not (classes == 1).any()


def test_patches_are_balanced(case: dict):
    crop = Compose(
        [
            CropClassesd(size=1),
            ClassesToIndicesd("crop_classes", num_classes=3, max_samples_per_class=1000),
            RandCropByLabelClassesd(
                keys=["image", "label"],
                label_key="label",
                spatial_size=[5, 5, 5],
                ratios=[1, 2, 1],
                num_classes=3,
                num_samples=400,
                indices_key="crop_classes_cls_indices",
            ),
        ]
    )
    crop.set_random_state(0)
    patches = crop(case)
    centres = [(float(patch["image"][0, 2, 2, 2]), int(patch["label"][0, 2, 2, 2])) for patch in patches]
    lesion = sum(label == 1 for _, label in centres) / len(centres)
    look_alike = sum(grey == 40 and label == 0 for grey, label in centres) / len(centres)
    assert lesion == pytest.approx(0.5, abs=0.08)
    assert look_alike == pytest.approx(0.25, abs=0.08)
