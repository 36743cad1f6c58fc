"""Bundles in the styles of the model zoo: predict without torch gives the masks of their own inference."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.networks.nets import UNet
from monai.transforms import (
    CropForeground,
    KeepLargestConnectedComponent,
    NormalizeIntensity,
    ScaleIntensity,
    ScaleIntensityRange,
    SpatialPad,
)
from scipy import ndimage

from dckd_ext.export import bundle_settings, export_bundle
from dckd_ext.export.after import largest_component
from dckd_ext.export.intensities import (
    crop_foreground,
    normalize_channels,
    scale,
    scale_range,
    spatial_pad,
)
from dckd_ext.export.predict import load_model, segment
from tests.bundle.test_bundle import write_bundle
from tests.conftest import write_volume

VOXELS = np.random.default_rng(0).normal(20, 40, (2, 7, 9, 6)).astype(np.float32)
VOXELS[:, :2] = 0
LOAD = {"_target_": "LoadImaged", "keys": "image"}
FIRST = {"_target_": "EnsureChannelFirstd", "keys": "image"}
RAS = {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"}
SPACING = {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 1.5, 2.0], "mode": "bilinear"}
RANGE = {
    "_target_": "ScaleIntensityRanged",
    "keys": "image",
    **{"a_min": -50, "a_max": 90, "b_min": 0.0, "b_max": 1.0, "clip": True},
}
TYPED = {"_target_": "EnsureTyped", "keys": "image"}
ARGMAX = {"_target_": "AsDiscreted", "keys": "pred", "argmax": True}
SOFTMAX = {"_target_": "Activationsd", "keys": "pred", "softmax": True}
SIGMOID = {"_target_": "Activationsd", "keys": "pred", "sigmoid": True}
HALF = {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5}
LARGEST = {"_target_": "KeepLargestConnectedComponentd", "keys": "pred", "applied_labels": [1, 2]}
NORMALIZE = {"_target_": "NormalizeIntensityd", "keys": "image"}
WINDOWS = {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "sw_batch_size": 2, "overlap": 0.5}


def invert(linear: bool) -> dict:
    return {
        "_target_": "Invertd",
        "keys": "pred",
        "transform": "@preprocessing",
        "orig_keys": "image",
        "nearest_interp": not linear,
        "to_tensor": True,
    }


def monai(transform, voxels=VOXELS):
    return np.asarray(transform(voxels.copy()))


@pytest.mark.parametrize("clip", [True, False])
def test_scale_range(clip):
    expected = monai(ScaleIntensityRange(-20, 60, -1, 2, clip))
    np.testing.assert_allclose(scale_range(VOXELS, np.eye(4), -20, 60, -1, 2, clip)[0], expected, atol=1e-6)


@pytest.mark.parametrize("channel_wise", [True, False])
def test_scale(channel_wise):
    expected = monai(ScaleIntensity(-1, 3, channel_wise=channel_wise))
    np.testing.assert_allclose(scale(VOXELS, np.eye(4), -1, 3, channel_wise)[0], expected, atol=1e-5)


@pytest.mark.parametrize("nonzero", [True, False])
@pytest.mark.parametrize(
    ("channel_wise", "given"),
    [
        (True, {}),
        (False, {}),
        (True, {"subtrahend": [1.0, 2.0], "divisor": [3.0, 4.0]}),
        (False, {"divisor": [9.0]}),
    ],
)
def test_normalize(nonzero, channel_wise, given):
    plain = {name: numbers if channel_wise else numbers[0] for name, numbers in given.items()}
    expected = monai(NormalizeIntensity(nonzero=nonzero, channel_wise=channel_wise, **plain))
    found = normalize_channels(VOXELS, np.eye(4), nonzero, channel_wise, **given)[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("margin", [(0, 0, 0), (3, 1, 2)])
def test_crop_foreground(margin):
    voxels = np.zeros((1, 12, 9, 10), np.float32)
    voxels[0, 4:7, 2:8, 5:6] = 1
    found, affine, back = crop_foreground(voxels, np.diag([1.0, 2, 3, 1]), margin)
    expected = CropForeground(margin=margin, allow_smaller=True)(voxels)
    np.testing.assert_array_equal(found, np.asarray(expected))
    np.testing.assert_array_equal(back(found[0]), voxels[0])
    start = [max(first - edge, 0) for first, edge in zip((4, 2, 5), margin, strict=True)]
    np.testing.assert_array_equal(affine[:3, 3], np.multiply(start, [1, 2, 3]))
    with pytest.raises(ValueError, match="found none"):
        crop_foreground(-voxels, np.eye(4), margin)


@pytest.mark.parametrize("method", ["symmetric", "end"])
@pytest.mark.parametrize("mode", ["constant", "edge"])
def test_spatial_pad(method, mode):
    found, _, back = spatial_pad(VOXELS, np.eye(4), (10, 5, 9), method, mode)
    expected = SpatialPad((10, 5, 9), method=method, mode=mode)(VOXELS)
    np.testing.assert_array_equal(found, np.asarray(expected))
    np.testing.assert_array_equal(back(found[0]), VOXELS[0])


@pytest.mark.parametrize("seed", range(12))
def test_largest_component(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 14, 3)) < rng.choice([0.02, 0.08, 0.15, 0.4])
    labels, count = ndimage.label(mask, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=2)[1:]
    expected = labels == sizes.argmax() + 1 if count else mask
    np.testing.assert_array_equal(largest_component(mask), expected)


def test_largest_component_of_a_winding_one():
    mask = np.zeros((40, 40, 3), bool)
    mask[::2, :, 1] = True
    mask[1::4, -1, 1] = mask[3::4, 0, 1] = True
    assert (largest_component(mask) == mask).all()
    pytest.importorskip("skimage")
    found = KeepLargestConnectedComponent([1])(torch.from_numpy(mask[None].astype(np.uint8)))
    np.testing.assert_array_equal(found[0], mask)


def zoo_bundle(
    root: Path, before: list, after: list, inferer: dict = WINDOWS, channels: int = 1, classes: int = 3
):
    network = {
        "_target_": "UNet",
        "spatial_dims": 3,
        "in_channels": channels,
        "out_channels": classes,
        "channels": [4, 8],
        "strides": [2],
    }
    config = {
        "network_def": network,
        "transforms": before,
        "preprocessing": {"_target_": "Compose", "transforms": "$@transforms"},
        "inferer": inferer,
        "postprocessing": {"_target_": "Compose", "transforms": after},
    }
    bundle = write_bundle(root, config, ["background", "one", "two"][:classes], channels)
    torch.manual_seed(0)
    network = UNet(3, channels, classes, channels=[4, 8], strides=[2]).eval()
    torch.save(network.state_dict(), bundle / "models" / "model.pt")
    return bundle


def volume(path: Path, channels: int = 1) -> Path:
    rng = np.random.default_rng(3)
    smooth = ndimage.gaussian_filter(rng.normal(0, 1, (22, 19, 17, channels)), (2, 2, 2, 0))
    voxels = (20 + 400 * smooth).astype(np.float32)
    affine = np.array([[-1.1, 0, 0, 9], [0, 0, 1.3, 4], [0, 1.2, 0, -7], [0, 0, 0, 1]])
    return write_volume(path, voxels if channels > 1 else voxels[..., 0], affine)


def own_masks(bundle: Path, image: Path) -> np.ndarray:
    """What MONAI makes of the bundle's config."""
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(bundle / "models" / "model.pt"))
    data = parser.get_parsed_content("preprocessing")({"image": str(image)})
    with torch.no_grad():
        logits = parser.get_parsed_content("inferer")(data["image"][None], network)[0]
    data["pred"] = logits
    data["pred"].applied_operations = data["image"].applied_operations
    return np.asarray(parser.get_parsed_content("postprocessing")(data)["pred"])


