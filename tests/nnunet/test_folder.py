from pathlib import Path

import pytest

from dckd_ext.nnunet import is_results_folder, read_results_folder
from tests.nnunet.folders import results_folder


def test_what_the_plans_say(tmp_path: Path):
    folder = read_results_folder(results_folder(tmp_path, folds=2))
    assert folder.classes == {0: "background", 1: "kidney", 2: "liver"}
    assert folder.channels == ("CT",)
    assert folder.axes == (2, 0, 1)  # z, y, x of the file, the last two exchanged
    assert not folder.turned
    assert folder.intensities[0]["scheme"] == "CTNormalization"
    assert folder.intensities[0]["upper"] == 150
    assert {fold: file.parent.name for fold, file in folder.checkpoints.items()} == {
        "0": "fold_0",
        "1": "fold_1",
    }


def test_the_last_weights_before_the_best(tmp_path: Path):
    root = results_folder(tmp_path)
    (root / "fold_0" / "checkpoint_best.pth").write_bytes(b"")
    (root / "fold_3").mkdir()
    (root / "fold_3" / "checkpoint_best.pth").write_bytes(b"")
    names = {fold: file.name for fold, file in read_results_folder(root).checkpoints.items()}
    assert names == {"0": "checkpoint_final.pth", "3": "checkpoint_best.pth"}


def test_a_configuration_has_what_it_inherits(tmp_path: Path):
    root = results_folder(tmp_path)
    text = (root / "plans.json").read_text()
    heir = '"configurations": {"mine": {"inherits_from": "3d_fullres", "spacing": [1, 1, 1]}, '
    (root / "plans.json").write_text(text.replace('"configurations": {', heir))
    folder = read_results_folder(root.rename(root.with_name("nnUNetTrainer__nnUNetPlans__mine")))
    assert folder.plans["spacing"] == [1, 1, 1]
    assert folder.plans["patch_size"] == [8, 12, 12]


def test_a_bundle_is_no_results_folder(tmp_path: Path):
    assert not is_results_folder("bundles/hippocampus_teacher_segmentation")
    assert not is_results_folder(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("changed", "dataset", "text"),
    [
        ({"patch_size": [8, 8]}, {}, r"patch_size is \[8, 8\], expected a 3D configuration"),
        ({"previous_stage": "3d_lowres"}, {}, "a cascade, after '3d_lowres'"),
        ({"preprocessor_name": "Mine"}, {}, "preprocessor_name is Mine"),
        (
            {"resampling_fn_data": "resample_torch_fornnunet"},
            {},
            "resampling_fn_data is resample_torch_fornnunet",
        ),
        ({"normalization_schemes": []}, {}, "names 1 channels, plans.json has 0 normalization_schemes"),
        ({}, {"labels": {"background": 0, "whole": [1, 2], "core": [2]}}, r"labels \['whole'\] are regions"),
        ({}, {"labels": {"background": 0, "liver": 2}}, "without a gap"),
    ],
)
def test_what_cannot_be_taken_over_is_named(changed: dict, dataset: dict, text: str, tmp_path: Path):
    with pytest.raises(ValueError, match=text):
        read_results_folder(results_folder(tmp_path, changed=changed, dataset=dataset))


def test_a_folder_of_another_name_is_refused(tmp_path: Path):
    root = results_folder(tmp_path)
    root = root.rename(root.with_name("mine"))
    with pytest.raises(ValueError, match="expected a folder named TRAINER__PLANS__CONFIGURATION"):
        read_results_folder(root)


def test_another_reader_is_refused(tmp_path: Path):
    root = results_folder(tmp_path)
    text = (root / "plans.json").read_text()
    (root / "plans.json").write_text(text.replace("SimpleITKIO", "NaturalImage2DIO"))
    with pytest.raises(ValueError, match="image_reader_writer is NaturalImage2DIO"):
        read_results_folder(root)


def test_the_label_to_ignore_is_no_class(tmp_path: Path):
    labels = {"background": 0, "liver": 1, "ignore": 2}
    assert read_results_folder(results_folder(tmp_path, dataset={"labels": labels})).classes == {
        0: "background",
        1: "liver",
    }
