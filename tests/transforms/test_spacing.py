"""Resampling with entries that MONAI's Spacingd trips over; the oracle is Spacingd without them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
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
    """If this fails MONAI has been mended, and that part of SpacingVolumed can go."""
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


def test_a_volume_that_would_fit_no_memory_is_refused_before(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Spacingd, "__call__", lambda *_: pytest.fail("MONAI was asked"))
    wide = MetaTensor(torch.zeros(1, 16, 16, 16), affine=torch.diag(torch.tensor([1000.0, 1000, 1000, 1])))
    wide.meta["filename_or_obj"] = "wide.nii"
    resample = SpacingVolumed("image", [1.0, 1.0, 1.0])
    with pytest.raises(
        ValueError, match=r"image wide\.nii: 16 x 16 x 16 voxels of 1000 x 1000 x 1000 mm would become"
    ):
        resample({"image": wide})
    wide.affine = torch.diag(torch.tensor([0.001, 0.001, 0.001, 1]))
    with pytest.raises(ValueError, match=r"1 x 1 x 1 of 1 x 1 x 1 mm, 1 in all, expected more than one"):
        resample({"image": wide})


@pytest.mark.parametrize("most", [17**3, 17**3 - 1])
def test_the_bound_can_be_set(most: int):
    volume = MetaTensor(torch.zeros(1, 9, 9, 9), affine=torch.diag(torch.tensor([2.0, 2, 2, 1])))
    resample = SpacingVolumed("image", [1.0, 1.0, 1.0], max_voxels=most)
    if most == 17**3:
        assert resample({"image": volume})["image"].shape == (1, 17, 17, 17)
        return
    with pytest.raises(ValueError, match="4913 in all, expected at most 4912"):
        resample({"image": volume})


def test_ties_on_the_way_back_go_to_the_even_voxel():
    """From 1 mm to halves: every other voxel lies in the middle of two."""
    volume = MetaTensor(torch.zeros(1, 11, 1, 1), affine=torch.diag(torch.tensor([0.5, 1, 1, 1])))
    resample = SpacingVolumed("image", [1.0, 1.0, 1.0])
    there = resample({"image": volume})["image"]
    pred = MetaTensor(torch.arange(6.0)[None, :, None, None]).copy_meta_from(there)
    pred.applied_operations[-1]["extra_info"]["mode"] = "nearest"  # as Invertd has it
    back = resample.inverse({"image": pred})["image"]
    assert back.flatten().tolist() == [0, 0, 1, 2, 2, 2, 3, 4, 4, 4, 5]
    assert torch.equal(back.affine, volume.affine)
    assert back.applied_operations == []
