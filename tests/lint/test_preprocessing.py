"""Training and inference prepare a volume alike; a difference is named with its key and both values."""

import json
from pathlib import Path
from typing import Any

import pytest

from dckd_ext.cli.lint import lint
from dckd_ext.lint import lint_bundle
from tests.conftest import bundle
from tests.lint.planting import GONE, copy_of, plant, the_finding

PERCENTILES = "preprocessing#transforms#5"
MEDIAN = {"_target_": "MedianSmoothd", "keys": "image", "radius": 1}


@pytest.fixture
def abus(tmp_path: Path) -> Path:
    return copy_of(bundle("distillation", "abus"), tmp_path / "abus")


def insert(root: Path, file: str, position: int, step: dict[str, Any]) -> None:
    from monai.bundle import ConfigParser

    steps = ConfigParser.load_config_file(root / "configs" / file)["preprocessing"]["transforms"]
    plant(root, file, {"preprocessing#transforms": [*steps[:position], step, *steps[position:]]})


@pytest.mark.parametrize(
    ("file", "found", "expected"), [("train.yaml", 95.0, 99.5), ("inference.yaml", 99.5, 95.0)]
)
def test_another_argument(copy: Path, file: str, found: float, expected: float):
    plant(copy, file, {f"{PERCENTILES}#upper": 95.0})
    text = f"found {found}, expected {expected} as in inference.yaml: {PERCENTILES}#upper"
    the_finding(lint_bundle(copy), "train.yaml", f"{PERCENTILES}#upper", text)


@pytest.mark.parametrize("file", ["train.yaml", "inference.yaml"])
@pytest.mark.parametrize("position", [0, 5, 7])
def test_another_transform(copy: Path, file: str, position: int):
    """Before, between and after the others."""
    insert(copy, file, position, MEDIAN)
    other = {"train.yaml": "inference.yaml", "inference.yaml": "train.yaml"}[file]
    text = f"MedianSmoothd, which {other} does not do here"
    the_finding(lint_bundle(copy), file, f"preprocessing#transforms#{position}", text)


@pytest.mark.parametrize(
    ("file", "changes", "key", "text"),
    [
        ("train.yaml", {"spacing": [2, 1, 1]}, "spacing", "found [2, 1, 1], expected [1.0, 1.0, 1.0]"),
        ("inference.yaml", {"spacing": [2, 1, 1]}, "spacing", "found [1.0, 1.0, 1.0], expected [2, 1, 1]"),
        ("inference.yaml", {"patch_size": [48, 48, 32]}, "patch_size", "[32, 48, 32], expected [48, 48, 32]"),
        (
            "train.yaml",
            {f"{PERCENTILES}#clip": GONE},
            f"{PERCENTILES}#clip",
            "found 'nothing', expected True",
        ),
        (
            "train.yaml",
            {"preprocessing#transforms#4#mode": ["nearest", "nearest"]},
            "preprocessing#transforms#4#mode",
            "found ['nearest', 'nearest'], expected 'bilinear'",
        ),
        (
            "train.yaml",
            {
                "validate#preprocessing": {
                    "_target_": "Compose",
                    "transforms": "$@preprocessing.transforms[:3]",
                }
            },
            "validate#preprocessing#transforms",
            "is known only when it is run",
        ),
    ],
)
def test_one_defect(copy: Path, file: str, changes: dict[str, Any], key: str, text: str):
    plant(copy, file, changes)
    the_finding(lint_bundle(copy), "train.yaml", key, text)


def test_references_count_by_what_they_refer_to(abus: Path):
    plant(abus, "train.yaml", {"max_extent": [300.0, 60.0, 250.0], "nrrd_spacing": "$[0.2] + @spacing[1:]"})
    found = {one.key: str(one) for one in lint_bundle(abus)}
    assert found.keys() == {"max_extent", "nrrd_spacing"}
    assert "expected [200.0, 60.0, 250.0] as in inference.yaml: max_extent" in found["max_extent"]
    assert "$[0.2] + @spacing[1:] with {'spacing': [0.4, 0.4, 0.4]}" in found["nrrd_spacing"]


def test_training_has_to_begin_with_it(copy: Path):
    plant(copy, "train.yaml", {"train#preprocessing#transforms": "$@augmentation.transforms"})
    found = lint_bundle(copy)
    assert [one.text.partition(",")[0] for one in found] == [
        "ReadVolumed",
        "EnsureChannelFirstd",
        "CheckVolumed",
        "Orientationd",
        "SpacingVolumed",
        "ScaleIntensityRangePercentilesd",
        "NormalizeIntensityd",
    ]
    assert {(Path(one.file).name, one.severity) for one in found} == {("inference.yaml", "error")}


def test_what_concerns_labels_padding_and_storage_may_differ(copy: Path):
    insert(copy, "train.yaml", 7, {"_target_": "EnsureTyped", "keys": ["image", "label"]})
    insert(copy, "train.yaml", 7, {"_target_": "SpatialPadd", "keys": "image", "spatial_size": [64, 64, 64]})
    insert(copy, "train.yaml", 4, {"_target_": "KeepLargestConnectedComponentd", "keys": "label"})
    plant(copy, "train.yaml", {"preprocessing#transforms#5#mode": ["bilinear", 0]})
    assert lint_bundle(copy) == []


