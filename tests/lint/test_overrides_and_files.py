"""Overrides of the command line, lists of config files, and files that cannot be read."""

from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from dckd_ext.lint import lint_bundle
from dckd_ext.lint.config import Config
from tests.conftest import bundle
from tests.lint.planting import GONE, plant, the_finding


@pytest.mark.parametrize(
    "overrides",
    [
        {"epochs": 3, "split": "test", "device": "cpu"},  # of different runs
        {"train#trainer#max_epochs": 3, "train::dataloader::num_workers": "@batch_size"},
        {"train#dataloader#pin_memory": True},  # an argument that the config leaves out
        {"run_id": "training", "logging_file": "x.conf", "workflow_type": "train"},  # of monai.bundle itself
    ],
)
def test_good_overrides(copy: Path, overrides: dict[str, Any]):
    assert lint_bundle(copy, overrides=overrides) == []


@pytest.mark.parametrize(
    ("overrides", "key", "text"),
    [
        ({"devcie": "cpu"}, "--devcie", "nearest: device"),
        ({"train#trainer#max_epoch": 3}, "train#trainer#max_epoch", "nearest: max_epochs"),
        ({"trainer#max_epochs": 3}, "--trainer#max_epochs", "nearest: train#trainer#max_epochs"),
        ({"epochs": "@epocs"}, "epochs", "refers to 'epocs'"),
        ({"zzz": 1}, "--zzz", "nothing is called like it"),
    ],
)
def test_bad_overrides(copy: Path, overrides: dict[str, Any], key: str, text: str):
    the_finding(lint_bundle(copy, overrides=overrides), "command line", key, text)


def test_an_override_of_another_run(copy: Path):
    (found,) = lint_bundle(copy, ["configs/inference.yaml"], {"epochs": 3})
    assert found.key == "--epochs"


def test_one_list_of_files(copy: Path, monkeypatch: pytest.MonkeyPatch):
    plant(copy, "inference.yaml", {"inferer#_target_": GONE})
    assert lint_bundle(copy, ["train.yaml", "multi_gpu_train.yaml"]) == []
    monkeypatch.chdir(copy)
    the_finding(lint_bundle(".", ["configs/inference.yaml"]), "inference.yaml", "inferer", "_target_")
    with pytest.raises(FileNotFoundError, match=r"tarin\.yaml"):
        lint_bundle(copy, ["tarin.yaml"])


def test_files_that_cannot_be_read(copy: Path, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        lint_bundle(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"configs/train\.\*"):
        lint_bundle(tmp_path)
    train = copy / "configs" / "train.yaml"
    for text in ("seed: 1\nseed: 2\n", "seed: [1\n", "- seed\n"):
        train.write_text(text)
        with pytest.raises(ValueError, match=r"train\.yaml"):
            lint_bundle(copy)


def test_a_command_in_the_docs_with_a_file_that_is_gone(copy: Path):
    (copy / "configs" / "evaluate.yaml").unlink()
    (found,) = lint_bundle(copy)
    assert "configs/evaluate.yaml, which is not there" in str(found)


def test_no_metadata(copy: Path):
    (copy / "configs" / "metadata.json").unlink()
    found = {one.key for one in lint_bundle(copy)}
    assert found == {"version", "monai_version", "pytorch_version", "numpy_version"}


@pytest.mark.parametrize(
    "names", [("train.yaml", "multi_gpu_train.yaml"), ("inference.yaml", "evaluate.yaml")]
)
def test_files_are_merged_as_monai_merges_them(names: tuple[str, str]):
    root = bundle("distillation")
    files = [root / "configs" / name for name in names]
    assert Config(root, files).top() == ConfigParser.load_config_files(files)


def test_where_a_key_comes_from():
    root = bundle("teacher_segmentation")
    config = Config(root, [root / "configs" / name for name in ("train.yaml", "multi_gpu_train.yaml")])
    files = {at: Path(config.origin(at)).name for at in ("network", "average", "average::network")}
    assert files == {
        "network": "multi_gpu_train.yaml",
        "average": "train.yaml",
        "average::network": "multi_gpu_train.yaml",
    }
    steps = [
        Path(config.origin(f"initialize::{step}")).name for step in range(len(config.find("initialize")))
    ]
    assert steps == ["train.yaml"] * (len(steps) - 2) + ["multi_gpu_train.yaml"] * 2
