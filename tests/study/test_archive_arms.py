"""The arms of the study of few labels and an archive take the cases that they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from tests.conftest import bundle
from tests.study.examples import ARMS


@pytest.fixture
def content(msd: Path):
    """Returns a function that gives what a key of the train config with some arms over it makes."""

    def make(key: str, *arms: str) -> Any:
        root = bundle("distillation")
        parser = ConfigParser()
        parser.read_config(
            [str(root / "configs" / "train.yaml"), *(str(ARMS / f"{arm}.yaml") for arm in arms)]
        )
        split = str(msd / "splits.json")
        parser.update({"bundle_root": str(root), "dataset_dir": str(msd), "split_file": split})
        parser.update({"archive_split": split, "held_out": [3, 4], "answers": "live"})
        return parser.get_parsed_content(key)

    return make


def names_of_folds(msd: Path, *folds: int) -> list[str]:
    split = json.loads((msd / "splits.json").read_text())["folds"]
    return [name for fold in folds for name in split[fold]]


def test_folds_three_and_four_are_unlabelled(content, msd: Path):
    cases = content("train#dataset#data", "archive/volumes")
    unlabelled = [case["case"] for case in cases if case["label"] is None]
    assert unlabelled == [f"unlabelled_{name}" for name in names_of_folds(msd, 3, 4)]
    assert [case["case"] for case in cases if case["label"]] == names_of_folds(msd, 1, 2)
    assert len({case["case_id"] for case in cases}) == len(cases)


def test_the_ceiling_has_their_labels(content, msd: Path):
    cases = content("train#dataset#data", "plain", "archive/volumes", "archive/labelled")
    assert [case["case"] for case in cases if case["label"]] == names_of_folds(msd, 1, 2, 3, 4)


def test_pseudo_labels_are_put_in_before_anything_is_random(content):
    steps = content("train#preprocessing", "archive/volumes", "archive/pseudo").transforms
    names = [type(step).__name__ for step in steps]
    assert names.index("NormalizeIntensityd") < names.index("TeacherLabeld") < names.index("SpatialPadd")
    terms = content("loss_def", "archive/volumes", "archive/pseudo").terms
    assert list(terms) == ["segmentation"]