@pytest.mark.parametrize("dtype", [None, "float32", "$torch.float16", ["$torch.bfloat16", "$torch.uint8"]])
def test_another_float_may_hold_the_values(copy: Path, dtype: Any):
    storage = {"_target_": "EnsureTyped", "keys": ["image", "label"], "dtype": dtype}
    insert(copy, "train.yaml", 7, storage)
    assert lint_bundle(copy) == []


@pytest.mark.parametrize("dtype", ["uint8", "$torch.int16", ["$torch.uint8", "$torch.float32"]])
def test_whole_numbers_are_other_values(copy: Path, dtype: Any):
    storage = {"_target_": "EnsureTyped", "keys": ["image", "label"], "dtype": dtype}
    insert(copy, "train.yaml", 5, storage)
    text = "EnsureTyped, which inference.yaml does not do here"
    the_finding(lint_bundle(copy), "train.yaml", "preprocessing#transforms#5", text)


def zoo_bundle(root: Path, **inference: Any) -> Path:
    """A bundle in the model zoo's style: lists of transforms, and sums of them."""
    scale = {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -57, "a_max": 164}
    scale |= {"b_min": 0.0, "b_max": 1.0, "clip": True}
    load = {"_target_": "LoadImaged", "ensure_channel_first": True}
    space = {"_target_": "Spacingd", "pixdim": [1.5, 1.5, 2.0]}
    engine = {"device": "@device", "val_data_loader": "$[]", "network": "$None"}
    train = {
        "bundle_root": ".",
        "device": "cpu",
        "dataset_dir": ".",
        "train": {
            "deterministic_transforms": [
                {**load, "keys": ["image", "label"]},
                {**space, "keys": ["image", "label"], "mode": ["bilinear", "nearest"]},
                scale,
                {"_target_": "EnsureTyped", "keys": ["image", "label"]},
            ],
            "random_transforms": [{"_target_": "RandFlipd", "keys": ["image", "label"]}],
            "preprocessing": {
                "_target_": "Compose",
                "transforms": "$@train#deterministic_transforms + @train#random_transforms",
            },
            "dataset": {
                "_target_": "Dataset",
                "data": "$[@dataset_dir]",
                "transform": "@train#preprocessing",
            },
            "inferer": {"_target_": "SimpleInferer"},
            "trainer": {
                "_target_": "SupervisedTrainer",
                "max_epochs": 1,
                "device": "@device",
                "train_data_loader": "@train#dataset",
                "network": "$None",
                "optimizer": "$None",
                "loss_function": "$None",
                "inferer": "@train#inferer",
            },
        },
        "validate": {
            "preprocessing": {"_target_": "Compose", "transforms": "%train#deterministic_transforms"},
            "dataset": {"_target_": "Dataset", "data": "$[]", "transform": "@validate#preprocessing"},
            "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [96, 96, 96]},
            "evaluator": {"_target_": "SupervisedEvaluator", **engine, "inferer": "@validate#inferer"},
        },
        "training": ["$@validate#dataset", "$@validate#evaluator", "$@train#trainer.run()"],
    }
    infer = {
        "bundle_root": ".",
        "device": "cpu",
        "dataset_dir": ".",
        "network_def": {"_target_": "BasicUNet"},
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [{**load, "keys": "image"}, {**space, "keys": "image"}, {**scale, **inference}],
        },
        "dataset": {"_target_": "Dataset", "data": "$[@dataset_dir]", "transform": "@preprocessing"},
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [96, 96, 96]},
        "evaluator": {"_target_": "SupervisedEvaluator", **engine, "inferer": "@inferer"},
        "run": ["$@network_def", "$@dataset", "$@evaluator.run()"],
    }
    infer["preprocessing"]["transforms"][1]["mode"] = "bilinear"
    metadata = dict.fromkeys(["version", "monai_version", "pytorch_version", "numpy_version"], "1.0.0")
    (root / "configs").mkdir(parents=True)
    for name, content in (("train", train), ("inference", infer), ("metadata", metadata)):
        (root / "configs" / f"{name}.json").write_text(json.dumps(content))
    return root


def test_a_foreign_bundle_that_agrees(tmp_path: Path):
    assert [*map(str, lint_bundle(zoo_bundle(tmp_path / "zoo")))] == []


def test_a_foreign_bundle_gets_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root = zoo_bundle(tmp_path / "zoo", a_max=200)
    lint(str(root))  # and does not exit with 1
    train = root / "configs" / "train.json"
    expected = (
        f"note: {train}: train#deterministic_transforms#2#a_max: found 164, expected 200 as in "
        "inference.json: preprocessing#transforms#2#a_max\n"
    )
    assert capsys.readouterr().out.endswith(f"0 finding(s)\n{expected}")
