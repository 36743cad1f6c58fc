"""Resampling with entries that MONAI's Spacingd trips over; the oracle is Spacingd without them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from monai.transforms import (
    AsDiscreted,
    Compose,
    EnsureChannelFirstd,
    Invertd,
    LoadImaged,
    Orientationd,
    Spacingd,
)

from dckd_ext.transforms import SpacingVolumed
from tests.conftest import ellipsoids, write_volume

OBLIQUE = np.array([[-0.9, 0.1, 0.0, 12.0], [0.1, 1.3, 0.2, -7.0], [0.0, -0.2, 2.1, 3.0], [0, 0, 0, 1]])
SETTINGS = {"keys": ["image", "label"], "pixdim": [1.0, 1.0, 1.0], "mode": ["bilinear", "nearest"]}


@pytest.fixture
def case(tmp_path):
    image, label = ellipsoids((22, 17, 13), 3)
    return {
        "image": write_volume(tmp_path / "case.nii.gz", image, OBLIQUE),
        "label": write_volume(tmp_path / "label.nii.gz", label, OBLIQUE),
    }


def pipeline(spacing):
    keys = ["image", "label"]
    return Compose(
        [LoadImaged(keys), EnsureChannelFirstd(keys), Orientationd(keys, "RAS", labels=None), spacing]
    )


def test_monai_still_fails_on_the_text(case):
    """If this fails MONAI has been mended, and SpacingVolumed can go."""
    with pytest.raises(RuntimeError, match="Spacingd"):
        pipeline(Spacingd(**SETTINGS))({**case, "image_path": str(case["image"])})


@pytest.mark.parametrize(
    "extra", [{}, {"image_path": "a.nii.gz", "image_id": 7, "label_tag": "final", "other": None}]
)
def test_same_as_monai_without_the_extra_entries(case, extra):
    expected = pipeline(Spacingd(**SETTINGS))(case)
    found = pipeline(SpacingVolumed(**SETTINGS))({**case, **extra})
    for key in ("image", "label"):
        assert torch.equal(found[key], expected[key])
        assert torch.equal(found[key].affine, expected[key].affine)
        assert [step["class"] for step in found[key].applied_operations] == [
            step["class"] for step in expected[key].applied_operations
        ]
    assert {key: found[key] for key in extra} == extra
    assert set(found) == set(expected) | set(extra)


def test_meta_data_is_still_updated(case):
    expected = pipeline(Spacingd(**SETTINGS))({**case, "image_meta_dict": {"mine": 1}})
    found = pipeline(SpacingVolumed(**SETTINGS))({**case, "image_meta_dict": {"mine": 1}, "image_path": "x"})
    assert found["image_meta_dict"]["mine"] == 1
    assert set(found["image_meta_dict"]) == set(expected["image_meta_dict"]) > {"mine", "affine"}
    assert found["image_path"] == "x"


def test_the_case_given_is_left_alone(case):
    given = {**case, "image_path": "x"}
    pipeline(SpacingVolumed(**SETTINGS))(given)
    assert given == {**case, "image_path": "x"}


def test_inverse_restores_grid_and_classes(case):
    def there_and_back(spacing, extra):
        forward = pipeline(spacing)
        resampled = forward({**case, **extra})
        back = Compose(
            [
                AsDiscreted("pred", argmax=True),
                Invertd("pred", forward, orig_keys="image", nearest_interp=True, to_tensor=True),
            ]
        )
        scores = (
            torch.nn.functional.one_hot(resampled["label"][0].long().as_tensor(), 3).movedim(-1, 0).float()
        )
        return back({**resampled, "pred": scores})["pred"]

    expected = there_and_back(Spacingd(**SETTINGS), {})
    found = there_and_back(SpacingVolumed(**SETTINGS), {"image_path": "x"})
    assert found.shape == (1, 22, 17, 13)
    assert torch.equal(found, expected)
    np.testing.assert_allclose(found.affine, OBLIQUE, atol=1e-6)


def test_alone_among_keys_that_are_missing(case):
    spacing = SpacingVolumed(**{**SETTINGS, "allow_missing_keys": True})
    loaded = Compose([LoadImaged("image"), EnsureChannelFirstd("image")])({"image": case["image"]})
    assert spacing({**loaded, "image_path": "x"})["image_path"] == "x"
    with pytest.raises(KeyError, match="label"):
        SpacingVolumed(**SETTINGS)({**loaded, "image_path": "x"})


def test_goes_to_the_workers_of_a_loader(case):
    again = pickle.loads(pickle.dumps(SpacingVolumed(**SETTINGS)))
    assert torch.equal(pipeline(again)({**case, "image_path": "x"})["image"], pipeline(again)(case)["image"])
