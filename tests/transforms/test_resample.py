import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from monai.data import CacheDataset, MetaTensor
from monai.transforms import Compose, Flipd, GaussianSmooth, Invertd, Resize
from scipy.ndimage import gaussian_filter

from dckd_ext.transforms import resample
from dckd_ext.transforms.resample import ResampleVolumed, resample_linear, resample_nearest

ABUS = (0.2, 0.073, 0.475674)
sizes = st.tuples(*[st.integers(1, 23)] * 3)


def _speckle(*shape: int, dtype: torch.dtype = torch.uint8) -> torch.Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(3)).to(dtype)


def _volume(*shape: int, spacing: tuple[float, ...] = ABUS, dtype: torch.dtype = torch.uint8) -> MetaTensor:
    """With an oblique affine: axes permuted and tilted, the origin far off."""
    tilt = np.array([[0.0, 0.8, 0.6], [1.0, 0.0, 0.0], [0.0, -0.6, 0.8]])
    affine = np.eye(4)
    affine[:3, :3] = tilt @ np.diag(spacing)
    affine[:3, 3] = [-31.0, 12.5, 200.0]
    return MetaTensor(_speckle(*shape, dtype=dtype), affine=torch.from_numpy(affine))


def _interpolated(volume: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    return F.interpolate(volume[None].double(), size=size, mode="trilinear", align_corners=False)[0]


@given(before=sizes, grow=sizes)
@settings(max_examples=60, deadline=None)
def test_growing_is_trilinear_interpolation(before: tuple[int, ...], grow: tuple[int, ...]):
    volume = _speckle(2, *before)
    after = tuple(n + more - 1 for n, more in zip(before, grow, strict=True))
    assert torch.allclose(resample_linear(volume, after).double(), _interpolated(volume, after), atol=1e-3)


@given(before=sizes, after=sizes)
@settings(max_examples=60, deadline=None)
def test_shrinking_axes_are_smoothed_first(before: tuple[int, ...], after: tuple[int, ...]):
    volume = _speckle(1, *before)
    sigma = [max(0.0, (n / m - 1) / 2) for n, m in zip(before, after, strict=True)]
    smooth = gaussian_filter(volume[0].double().numpy(), sigma, mode="nearest")
    expected = _interpolated(torch.from_numpy(smooth)[None], after)
    assert torch.allclose(resample_linear(volume, after).double(), expected, atol=1e-3)


@given(before=sizes, after=sizes)
@settings(max_examples=60, deadline=None)
def test_nearest_is_torchs_nearest_exact(before: tuple[int, ...], after: tuple[int, ...]):
    volume = _speckle(1, *before)
    # torch computes centres in the precision of the volume, and float32 falls off either side of a tie
    expected = F.interpolate(volume[None].double(), size=after, mode="nearest-exact")[0]
    assert torch.equal(resample_nearest(volume, after).double(), expected)


def test_monais_anti_aliased_resize_of_something_smooth():
    volume = GaussianSmooth(2.0)(_speckle(1, 40, 110, 48, dtype=torch.float32))
    expected = Resize((20, 20, 40), mode="trilinear", anti_aliasing=True)(volume)
    inside = (slice(None), slice(6, -6), slice(4, -4), slice(10, -10))
    error = (resample_linear(volume, (20, 20, 40)) - expected)[inside].abs().max()
    assert (
        error < 0.05 * expected[inside].std()
    )  # its Gaussian is integrated over each voxel, ours is sampled


def test_anti_aliasing_removes_what_the_new_grid_cannot_hold():
    stripes = torch.zeros(1, 8, 60, 8)
    stripes[:, :, ::5] = 1.0
    plain = _interpolated(stripes, (8, 11, 8))
    assert resample_linear(stripes, (8, 11, 8))[:, :, 2:-2].std() < 0.2 * plain[:, :, 2:-2].std()


@pytest.mark.parametrize("voxels", [1, 400, 2**20])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 3, 2, 1), (0, 2, 1, 3)])
def test_chunks_and_memory_order_change_nothing(monkeypatch: pytest.MonkeyPatch, voxels: int, order: tuple):
    volume = _speckle(2, 13, 41, 9)
    expected = resample_linear(volume, (7, 9, 12))
    monkeypatch.setattr(resample, "CHUNK_VOXELS", voxels)
    back = np.argsort(order).tolist()
    stored = volume.permute(order).contiguous().permute(back)
    assert torch.allclose(resample_linear(stored, (7, 9, 12)), expected, atol=1e-3)


