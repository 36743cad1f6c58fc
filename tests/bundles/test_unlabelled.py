"""Distillation from volumes that nobody labelled, and by teachers that have not seen the case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from dckd_ext.networks import Teacher
from tests.bundles.test_training import logged
from tests.bundles.trained import assert_trained
from tests.conftest import ellipsoids, train, workflow, write_volume

KIND = "unet_student_segmentation"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, msd: Path) -> Path:
    """Five new volumes in subfolders, a copy of a labelled one, and one that is broken."""
    folder = tmp_path_factory.mktemp("archive")
    for number in range(5):
        write_volume(
            folder / f"{number % 2}" / f"scan{number}.nii.gz", ellipsoids((34, 22, 19), 50 + number)[0]
        )
    copied = nib.load(sorted((msd / "imagesTr").iterdir())[0])
    write_volume(folder / "copy.nii", np.asarray(copied.dataobj))
    (folder / "broken.nii.gz").write_bytes(b"nothing")
    return folder


def distil(out: Path, msd: Path, teacher_weights: Any, overlay: str | None = None, **options: Any) -> Any:
    options = {"min_teacher_dice": 0, "teacher_weights": teacher_weights, "epochs": 3, **options}
    return train("distillation", out, msd, overlay, **options)


@pytest.mark.parametrize("overlay", [None, "dckd.yaml"])
def test_half_of_every_batch_comes_from_the_archive(
    overlay: str | None, tmp_path: Path, msd: Path, teacher_weights: Path, archive: Path, capsys
):
    # a teacher of two epochs is sure of nothing
    flow = distil(
        tmp_path, msd, str(teacher_weights), overlay, unlabelled_dir=str(archive), min_confidence=0.4
    )
    assert_trained(tmp_path / "model.pt", KIND)
    dataset = flow.parser.get_parsed_content("train#dataset")
    unlabelled = [case["case"] for case in dataset.data if case["label"] is None]
    assert 0 < len(unlabelled) <= 5
    assert "unlabelled_copy" not in unlabelled
    told = capsys.readouterr().out
    assert "copy.nii (labelled case hippocampus_000)" in told
    assert "broken.nii.gz" in told
    assert "volumes without labels teach" in told
    for batch in flow.parser.get_parsed_content("train#dataloader"):
        assert [bool((label == 255).all()) for label in batch["label"]] == [False, True]
        assert batch["teacher_answers"].shape[:2] == (2, 3 + 16)  # classes, and channels of the teacher's tap
        assert batch["teacher_answers"].shape[2:] == batch["image"].shape[2:]
    assert "val_mean_dice" in logged(tmp_path)


def test_without_any_label_it_is_agreement_that_is_measured(
    tmp_path: Path, msd: Path, teacher_weights: Path, archive: Path
):
    distil(tmp_path, msd, str(teacher_weights), unlabelled_dir=str(archive), dataset_dir="null")
    assert_trained(tmp_path / "model.pt", KIND)
    names = logged(tmp_path)
    assert "val_agreement_with_teacher" in names
    assert not names & {"val_mean_dice", "segmentation"}
    assert list(json.loads((tmp_path / "training.json").read_text())["validation"]) == [
        "val_agreement_with_teacher"
    ]


def test_the_answers_are_asked_once_and_a_second_run_takes_them(
    tmp_path: Path, msd: Path, teacher_weights: Path, archive: Path
):
    options = {"unlabelled_dir": str(archive), "answers": "logits", "epochs": 1}
    distil(tmp_path, msd, str(teacher_weights), **options)
    files = sorted((tmp_path / "answers" / "logits").iterdir())
    times = [file.stat().st_mtime_ns for file in files]
    assert len(files) >= 4
    files[0].unlink()
    distil(tmp_path, msd, str(teacher_weights), **options)
    again = sorted((tmp_path / "answers" / "logits").iterdir())
    assert again == files
    assert [file.stat().st_mtime_ns for file in again][1:] == times[1:]


def test_each_case_is_taught_by_the_teacher_that_held_it_out(
    tmp_path: Path, msd: Path, teacher_weights: Path, raises_from_config
):
    weights = {fold: str(teacher_weights) for fold in range(1, 5)}
    distil(tmp_path / "run", msd, weights, teach="held_out", epochs=1)
    assert_trained(tmp_path / "run" / "model.pt", KIND)
    del weights[2]
    error = raises_from_config(lambda: distil(tmp_path / "missing", msd, weights, teach="held_out"))
    assert "no teacher's weights for fold 2" in str(error)


def test_several_teachers_answer_as_their_mean(tmp_path: Path, msd: Path, teacher_weights: Path):
    distil(tmp_path, msd, [str(teacher_weights)] * 2, "dckd.yaml", epochs=1, mirrored_axes=[0])
    assert_trained(tmp_path / "model.pt", KIND)


def test_answers_follow_their_image_through_the_augmentation(
    tmp_path: Path, msd: Path, teacher_weights: Path, archive: Path
):
    """A teacher that answers with the image itself: after crops, flips and turns it still must."""
    import torch

    class Echo(torch.nn.Module):
        def forward(self, image):
            return torch.cat([torch.zeros_like(image), -image, image], 1)

    flow = workflow(
        "distillation",
        "train.yaml",
        "train",
        dataset_dir=str(msd),
        split_file=str(msd / "splits.json"),
        output_dir=str(tmp_path),
        teacher_weights=str(teacher_weights),
        unlabelled_dir=str(archive),
        answers="logits",
        device="cpu",
        patch_size=[32, 16, 16],
    )
    flow.parser["teacher"] = Teacher(Echo())
    flow.parser["teacher_tap"], flow.parser["teacher_channels"] = "echo", 1
    for _ in range(3):
        for batch in flow.parser.get_parsed_content("train#dataloader"):
            background, _, image = batch["teacher_answers"].softmax(1).log().unbind(1)
            echoed = image - background
            plain = (batch["image"][:, 0] - echoed).abs()
            assert plain.median() < 0.35  # noise, smoothing, scale and shift are of the image alone
            both = np.corrcoef(batch["image"][:, 0].flatten(), echoed.flatten())
            assert both[0, 1] > 0.9
