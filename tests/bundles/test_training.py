"""Every shipped training runs, leaves what it should, and refuses what it must."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dckd_ext.bundle import student_network
from tests.conftest import bundle, make_msd, train, workflow, write_volume

STUDENTS = ["unet_student_segmentation", "hrnet_student_segmentation"]


def logged(folder: Path) -> set[str]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return set(events.Tags()["scalars"])


@pytest.mark.parametrize("kind", ["teacher_segmentation", *STUDENTS])
def test_plain_training(kind: str, tmp_path: Path, msd: Path):
    flow = train(kind, tmp_path, msd)
    saved = torch.load(tmp_path / "model.pt", weights_only=True)
    student_network(bundle(kind)).load_state_dict(saved)
    expected = torch.float16 if kind.startswith("teacher") else torch.float32
    assert {tensor.dtype for tensor in saved.values()} == {expected}
    assert flow.parser.get_parsed_content("train#trainer").state.epoch == 2
    assert {"segmentation", "total", "val_mean_dice"} <= logged(tmp_path)
    record = json.loads((tmp_path / "training.json").read_text())
    assert record["steps"] == 2 * len(flow.parser.get_parsed_content("train#dataloader"))
    assert json.loads((tmp_path / "model.json").read_text()) == record
    held_out = [f"hippocampus_00{number}" for number in (0, 5)]  # fold 0 of six cases
    assert record["cases"]["validation"] == held_out
    assert not set(record["cases"]["training"]) & set(held_out)
    assert record["options"]["split_file"] == str(msd / "splits.json")
    assert {"python", "monai", "torch", "dckd-ext"} <= record["versions"].keys()
    assert record["sha256"] == hashlib.sha256((tmp_path / "model.pt").read_bytes()).hexdigest()


def test_curves_of_two_trainings_are_kept_apart(tmp_path: Path, msd: Path):
    train("unet_student_segmentation", tmp_path, msd, epochs=1)
    before = {file.name for file in tmp_path.glob("events*")}
    train("unet_student_segmentation", tmp_path, msd, epochs=1)
    (earlier,) = (tmp_path / "previous").glob("2*")
    assert {file.name for file in earlier.iterdir()} == {*before, "training.json", "resume.pt"}
    assert not before & {file.name for file in tmp_path.glob("events*")}


@pytest.mark.parametrize("kind", STUDENTS)
@pytest.mark.parametrize(
    ("overlay", "terms"), [(None, {"logits", "cwd"}), ("dckd.yaml", {"logits", "contrastive", "ranking"})]
)
def test_distillation(
    overlay: str | None, terms: set[str], kind: str, tmp_path: Path, msd: Path, teacher_weights: Path, capsys
):
    flow = train(
        "distillation",
        tmp_path,
        msd,
        overlay,
        student_bundle=str(bundle(kind)),
        teacher_weights=str(teacher_weights),
        min_teacher_dice=0,
        epochs=5,
    )
    saved = torch.load(tmp_path / "model.pt", weights_only=True)
    student_network(bundle(kind)).load_state_dict(saved)  # strict: the student's weights and nothing else
    assert logged(tmp_path) >= {"segmentation", *terms, "total", "val_mean_dice"}
    assert "teacher: mean Dice" in capsys.readouterr().out
    loss = flow.parser.get_parsed_content("loss")
    assert set(loss.terms) == {"segmentation", *terms}
    in_bank = set(loss.pairs.bank.references().classes.tolist())
    assert in_bank == ({0, 1, 2} if "contrastive" in terms else set())


def test_projector_is_trained(tmp_path: Path, msd: Path, teacher_weights: Path):
    override = {"teacher_weights": str(teacher_weights), "min_teacher_dice": 0, "epochs": 1}
    flow = train("distillation", tmp_path, msd, "dckd.yaml", **override)
    checkpoint = torch.load(tmp_path / "resume.pt", weights_only=True)["parts"]
    projector = {name for name in checkpoint["loss"] if "projector" in name}
    count = sum(1 for _ in flow.parser.get_parsed_content("loss").parameters())
    assert projector
    assert count > 0
    assert len(checkpoint["optimizer"]["state"]) == count + sum(
        1 for _ in flow.parser.get_parsed_content("network").parameters()
    )


def test_the_default_run_is_the_training(tmp_path: Path, msd: Path):
    """A reference, not a copy: who runs the whole config, as MONAI Label may, trains once."""
    data = {"dataset_dir": str(msd), "split_file": str(msd / "splits.json")}
    flow = workflow("teacher_segmentation", "train.yaml", "train", **data)
    assert flow.parser["training"] == "@run"
    assert isinstance(flow.parser["run"], list)


def test_best_weights(tmp_path: Path, msd: Path):
    train("unet_student_segmentation", tmp_path, msd, select="best", epochs=2)
    assert (tmp_path / "model.pt").is_file()


def test_bfloat16_on_cpu(tmp_path: Path, msd: Path):
    flow = train("unet_student_segmentation", tmp_path, msd, autocast="bfloat16", epochs=1)
    assert torch.isfinite(flow.parser.get_parsed_content("loss").values["total"])


def test_float16_on_cpu_is_refused(tmp_path: Path, msd: Path, raises_from_config):
    error = raises_from_config(
        lambda: train("unet_student_segmentation", tmp_path, msd, autocast="float16", epochs=1)
    )
    assert "bfloat16" in str(error)
    assert not (tmp_path / "model.pt").exists()


def test_poor_teacher_stops_the_run(tmp_path: Path, msd: Path, raises_from_config):
    weights = tmp_path / "random.pt"
    torch.save(student_network(bundle("teacher_segmentation")).state_dict(), weights)
    error = raises_from_config(lambda: train("distillation", tmp_path, msd, teacher_weights=str(weights)))
    assert "preprocessing" in str(error)
    assert "min_teacher_dice" in str(error)
    assert not (tmp_path / "model.pt").exists()


def test_missing_teacher_weights(tmp_path: Path, msd: Path, raises_from_config):
    gone = tmp_path / "gone.pt"
    error = raises_from_config(lambda: train("distillation", tmp_path, msd, teacher_weights=str(gone)))
    assert isinstance(error, FileNotFoundError)
    assert str(gone) in str(error)


def test_weights_of_another_network(tmp_path: Path, msd: Path, raises_from_config):
    wrong = tmp_path / "wrong.pt"
    torch.save(student_network(bundle("unet_student_segmentation")).state_dict(), wrong)
    error = raises_from_config(lambda: train("distillation", tmp_path, msd, teacher_weights=str(wrong)))
    assert str(wrong) in str(error)


def test_unknown_tap(tmp_path: Path, msd: Path, teacher_weights: Path, raises_from_config):
    override = {"teacher_weights": str(teacher_weights), "min_teacher_dice": 0, "student_tap": "upcat1"}
    error = raises_from_config(lambda: train("distillation", tmp_path, msd, **override))
    assert "upcat_1" in str(error)  # the nearest name


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_bad_volumes_are_named(workers: int, tmp_path: Path, raises_from_config):
    import numpy as np

    data = make_msd(tmp_path / "data")
    broken = data / "labelsTr" / "hippocampus_002.nii.gz"
    write_volume(broken, np.full((32, 22, 19), 7, np.uint8))
    error = raises_from_config(
        lambda: train("unet_student_segmentation", tmp_path, data, cache_rate=0.0, num_workers=workers)
    )
    assert str(broken) in str(error)
    assert "found values [7]" in str(error)
    assert not (tmp_path / "model.pt").exists()