def test_a_linear_result_of_whole_numbers_is_rounded():
    volume = _speckle(1, 5, 6, 7)
    expected = resample_linear(volume, (9, 9, 9)).round().to(torch.uint8)
    assert torch.equal(resample_linear(volume, (9, 9, 9), torch.uint8), expected)


@pytest.mark.parametrize("resampler", [resample_linear, resample_nearest])
def test_the_same_size_is_a_copy(resampler: Any):
    volume = _speckle(1, 4, 5, 6)
    out = resampler(volume, (4, 5, 6))
    assert torch.equal(out, volume.to(out.dtype))
    out.zero_()
    assert volume.any()


def test_image_and_label_of_an_abus_volume():
    data = {"image": _volume(1, 86, 68, 35), "label": _volume(1, 86, 68, 35)}
    out = ResampleVolumed(["image", "label"], 0.4, mode=("linear", "nearest"))(data)
    assert out["image"].shape == out["label"].shape == (1, 43, 12, 42)  # 43.0, 12.4 and 41.6 voxels
    assert out["image"].dtype == torch.float32
    assert out["label"].dtype == torch.uint8
    assert data["image"].shape == (1, 86, 68, 35)
    assert data["image"].applied_operations == []


def test_points_stay_where_they_are():
    before = _volume(1, 21, 50, 11)
    after = ResampleVolumed("image", 0.4)({"image": before})["image"]
    sizes = np.array([before.shape[1:], after.shape[1:]])
    for fraction in np.random.default_rng(0).random((5, 3)):  # of the field of view, from its very corner
        here, there = (np.append(fraction * size - 0.5, 1.0) for size in sizes)
        assert np.allclose(before.affine.numpy() @ here, after.affine.numpy() @ there, atol=1e-9)
    directions = [volume.affine[:3, :3] / volume.affine[:3, :3].norm(dim=0) for volume in (before, after)]
    assert torch.allclose(*directions)


def test_a_ramp_keeps_its_physical_values():
    volume = _volume(1, 30, 80, 24)
    volume.affine = torch.diag(torch.tensor([*ABUS, 1.0], dtype=torch.float64))
    grid = torch.meshgrid(
        *[torch.arange(n, dtype=torch.float64) * s for n, s in zip((30, 80, 24), ABUS, strict=True)],
        indexing="ij",
    )
    volume.copy_((10 + grid[0] + 3 * grid[1] + 2 * grid[2])[None])
    volume = MetaTensor((10 + grid[0] + 3 * grid[1] + 2 * grid[2])[None], affine=volume.affine)
    out = ResampleVolumed("image", 0.4)({"image": volume})["image"]
    index = torch.tensor([7.0, 6.0, 15.0, 1.0], dtype=torch.float64)
    x, y, z, _ = (out.affine @ index).tolist()
    assert out[0, 7, 6, 15].item() == pytest.approx(10 + x + 3 * y + 2 * z, abs=1e-3)


