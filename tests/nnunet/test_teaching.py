"""A results folder as a teacher, with all its folds."""

import json
from pathlib import Path

import pytest
import torch

from dckd_ext.data.splits import read_split
from dckd_ext.teachers import Ensemble, answering, read_teachers
from tests.bundles.trained import assert_trained
from tests.conftest import train
from tests.nnunet.folders import network, results_folder, weights

IMAGE = torch.randn(1, 1, 8, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """nnU-Net's own: two folds of two cases each."""
    file = tmp_path / "splits_final.json"
    names = ["a", "b", "c", "d"]
    folds = [{"train": names[2:], "val": names[:2]}, {"train": names[:2], "val": names[2:]}]
    file.write_text(json.dumps(folds))
    return file


def predicted(folder: Path, fold: int, names: list[str]) -> None:
    validation = folder / f"fold_{fold}" / "validation"
    validation.mkdir()
    for name in names:
        (validation / f"{name}.nii.gz").write_bytes(b"")
    (validation / "summary.json").write_text("{}")


def test_all_folds_teach_together(tmp_path: Path):
    teacher = read_teachers(results_folder(tmp_path, folds=2))
    assert isinstance(teacher, Ensemble)
    expected = sum(network(IMAGE, weights(fold)).softmax(1) for fold in range(2)) / 2
    torch.testing.assert_close(teacher(IMAGE).exp(), expected, rtol=1e-3, atol=1e-3)


def test_one_fold_teaches_alone(tmp_path: Path):
    folder = results_folder(tmp_path, folds=2)
    teacher = read_teachers(folder, folder / "fold_1" / "checkpoint_final.pth")
    torch.testing.assert_close(teacher(IMAGE), network(IMAGE, weights(1)), rtol=1e-3, atol=1e-3)


def test_the_fold_that_held_a_case_out_answers_it(tmp_path: Path, split: Path):
    folder = results_folder(tmp_path, folds=2)
    predicted(folder, 0, ["a", "b"])
    teacher = read_teachers(folder)
    of_case = answering(teacher, "held_out", None, split, bundles=folder)
    assert of_case("a").members[0] is teacher.members[0]
    assert of_case("d").members[0] is teacher.members[1]
    assert len(of_case("archive").members) == 2


def test_another_split_than_nnunets_is_refused(tmp_path: Path, split: Path):
    folder = results_folder(tmp_path, folds=2)
    predicted(folder, 1, ["a", "c"])
    with pytest.raises(ValueError, match="fold 1 has d, which nnU-Net's fold_1 was trained on"):
        answering(read_teachers(folder), "held_out", None, split, bundles=folder)


def test_a_fold_of_all_cases_has_held_nothing_out(tmp_path: Path, split: Path):
    folder = results_folder(tmp_path)
    (folder / "fold_0").rename(folder / "fold_all")
    with pytest.raises(ValueError, match="held_out needs teacher_weights by the fold"):
        answering(read_teachers(folder), "held_out", None, split, bundles=folder)


def test_nnunets_split_is_a_split(split: Path):
    assert read_split(split) == {"folds": [["a", "b"], ["c", "d"]], "test": []}


@pytest.mark.slow
def test_distils_a_results_folder_with_the_folds_that_held_cases_out(tmp_path: Path, msd: Path):
    labels = {"background": 0, "anterior": 1, "posterior": 2}
    folder = results_folder(tmp_path, folds=5, dataset={"labels": labels})
    flow = train(
        "distillation",
        tmp_path / "out",
        msd,
        teacher_bundle=str(folder),
        teach="held_out",
        min_teacher_dice=0,
        epochs=2,
    )
    assert_trained(tmp_path / "out" / "model.pt", "unet_student_segmentation")
    assert flow.parser.get_parsed_content("sight").window == [8, 12, 12]
    stored = sorted(file.parent.name for file in (tmp_path / "out" / "answers").glob("*/*.npz"))
    assert stored.count("logits") * 2 == len(stored) > 0  # with the features of each
    assert {"logits", "cwd"} <= flow.parser.get_parsed_content("loss").values.keys()
