from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch
from monai.data import MetaTensor
from monai.transforms import Orientationd
from scipy import ndimage

from dckd_ext.transforms import PermuteAxesd, PlannedIntensityd, PlannedSpacingd, ReadVolumed
from tests.nnunet.folders import resampled, volume


def image(shape: Sequence[int], spacing: Sequence[float] = (1, 1, 1), channels: int = 1) -> MetaTensor:
    noise = np.random.default_rng(0).normal(size=(channels, *shape))
    smooth = ndimage.gaussian_filter(noise, [0, 1.5, 1.5, 1.5])
    return MetaTensor(
        torch.from_numpy(smooth.astype(np.float32)), affine=torch.diag(torch.tensor([*spacing, 1.0]))
    )


def test_axes_are_those_of_simpleitk(tmp_path: Path):
    file = volume(tmp_path / "case.nii.gz")
    read = PermuteAxesd("image", [2, 1, 0])(
        {"image": ReadVolumed("image", ensure_channel_first=True)({"image": file})["image"]}
    )
    np.testing.assert_array_equal(
        read["image"][0].numpy(), SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))
    )
    place = SimpleITK.ReadImage(str(file)).TransformIndexToPhysicalPoint([3, 4, 5])
    ours = read["image"].affine.numpy() @ [5, 4, 3, 1]
    np.testing.assert_allclose(ours[:3], [-place[0], -place[1], place[2]], rtol=1e-6)


def test_turned_axes_are_those_of_simpleitks_dicom_orient(tmp_path: Path):
    file = volume(tmp_path / "case.nii.gz")
    data = ReadVolumed("image", ensure_channel_first=True)({"image": file})
    turned = PermuteAxesd("image", [2, 1, 0])(Orientationd("image", axcodes="RAS", labels=None)(data))
    expected = SimpleITK.GetArrayFromImage(SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(file)), "RAS"))
    np.testing.assert_array_equal(turned["image"][0].numpy(), expected)


def test_axes_come_back():
    data = {"image": image([4, 5, 6], [1, 2, 3])}
    permute = PermuteAxesd("image", [1, 2, 0])
    there = permute(dict(data))
    assert tuple(there["image"].shape) == (1, 5, 6, 4)
    back = permute.inverse(there)["image"]
    torch.testing.assert_close(back.as_tensor(), data["image"].as_tensor())
    torch.testing.assert_close(back.affine, data["image"].affine)
    with pytest.raises(ValueError, match=r"axes must be 0, 1 and 2 in some order, found \[0, 0, 1\]"):
        PermuteAxesd("image", [0, 0, 1])


def test_schemes():
    ball = np.linalg.norm(np.mgrid[-6:7, -6:7, -6:7], axis=0) < 6
    voxels = np.stack([np.random.default_rng(channel).normal(50, 20, (13, 13, 13)) for channel in range(4)])
    voxels *= ball
    voxels[:, 6, 6, 6] = 0  # a hole counts as inside
    given = {"scheme": "CTNormalization", "lower": 20, "upper": 80, "mean": 45, "std": 11}
    channels = [
        {"scheme": "ZScoreNormalization", "mask": True},
        {"scheme": "ZScoreNormalization", "mask": False},
        given,
        {"scheme": "RescaleTo01Normalization"},
    ]
    found = PlannedIntensityd("image", channels)({"image": torch.from_numpy(voxels)})["image"].numpy()
    inside = voxels[0][ball]
    np.testing.assert_allclose(found[0][ball], (inside - inside.mean()) / inside.std(), rtol=1e-4, atol=1e-5)
    assert not found[0][~ball].any()
    np.testing.assert_allclose(
        found[1], (voxels[1] - voxels[1].mean()) / voxels[1].std(), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(found[2], (np.clip(voxels[2], 20, 80) - 45) / 11, rtol=1e-4, atol=1e-5)
    assert (found[3].min(), found[3].max()) == (0, 1)


def test_what_is_no_scheme_or_channel_is_refused():
    with pytest.raises(ValueError, match="unknown scheme 'Mine'"):
        PlannedIntensityd("image", [{"scheme": "Mine"}])
    with pytest.raises(ValueError, match="image: found 2 channels, expected 1"):
        PlannedIntensityd("image", [{"scheme": "NoNormalization"}])({"image": torch.ones(2, 3, 3, 3)})


@pytest.mark.parametrize(
    ("spacing", "target", "separate"),
    [
        ([1.0, 1.0, 1.0], [1.3, 0.7, 1.0], False),
        ([4.0, 1.0, 1.0], [2.5, 0.8, 1.2], True),
        ([1, 1, 1], [5, 1, 1], True),
    ],
)
def test_resampling_there_and_back(spacing: list[float], target: list[float], separate: bool):
    data = {"image": image([9, 14, 11], spacing, channels=2)}
    resample = PlannedSpacingd("image", target)
    there = resample(dict(data))["image"]
    size = [round(n * s / t) for n, s, t in zip([9, 14, 11], spacing, target, strict=True)]
    assert list(there.shape[1:]) == size
    expected = resampled(data["image"].numpy().astype(float), size, 3, separate)
    np.testing.assert_allclose(there.numpy(), expected, atol=1e-4)
    centre = data["image"].affine.numpy() @ [*(np.array([9, 14, 11]) - 1) / 2, 1]  # of the field of view
    np.testing.assert_allclose(there.affine.numpy() @ [*(np.array(size) - 1) / 2, 1], centre, atol=1e-5)
    back = resample.inverse({"image": there})["image"]
    np.testing.assert_allclose(
        back.numpy(), resampled(there.numpy().astype(float), [9, 14, 11], 1, separate), atol=1e-4
    )
    torch.testing.assert_close(back.affine, data["image"].affine)


def test_two_thick_axes_are_resampled_together():
    data = {"image": image([8, 8, 8], [0.2, 1.0, 1.0])}
    there = PlannedSpacingd("image", [0.25, 1.1, 1.1])(dict(data))["image"]
    expected = resampled(data["image"].numpy().astype(float), list(there.shape[1:]), 3, separate=False)
    np.testing.assert_allclose(there.numpy(), expected, atol=1e-4)


def test_a_volume_that_would_become_too_large_is_named():
    with pytest.raises(ValueError, match=r"image \?: "):
        PlannedSpacingd("image", [0.1, 0.1, 0.1], max_voxels=1000)({"image": image([8, 8, 8])})