@given(before=sizes, spacing=st.tuples(*[st.floats(0.05, 2.0)] * 3), target=st.floats(0.1, 1.5))
@settings(max_examples=60, deadline=None)
def test_there_and_back(before: tuple[int, ...], spacing: tuple[float, ...], target: float):
    assume(max(n * s for n, s in zip(before, spacing, strict=True)) > 1.51 * target)  # one voxel is refused
    volume = _volume(1, *before, spacing=spacing, dtype=torch.int16)
    transform = ResampleVolumed(["image", "label"], target, mode=("linear", "nearest"))
    there = transform({"image": volume, "label": volume})
    for n, m, s in zip(before, there["image"].shape[1:], spacing, strict=True):
        assert m == 1 or abs(m - n * s / target) < 0.5 + 1e-6
    back = transform.inverse(there)
    for key, dtype in (("image", torch.float32), ("label", torch.int16)):
        assert back[key].shape == volume.shape
        assert back[key].dtype == dtype
        assert torch.equal(back[key].affine, volume.affine)
        assert back[key].applied_operations == []


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
def test_a_prediction_comes_back_by_invertd(dtype: torch.dtype):
    image = _volume(1, 31, 70, 17)
    transform = Compose([Flipd("image", 1), ResampleVolumed("image", 0.4), Flipd("image", 0)])
    data = transform({"image": image})
    data["pred"] = MetaTensor((data["image"].as_tensor() > 128).to(dtype))
    out = Invertd("pred", transform, orig_keys="image", nearest_interp=True)(copy.deepcopy(data))["pred"]
    native = F.interpolate(
        data["pred"].as_tensor().flip(1)[None].double(), size=(31, 70, 17), mode="nearest-exact"
    )[0]
    assert torch.equal(out.as_tensor().double(), native.flip(2))
    assert out.dtype == dtype
    assert torch.equal(out.affine, image.affine)


def test_a_probability_comes_back_smoothly():
    transform = ResampleVolumed("image", 0.4)
    data = transform({"image": _volume(1, 31, 70, 17)})
    data["probability"] = MetaTensor(data["image"].as_tensor().to(torch.uint8))
    out = Invertd("probability", transform, orig_keys="image", nearest_interp=False)(data)["probability"]
    assert out.dtype == torch.uint8
    expected = resample_linear(data["image"].as_tensor().to(torch.uint8), (31, 70, 17)).round()
    assert torch.equal(out.as_tensor(), expected.to(torch.uint8))


def test_in_a_cached_dataset():
    transform = Compose([ResampleVolumed("image", 0.4)])
    dataset = CacheDataset([{"image": _volume(1, 9, 20, 6)}], transform, progress=False)
    assert torch.equal(dataset[0]["image"], transform({"image": _volume(1, 9, 20, 6)})["image"])


@pytest.mark.parametrize("spacing", [0.0, -1.0, float("nan"), (0.4, 0.4, 0.0)])
def test_refuses_a_spacing_that_cannot_be(spacing: Any):
    with pytest.raises(ValueError, match="spacing must be positive"):
        ResampleVolumed("image", spacing)


def test_refuses_an_unknown_mode():
    with pytest.raises(ValueError, match="'bilinear': choose one of linear, nearest"):
        ResampleVolumed("image", 0.4, mode="bilinear")


@pytest.mark.parametrize(
    "volume", [torch.zeros(1, 4, 4, 4), np.zeros((1, 4, 4, 4)), MetaTensor(torch.zeros(4, 4, 4))]
)
def test_refuses_what_has_no_affine_or_no_channel(volume: Any):
    with pytest.raises(ValueError, match="image: expected a MetaTensor of shape CHWD, found a"):
        ResampleVolumed("image", 0.4)({"image": volume})


def test_refuses_a_grid_that_fits_no_memory():
    volume = MetaTensor(torch.zeros(1, 1).expand(700, 500).expand(1, 300, 700, 500), affine=torch.eye(4))
    volume.meta["filename_or_obj"] = "DATA_007.nrrd"
    with pytest.raises(ValueError, match=r"DATA_007.nrrd: 300 x 700 x 500 .*Does the header state the true"):
        ResampleVolumed("image", 0.4)({"image": volume})


def test_refuses_an_affine_without_spacing():
    with pytest.raises(ValueError, match="expected positive voxel spacings"):
        ResampleVolumed("image", 0.4)(
            {"image": MetaTensor(torch.zeros(1, 4, 4, 4), affine=torch.zeros(4, 4))}
        )


def test_a_missing_key():
    assert ResampleVolumed("image", 0.4, allow_missing_keys=True)({}) == {}
    with pytest.raises(KeyError, match="image"):
        ResampleVolumed("image", 0.4)({})
