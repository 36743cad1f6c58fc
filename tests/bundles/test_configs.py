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

# The one table of exceptions. First: the keys in which the siblings of a family's teacher may differ from it.
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
# Second: the keys in which an ABUS bundle may differ from the hippocampus bundle of its kind.
ABUS_DATA = {"dataset_dir", "split_file", "nrrd_spacing", "max_extent", "spacing", "patch_size"}
ABUS_EXCEPTIONS = {
    "train.yaml": ABUS_DATA
    | {"download", "initialize", "crop_ratios", "epochs", "val_interval", "teacher_bundle", "student_bundle"}
    | {"train#preprocessing", "network_def"},
    "inference.yaml": ABUS_DATA
    | {"preprocessing", "postprocessing", "probabilities", "overlap", "sw_batch_size", "student_bundle"}
    | {"network_def"},
    "evaluate.yaml": {"split", "split_file", "probabilities", "handlers"},
    "metadata.json": {"name", "task", "description", "data_source", "data_type", "image_classes"}
    | {"label_classes", "pred_classes", "intended_use", "references", "network_data_format"}
    | {"required_packages_version"},
}
SHARED = [
    "train.yaml",
    "inference.yaml",
    "evaluate.yaml",
    "multi_gpu_train.yaml",
    "metadata.json",
    "logging.conf",
]
FAMILIES = ["hippocampus", "abus"]


def keys_of(config: dict) -> dict:
    """Top-level keys, and those of train and validate one level down."""
    flat = {key: value for key, value in config.items() if key not in ("train", "validate")}
    for part in ("train", "validate"):
        flat.update({f"{part}#{key}": value for key, value in config.get(part, {}).items()})
    return flat


def differing_keys(one: Path, other: Path) -> set[str]:
    if one.suffix == ".conf":
        return set() if one.read_text() == other.read_text() else {"text"}
    ours, theirs = (keys_of(yaml.safe_load(path.read_text())) for path in (one, other))
    return {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("file", SHARED)
def test_siblings_are_equal_outside_the_table(kind: str, file: str, family: str):
    ours, theirs = (bundle(name, family) / "configs" / file for name in (kind, "teacher_segmentation"))
    assert differing_keys(ours, theirs) <= EXCEPTIONS.get((kind, file), set())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("file", SHARED)
def test_families_are_equal_outside_the_table(kind: str, file: str):
    ours, theirs = (bundle(kind, family) / "configs" / file for family in FAMILIES)
    assert differing_keys(ours, theirs) <= ABUS_EXCEPTIONS.get(file, set())


@pytest.mark.parametrize("kind", KINDS)
def test_one_split_of_the_hippocampus_set(kind: str):
    ours, theirs = (bundle(name) / "configs" / "splits.json" for name in (kind, KINDS[0]))
    assert ours.read_text() == theirs.read_text()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_all_the_files_are_there(kind: str, family: str):
    for name in [
        "LICENSE",
        "docs/README.md",
        "docs/data_license.txt",
        *(f"configs/{file}" for file in SHARED),
    ]:
        assert (bundle(kind, family) / name).is_file(), name


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_metadata(kind: str, family: str):
    metadata = json.loads((bundle(kind, family) / "configs" / "metadata.json").read_text())
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


@pytest.mark.parametrize(
    ("family", "names"), [(FAMILIES[0], ["anterior", "posterior"]), (FAMILIES[1], ["lesion"])]
)
@pytest.mark.parametrize("kind", KINDS)
def test_class_count_agrees_with_the_metadata(kind: str, family: str, names: list[str]):
    metadata = ConfigParser.load_config_file(str(bundle(kind, family) / "configs" / "metadata.json"))
    output = metadata["network_data_format"]["outputs"]["pred"]
    assert class_names(bundle(kind, family)) == dict(enumerate(["background", *names]))
    assert output["num_channels"] == 1 + len(names)
    assert metadata["network_data_format"]["inputs"]["image"]["num_channels"] == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_sizes_of_the_networks(family: str):
    teacher, unet, hrnet = (count_parameters(student_network(bundle(kind, family))) for kind in SEGMENTATION)
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
