"""What the model zoo and MONAI expect of the bundles; and siblings that differ only where they must."""

import json
from pathlib import Path

import pytest
import yaml
from monai.bundle import ConfigParser

from dckd_ext.networks import count_parameters
from dckd_ext.teachers import class_names, student_network
from tests.conftest import BUNDLES, bundle, workflow

SEGMENTATION = ["teacher_segmentation", "unet_student_segmentation", "hrnet_student_segmentation"]
KINDS = [*SEGMENTATION, "distillation"]
MULTI = ["inference.yaml", "evaluate.yaml"]

# The one table of exceptions: the keys in which the siblings of hippocampus_teacher_segmentation may differ.
STUDENT = {"network_def", "weights_dtype", "epochs"}
DISTILLATION_TRAIN = STUDENT | {
    "teacher_bundle",
    "student_bundle",
    "checkpoint",
    "teacher_weights",
    "label_map",
    "min_teacher_dice",
    "teacher_tap",
    "student_tap",
    "teacher_channels",
    "teacher_check",
    "class_names",
    "in_channels",
    "teacher",
    "loss_def",
    "optimizer",
    "initialize",
    "run",
    "train#inferer",
    "train#trainer",
}
EXCEPTIONS = {
    ("unet_student_segmentation", "train.yaml"): STUDENT,
    ("hrnet_student_segmentation", "train.yaml"): STUDENT,
    ("distillation", "train.yaml"): DISTILLATION_TRAIN,
    ("unet_student_segmentation", "inference.yaml"): {"network_def"},
    ("hrnet_student_segmentation", "inference.yaml"): {"network_def"},
    ("distillation", "inference.yaml"): {
        "student_bundle",
        "checkpoint",
        "class_names",
        "in_channels",
        "network_def",
    },
    **{(kind, "metadata.json"): {"name", "task", "description", "changelog", "version"} for kind in KINDS},
}
SHARED = [
    "train.yaml",
    "inference.yaml",
    "evaluate.yaml",
    "multi_gpu_train.yaml",
    "metadata.json",
    "splits.json",
    "logging.conf",
]


def keys_of(config: dict) -> dict:
    """Top-level keys, and those of train and validate one level down."""
    flat = {key: value for key, value in config.items() if key not in ("train", "validate")}
    for part in ("train", "validate"):
        flat.update({f"{part}#{key}": value for key, value in config.get(part, {}).items()})
    return flat


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("file", SHARED)
def test_siblings_are_equal_outside_the_table(kind: str, file: str):
    ours, theirs = (bundle(name) / "configs" / file for name in (kind, "teacher_segmentation"))
    if file.endswith(".conf"):
        assert ours.read_text() == theirs.read_text()
        return
    one, other = (keys_of(yaml.safe_load(path.read_text())) for path in (ours, theirs))
    differing = {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
    assert differing <= EXCEPTIONS.get((kind, file), set())


@pytest.mark.parametrize("kind", KINDS)
def test_all_the_files_are_there(kind: str):
    for name in [
        "LICENSE",
        "docs/README.md",
        "docs/data_license.txt",
        *(f"configs/{file}" for file in SHARED),
    ]:
        assert (bundle(kind) / name).is_file(), name


@pytest.mark.parametrize("kind", KINDS)
def test_metadata(kind: str):
    metadata = json.loads((bundle(kind) / "configs" / "metadata.json").read_text())
    assert metadata["version"] in metadata["changelog"]
    required = ["schema", "monai_version", "pytorch_version", "numpy_version", "required_packages_version"]
    required += ["task", "description", "authors", "copyright", "network_data_format"]
    assert not [key for key in required if key not in metadata]
    assert metadata["schema"].endswith("meta_schema_20240725.json")
    pins = dict(
        line.split("==") for line in (BUNDLES.parent / "constraints.txt").read_text().split() if "==" in line
    )
    tested = {"monai": metadata["monai_version"], "torch": metadata["pytorch_version"]}
    tested |= {"numpy": metadata["numpy_version"]} | metadata["required_packages_version"]
    tested.pop("dckd-ext")
    assert tested.items() <= pins.items()


@pytest.mark.parametrize("kind", KINDS)
def test_class_count_agrees_with_the_metadata(kind: str):
    metadata = ConfigParser.load_config_file(str(bundle(kind) / "configs" / "metadata.json"))
    output = metadata["network_data_format"]["outputs"]["pred"]
    assert class_names(bundle(kind)) == {0: "background", 1: "anterior", 2: "posterior"}
    assert output["num_channels"] == 3
    assert metadata["network_data_format"]["inputs"]["image"]["num_channels"] == 1


def test_sizes_of_the_networks():
    teacher, unet, hrnet = (count_parameters(student_network(bundle(kind))) for kind in SEGMENTATION)
    assert 19.1e6 <= teacher <= 20.0e6
    assert unet <= 0.068 * teacher
    assert hrnet <= 0.121 * teacher


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("files", ["train.yaml", "inference.yaml", MULTI])
def test_check_properties(kind: str, files, msd: Path, teacher_weights: Path):
    override = {"dataset_dir": str(msd), "split_file": str(msd / "splits.json"), "device": "cpu"}
    if files != "train.yaml":
        override.pop("split_file")
        if files == "inference.yaml":
            override["dataset_dir"] = str(msd / "imagesTr")
        else:
            override["split_file"] = str(msd / "splits.json")
    elif kind == "distillation":
        override["teacher_weights"] = str(teacher_weights)
    flow = workflow(kind, files, "train" if files == "train.yaml" else "inference", **override)
    assert flow.check_properties() == []