STYLES = {
    "linear": ([LOAD, FIRST, RAS, SPACING, RANGE, TYPED], [SOFTMAX, invert(True), ARGMAX], WINDOWS, 1, 3),
    "nearest": ([LOAD, TYPED, FIRST, RAS, SPACING, RANGE], [SOFTMAX, ARGMAX, invert(False)], WINDOWS, 1, 3),
    "cropped": (
        [
            LOAD,
            FIRST,
            RAS,
            SPACING,
            RANGE,
            {"_target_": "CropForegroundd", "keys": "image", "source_key": "image"},
        ],
        [SOFTMAX, invert(True), ARGMAX],
        {**WINDOWS, "overlap": 0.25, "mode": "gaussian", "padding_mode": "replicate"},
        *(1, 3),
    ),
    "padded": (
        [LOAD, FIRST, {"_target_": "SpatialPadd", "keys": "image", "spatial_size": [24, 24, 24]}],
        [ARGMAX, LARGEST, invert(False)],
        {"_target_": "SimpleInferer"},
        *(1, 3),
    ),
    "regions": (
        [LOAD, FIRST, RAS, {**NORMALIZE, "nonzero": True, "channel_wise": True}],
        [SIGMOID, invert(True), HALF],
        *(WINDOWS, 2, 2),
    ),
    "statistics": (
        [
            LOAD,
            FIRST,
            {**NORMALIZE, "subtrahend": 20, "divisor": 9},
            {"_target_": "ScaleIntensityd", "keys": "image"},
        ],
        [ARGMAX],
        *(WINDOWS, 1, 3),
    ),
}


