"""The inference config, translated: whatever is not known is refused by name."""

from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from dckd_ext.export import bundle_settings
from tests.export.conftest import weighted_copy


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return weighted_copy("unet_student_segmentation", "hippocampus", tmp_path_factory.mktemp("settings"))


def test_hippocampus(root: Path):
    settings = bundle_settings(root)
    assert [step["step"] for step in settings["steps"]] == [
        "orientation",
        "spacing",
        "percentiles",
        "normalize",
    ]
    assert settings["steps"][1] == {"step": "spacing", "pixdim": [1.0, 1.0, 1.0]}
    assert settings["classes"] == ["background", "anterior", "posterior"]
    assert settings["read"] == {"dtype": "float32", "nrrd_spacing": None, "max_extent": None}
    assert settings["window"] == {"roi_size": [32, 48, 32], "overlap": 0.75}
    assert settings["channels"] == 1


def test_abus(tmp_path: Path):
    settings = bundle_settings(weighted_copy("hrnet_student_segmentation", "abus", tmp_path))
    assert [step["step"] for step in settings["steps"]] == ["resample", "percentiles", "normalize"]
    assert settings["read"]["dtype"] is None
    assert settings["read"]["nrrd_spacing"] == [0.2, 0.073, 0.475674]
    assert settings["read"]["max_extent"] == [200.0, 60.0, 250.0]


def change(root: Path, tmp_path: Path, key: str, value: Any) -> Path:
    """A copy of the bundle with one key of its config changed."""
    copy = tmp_path / root.name
    (copy / "models").mkdir(parents=True)
    (copy / "models" / "model.pt").write_bytes(b"weights")
    (copy / "configs").mkdir()
    metadata = root / "configs" / "metadata.json"
    (copy / "configs" / "metadata.json").write_bytes(metadata.read_bytes())
    config = ConfigParser()
    config.read_config(str(root / "configs" / "inference.yaml"))
    config[key] = value
    ConfigParser.export_config_file(config.get(), str(copy / "configs" / "inference.yaml"), fmt="yaml")
    return copy


BEFORE, AFTER = "preprocessing#transforms#", "postprocessing#transforms#"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (
            f"{BEFORE}6",
            {"_target_": "ScaleIntensityFixedMeand", "keys": "image"},
            "6' .ScaleIntensityFixedMeand.: .* not know this",
        ),
        (f"{BEFORE}4#mode", "nearest", "mode is 'nearest', .* only 'bilinear'"),
        (f"{BEFORE}4#diagonal", True, "diagonal is True"),
        (f"{BEFORE}4#min_pixdim", 0.5, r"does not know the argument\(s\) \['min_pixdim'\]"),
        (f"{BEFORE}5#relative", True, "relative is True"),
        (f"{BEFORE}6#subtrahend", [1, 2], "several statistics need channel_wise"),
        (f"{BEFORE}3#labels", "LR", "Orientationd.: labels is 'LR'"),
        (f"{BEFORE}6#keys", ["image", "other"], "keys is"),
        (f"{BEFORE}0", {"_target_": "LoadImaged", "keys": "image", "dtype": "$int"}, "LoadImaged.: dtype is"),
        (f"{BEFORE}0#_disabled_", True, "expected ReadVolumed or LoadImaged, once and first"),
        (f"{AFTER}0", {"_target_": "Activationsd", "keys": "pred", "softmax": True}, "expects AsDiscreted"),
        (f"{AFTER}0#threshold", 0.5, "AsDiscreted.: .* expects argmax or a threshold"),
        (f"{AFTER}0#argmax", False, "AsDiscreted.: .* expects argmax or a threshold"),
        (f"{AFTER}1#nearest_interp", False, "numbers between classes"),
        (f"{AFTER}2#output_ext", ".nii", r"SaveMaskd.: .*\['output_ext'\]"),
        (f"{AFTER}2", {"_target_": "Lambdad", "keys": "pred", "func": "$int"}, "Lambdad.: .* not know this"),
        ("inferer", {"_target_": "SliceInferer"}, "SliceInferer"),
        ("inferer#inferer#padding_mode", "circular", "padding_mode 'circular'"),
        ("inferer#inferer#roi_weight_map", 1, r"\['roi_weight_map'\]"),
    ],
)
def test_what_is_not_known_is_named(key: str, value: Any, expected: str, root: Path, tmp_path: Path):
    with pytest.raises(ValueError, match=expected):
        bundle_settings(change(root, tmp_path, key, value))


def test_disabled_transforms_count_for_nothing(root: Path, tmp_path: Path):
    extra = {"_target_": "ScaleIntensityd", "keys": "image", "_disabled_": True}
    settings = bundle_settings(change(root, tmp_path, f"{BEFORE}6", extra))
    assert [step["step"] for step in settings["steps"]] == ["orientation", "spacing", "percentiles"]


def test_values_of_the_config_are_taken(root: Path, tmp_path: Path):
    settings = bundle_settings(change(root, tmp_path, "spacing", [0.8, 1.0, 1.2]))
    assert settings["steps"][1]["pixdim"] == [0.8, 1.0, 1.2]
