"""What the model zoo and MONAI expect of the bundles."""

import json
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from dckd_ext.bundle import class_names, student_network
from dckd_ext.networks import count_parameters
from tests.conftest import BUNDLES, bundle, workflow

SEGMENTATION = ["teacher_segmentation", "unet_student_segmentation", "hrnet_student_segmentation"]
KINDS = [*SEGMENTATION, "distillation"]
MULTI = ["inference.yaml", "evaluate.yaml"]

SHARED = [
    "train.yaml",
    "inference.yaml",
    "evaluate.yaml",
    "multi_gpu_train.yaml",
    "metadata.json",
    "logging.conf",
]
FAMILIES = ["hippocampus", "abus"]


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