@pytest.mark.parametrize("style", STYLES)
def test_masks_are_those_of_the_bundles_own_inference(style, tmp_path):
    before, after, inferer, channels, classes = STYLES[style]
    if style == "padded":
        pytest.importorskip("skimage")
    bundle = zoo_bundle(tmp_path / "b", before, after, inferer, channels, classes)
    image = volume(tmp_path / "image.nii.gz", channels)
    report = export_bundle(bundle, tmp_path / "out")
    assert report["left_out"] == {}
    network, settings = load_model(tmp_path / "out" / "models" / "model.onnx", 1, "onnxruntime")
    found, _ = segment(image, network, settings)
    expected = own_masks(bundle, image)
    expected = expected[0] if len(expected) == 1 else np.moveaxis(expected, 0, -1)
    assert found.shape == expected.shape
    assert len(np.unique(found)) > 1
    assert (found != expected).sum() <= 2  # where two classes are equal in float32


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ([LOAD, {"_target_": "RandGaussianNoised", "keys": "image"}], [ARGMAX], "RandGaussianNoised"),
        ([LOAD, FIRST], [ARGMAX, {"_target_": "Lambdad", "keys": "pred"}], "Lambdad"),
        ([LOAD, FIRST, RAS], [ARGMAX], "expects Invertd"),
        ([LOAD, FIRST, RAS], [ARGMAX, invert(True)], "makes numbers between classes"),
        ([LOAD, FIRST], [SOFTMAX], "argmax or a threshold"),
        ([FIRST], [ARGMAX], "LoadImaged, once and first"),
    ],
)
def test_one_transform_stops_predict_alone(before, after, reason, tmp_path):
    bundle = zoo_bundle(tmp_path / "b", before, after)
    (bundle / "predict.py").write_text("of an earlier export")
    report = export_bundle(bundle)
    assert reason in report["left_out"]["predict.py"]
    assert [file.name for file in report["files"]] == ["model.ts", "model.onnx"]
    assert not (bundle / "predict.py").exists()
    with pytest.raises(ValueError, match="has no settings"):
        load_model(bundle / "models" / "model.onnx")


def test_network_only(tmp_path):
    bundle = zoo_bundle(tmp_path / "b", [LOAD, FIRST], [ARGMAX])
    report = export_bundle(bundle, tmp_path / "out", network_only=True)
    assert [file.name for file in report["files"]] == ["model.ts", "model.onnx"]
    assert not (tmp_path / "out" / "predict.py").exists()


def test_what_the_first_format_says_stays_in_it(tmp_path):
    windows = {**WINDOWS, "mode": "gaussian", "padding_mode": "replicate"}
    bundle = zoo_bundle(tmp_path / "b", [LOAD, FIRST, RAS], [ARGMAX, invert(False)], windows)
    assert bundle_settings(bundle)["format"] == 1
    assert "after" not in bundle_settings(bundle)
    other = zoo_bundle(tmp_path / "c", [LOAD, FIRST, RAS], [ARGMAX, invert(False)])
    assert bundle_settings(other)["format"] == 2
    json.dumps(bundle_settings(other))


class Heads(UNet):
    """Gives a list, as nnU-Net's networks with deep supervision do."""

    def forward(self, x):
        logits = self.model(x)
        return [logits, logits[..., ::2, ::2, ::2]]


def test_a_network_of_several_maps_is_exported_by_its_first(tmp_path):
    bundle = zoo_bundle(tmp_path / "b", [LOAD, FIRST], [ARGMAX])
    file = bundle / "configs" / "inference.json"
    file.write_text(file.read_text().replace('"UNet"', f'"{__name__}.Heads"'))
    export_bundle(bundle)
    image = volume(tmp_path / "image.nii.gz")
    network, settings = load_model(bundle / "models" / "model.onnx", 1, "onnxruntime")
    found, _ = segment(image, network, settings)
    plain = zoo_bundle(tmp_path / "c", [LOAD, FIRST], [ARGMAX])
    assert (found != own_masks(plain, image)[0]).sum() <= 2
    assert nibabel.load(image).shape == found.shape
