"""What a user gets wrong, through the shipped workflows: found before anything is read or written."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from dckd_ext.bundle.options import OPTIONS
from tests.bundles.test_inference import infer
from tests.conftest import BUNDLES, bundle, make_msd, train, workflow, write_volume

ABSENT = Path("absent")  # whoever gets as far as the data ends with another error
WHOLE, COUNT = "expected a whole number from 0 on", "expected a whole number above 0"
CHOICE, MM, FLAG = "expected one of", "expected three numbers above 0 (mm)", "expected true or false"

TRAINING = [
    *(("resume", value, FLAG) for value in ("yes", 1, "1", "")),
    *(("epochs", value, COUNT) for value in (1.5, 0, -1, "abc", "3", True)),
    *(("val_interval", value, COUNT) for value in (0, "often")),
    *(("batch_size", value, COUNT) for value in (0, 2.0)),
    ("limit", 0, f"{COUNT}, or null"),
    *(("fold", value, WHOLE) for value in (-1, "0", "test")),
    *(("seed", value, WHOLE) for value in ("x", -1, 0.5)),
    ("num_workers", -1, WHOLE),
    *(("held_out", value, "expected a list of folds, such as [0]") for value in (0, [-1], ["a"])),
    *(("learning_rate", value, "expected a number above 0") for value in (-1, 0, "1e-3", float("nan"), True)),
    *(("average_decay", value, "expected a number from 0 to below 1") for value in (1, -0.1)),
    *(("cache_rate", value, "expected a number from 0 to 1") for value in (2, -1, "all")),
    *(("select", value, f"{CHOICE} last, best") for value in ("first", ["last"])),
    *(("weights_dtype", value, f"{CHOICE} float32, float16, bfloat16") for value in ("int8", "float8", 16)),
    *(("autocast", value, f"{CHOICE} float32, bfloat16, float16") for value in ("half", True)),
    ("autocast", "float16", "found 'float16' on a CPU, expected float32 or bfloat16 there"),
    *(("device", value, "expected a device that is here") for value in ("gpu", "cuda:99", 0)),
    *(("spacing", value, MM) for value in ([0, 1, 1], [-1, 1, 1], [1, 1], 1, ["1", 1, 1])),
    *(("patch_size", value, "expected three whole numbers") for value in (0, [32, 48], [32, 48, 1.5], "32")),
    *(("dataset_dir", value, "expected a path") for value in (20240101, "", ["a"])),
    *(("checkpoint", value, "expected a path") for value in (3, False)),
]
DISTILLING = [
    ("min_teacher_dice", 2, "expected a number from 0 to 1"),
    ("label_map", "0:1", "expected student classes of teacher classes"),
    ("teacher_weights", 7, "expected a path, a list of them, or one for each fold"),
    ("teacher_bundle", 8, "expected a path"),
    ("teacher_bundle", [], "expected a path, or a list of them"),
    *(
        ("teacher_weights", value, "expected a path, a list of them, or one for each fold")
        for value in ([], {}, {"a": "fold.pt"}, {1.5: "fold.pt"}, {-1: "fold.pt"}, {0: 3})
    ),
    *(
        ("unlabelled_share", value, "expected a number above 0 and below 1")
        for value in (0, 1, -1, 2, "0.5", True)
    ),
    *(("min_confidence", value, "expected a number from 0 to 1") for value in (-0.1, 1.5, "high")),
    *(("answers", value, f"{CHOICE} live, logits, all") for value in ("never", 1, ["all"])),
    *(("teach", value, f"{CHOICE} all, held_out") for value in ("nobody", 1)),
    *(("mirrored_axes", value, "expected a list of axes") for value in (0, [3], [-1], [0.0], [True], "0")),
    *(("unlabelled_dir", value, "expected a path") for value in (7, [])),
]
INFERENCE = [
    *(("save_masks", value, FLAG) for value in ("maybe", 0)),
    *(("overlap", value, "expected a number from 0 to below 1") for value in ("abc", 1.0, -0.1)),
    *(("sw_batch_size", value, COUNT) for value in (0, "all")),
    ("spacing", [0, 1, 1], MM),
    ("output_dir", 20240101, "expected a path"),
]


def refused(caught: BaseException, name: str, value: Any, expected: str) -> None:
    assert isinstance(caught, ValueError)
    assert re.match(rf"{name}: found {re.escape(repr(value))}", str(caught))
    assert expected in str(caught)


@pytest.mark.parametrize(("name", "value", "expected"), TRAINING)
def test_training(name: str, value: Any, expected: str, tmp_path: Path, raises_from_config):
    caught = raises_from_config(
        lambda: train("unet_student_segmentation", tmp_path / "out", ABSENT, **{name: value})
    )
    refused(caught, name, value, expected)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "value", "expected"), DISTILLING)
def test_distilling(name: str, value: Any, expected: str, tmp_path: Path, raises_from_config):
    caught = raises_from_config(lambda: train("distillation", tmp_path / "out", ABSENT, **{name: value}))
    refused(caught, name, value, expected)
    assert list(tmp_path.iterdir()) == []


FOLDS = {1: "fold1.pt"}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"teach": "held_out", "answers": "live", "teacher_weights": FOLDS},
            "answers: found 'live', expected log",
        ),
        (
            {"teach": "held_out", "teacher_weights": "one.pt"},
            "teacher_weights: found 'one.pt', expected one file",
        ),
        (
            {"teach": "held_out", "teacher_weights": ["a.pt", "b.pt"]},
            "teacher_weights: found ['a.pt', 'b.pt'], ex",
        ),
        (
            {"dataset_dir": "null"},
            "dataset_dir: found null, expected a folder of labelled cases, or an unlab",
        ),
        (
            {"dataset_dir": "null", "unlabelled_dir": "a", "answers": "live"},
            "answers: found 'live', expected logits",
        ),
        (
            {"unlabelled_dir": "a", "batch_size": 1},
            "batch_size: found 1, expected 2 or more for labelled and",
        ),
    ],
)
def test_what_does_not_go_together(settings: dict, expected: str, tmp_path: Path, raises_from_config):
    caught = raises_from_config(lambda: train("distillation", tmp_path / "out", ABSENT, **settings))
    assert isinstance(caught, ValueError)
    assert str(caught).startswith(expected)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"unlabelled_dir": "gone"}, "unlabelled_dir gone: found nothing, expected a folder of volumes"),
        (
            {"unlabelled_dir": "data/imagesTr"},
            "none of the 5 volumes is left, expected some that can be read and",
        ),
        ({"unlabelled_dir": "data/dataset.json"}, "found a file, expected a folder of volumes"),
        ({"unlabelled_dir": "empty"}, "unlabelled_dir empty holds no NIfTI or NRRD file"),
        (
            {"unlabelled_dir": "one", "dataset_dir": "null"},
            "1 of the 1 volumes is left, expected two or more",
        ),
        (
            {"teach": "held_out", "teacher_weights": {2: None, 4: None}},
            r"no teacher's weights for fold 1, fold 3: ",
        ),
        ({"teach": "held_out", "teacher_weights": {1: "gone.pt"}}, "No weights at gone.pt"),
        ({"teach": "held_out", "teacher_weights": None}, "held_out needs teacher_weights by the fold that"),
        (
            {"teach": "held_out", "teacher_weights": {1: None, 9: None}},
            r"names the folds \[9\], .* has 0 to 4",
        ),
        ({"teacher_bundle": ["TEACHER", "TEACHER"]}, "teacher_weights goes with one teacher_bundle, found 2"),
        (
            {"teacher_bundle": ["TEACHER", "gone"], "teacher_weights": None},
            "gone: there is no such bundle or file",
        ),
        (
            {"teacher_bundle": ["TEACHER", "OTHER"], "teacher_weights": None},
            "teacher_bundle .*: The (classes differ|student has some of the teacher's classes):",
        ),
    ],
)
def test_teachers_and_archives(
    settings: dict, expected: str, tmp_path: Path, teacher_weights: Path, monkeypatch, raises_from_config
):
    """None stands for weights that there are; TEACHER and OTHER for bundles with weights of theirs."""
    monkeypatch.chdir(tmp_path)
    data = broken_msd(Path())
    Path("empty").mkdir()
    write_volume(Path("one/a.nii"), np.zeros((34, 22, 19), np.float32))
    places = {"TEACHER": teacher_bundle(tmp_path, teacher_weights)}
    places["OTHER"] = teacher_bundle(tmp_path / "other", teacher_weights, ["background", "lesion", "cyst"])
    settings = {"teacher_weights": str(teacher_weights), "min_teacher_dice": 0, **settings}
    if isinstance(bundles := settings.get("teacher_bundle"), list):
        settings["teacher_bundle"] = [places.get(name, name) for name in bundles]
    if isinstance(weights := settings["teacher_weights"], dict):
        settings["teacher_weights"] = {fold: file or str(teacher_weights) for fold, file in weights.items()}
    if settings["teacher_weights"] is None:
        del settings["teacher_weights"]
    caught = raises_from_config(lambda: train("distillation", Path("out"), data, **settings))
    assert re.search(expected, str(caught)), str(caught)
    assert "\n" not in str(caught)
    assert not list(Path().glob("out/[!.]*"))


def teacher_bundle(folder: Path, weights: Path, classes: list[str] | None = None) -> str:
    """A copy of the shipped teacher with these weights and, if given, other names of its classes."""
    copied = folder / "teacher"
    shutil.copytree(bundle("teacher_segmentation"), copied, ignore=shutil.ignore_patterns("models"))
    (copied / "models").mkdir()
    shutil.copy(weights, copied / "models" / "model.pt")
    if classes:
        file = copied / "configs" / "metadata.json"
        metadata = json.loads(file.read_text())
        names = {str(number): name for number, name in enumerate(classes)}
        metadata["network_data_format"]["outputs"]["pred"]["channel_def"] = names
        file.write_text(json.dumps(metadata))
    return str(copied)


def score_or_segment(configs: list[str], out: Path, **settings: Any) -> None:
    places = {"dataset_dir": str(ABSENT), "output_dir": str(out), "checkpoint": str(ABSENT), "device": "cpu"}
    workflow("unet_student_segmentation", configs, "inference", **{**places, **settings}).run()


@pytest.mark.parametrize(("name", "value", "expected"), INFERENCE)
def test_inference(name: str, value: Any, expected: str, tmp_path: Path, raises_from_config):
    caught = raises_from_config(
        lambda: score_or_segment(["inference.yaml"], tmp_path / "out", **{name: value})
    )
    refused(caught, name, value, expected)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [("limit", -1, COUNT), ("scores", 5, "expected a path"), ("split", 1.5, "expected a fold or the name")],
)
def test_evaluation(name: str, value: Any, expected: str, tmp_path: Path, raises_from_config):
    configs = ["inference.yaml", "evaluate.yaml"]
    caught = raises_from_config(lambda: score_or_segment(configs, tmp_path / "out", **{name: value}))
    refused(caught, name, value, expected)
    assert list(tmp_path.iterdir()) == []


def test_all_at_once(tmp_path: Path, raises_from_config):
    wrong = {"epochs": 0, "resume": "yes", "spacing": [1]}
    caught = raises_from_config(lambda: train("teacher_segmentation", tmp_path, ABSENT, **wrong))
    assert [part.partition(":")[0] for part in str(caught).split("; ")] == ["resume", "epochs", "spacing"]


def test_the_best_of_no_validation(tmp_path: Path, raises_from_config):
    wrong = {"epochs": 2, "val_interval": 3, "select": "best"}
    caught = raises_from_config(lambda: train("teacher_segmentation", tmp_path, ABSENT, **wrong))
    assert str(caught) == "val_interval: found 3, expected at most 2, the epochs, to select the best of"


NAMES = ("train", "inference", "evaluate")
CONFIGS = [file for name in NAMES for file in sorted(BUNDLES.glob(f"*/configs/{name}.yaml"))]


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: f"{file.parts[-3]}-{file.stem}")
def test_every_option_is_checked(file: Path):
    """What stands under "What to set on the command line" is checked, and is of a known kind."""
    content = yaml.safe_load(file.read_text())
    under = file.with_name("train.yaml" if file.stem == "train" else "inference.yaml")
    checked = {*yaml.safe_load(under.read_text())["options"]} - {"_target_", "class_names"}
    checked |= {key.removeprefix("options#") for key in content if key.startswith("options#")}
    names = list(content)
    settable = names[: names.index("options#split" if file.stem == "evaluate" else "options")]
    settable = {*settable} - {"imports", "teacher_tap", "student_tap", "is_main"}  # what are no plain values
    assert "dataset_dir" in settable or "split" in settable
    assert settable <= checked <= set(OPTIONS)


# What is found in the data and the files, before the first step


def broken_msd(folder: Path, **files: str) -> Path:
    data = make_msd(folder / "data", cases=5)
    for name, text in files.items():
        (data / f"{name}.json").write_text(text)
    return data


def split(folds: list[list[str]]) -> dict[str, str]:
    return {"splits": json.dumps({"folds": folds})}


@pytest.mark.parametrize(
    ("files", "settings", "expected"),
    [
        ({}, {"fold": 9}, "unknown fold or section 9: .*splits.json has the folds 0 to 4"),
        ({"splits": "{"}, {}, "splits.json: expected JSON, found .* line 1 column 2"),
        (split([]), {}, "splits.json has the folds 0 to -1"),
        (split([["hippocampus_000"], ["hippocampus_000"]]), {}, r"hippocampus_000 \(fold 0 and fold 1\)"),
        (split([["gone"], ["hippocampus_000"]]), {}, "lists for validation are not in .*: gone"),
        (split([[], ["hippocampus_000"]]), {}, "splits.json lists no case for validation"),
        ({"dataset": "[]"}, {}, "dataset.json: expected names with values, found list"),
    ],
)
def test_data_lists(files: dict, settings: dict, expected: str, tmp_path: Path, raises_from_config):
    data = broken_msd(tmp_path, **files)
    caught = raises_from_config(lambda: train("teacher_segmentation", tmp_path / "out", data, **settings))
    assert re.search(expected, str(caught)), str(caught)
    assert not list(tmp_path.glob("out/[!.]*"))


@pytest.mark.parametrize("kind", ["teacher_segmentation", "distillation"])
def test_labels_that_are_all_empty(kind: str, tmp_path: Path, raises_from_config):
    data = make_msd(tmp_path / "data", cases=5)
    for file in (data / "labelsTr").iterdir():
        write_volume(file, np.zeros((34, 22, 19), np.uint8))
    caught = raises_from_config(lambda: train(kind, tmp_path / "out", data))
    assert re.search(r"none of the 4 masks has a voxel above 0.*: .*labelsTr/hippocampus_001", str(caught))


def test_broken_weights(tmp_path: Path, raises_from_config):
    from dckd_ext.bundle import student_network

    network = student_network(bundle("unet_student_segmentation"))
    torch.save({key: value * torch.nan for key, value in network.state_dict().items()}, tmp_path / "model.pt")
    (tmp_path / "in").mkdir()
    write_volume(tmp_path / "in" / "a.nii", np.zeros((32, 16, 16), np.float32))
    caught = raises_from_config(lambda: infer(tmp_path / "in", tmp_path / "out", tmp_path / "model.pt"))
    assert str(caught).startswith(f"{tmp_path / 'model.pt'} holds values that are NaN or infinite in ")
    caught = raises_from_config(
        lambda: train("distillation", tmp_path / "out", ABSENT, teacher_weights=str(tmp_path / "model.pt"))
    )
    assert "model.pt" in str(caught) or "absent" in str(caught)
    assert not list(tmp_path.glob("out/[!.]*"))


@pytest.mark.slow
def test_resuming_another_training(tmp_path: Path, msd: Path, raises_from_config):
    train("teacher_segmentation", tmp_path, msd, epochs=1)
    weights = (tmp_path / "model.pt").read_bytes()
    for changes, expected in (
        ({"fold": 1}, "fold: made with 0, now 1; training cases: made with "),
        ({"seed": 1}, "seed: made with 0, now 1"),
        ({"learning_rate": 0.1}, "learning_rate: made with 0.001, now 0.1"),
        ({"limit": 2}, "limit: made with nothing, now 2"),
        ({"loss_def#terms#segmentation#loss#batch": False}, "loss.dice.batch: made with True, now False"),
        ({"network_def#dropout": 0.2}, "network.conv_0.conv_0.adn.D.p: made with 0.0, now 0.2"),
    ):
        settings = {"epochs": 2, "resume": "true", **changes}
        caught = raises_from_config(lambda: train("teacher_segmentation", tmp_path, msd, **settings))  # noqa: B023
        assert f"{tmp_path / 'resume.pt'} is of another training" in str(caught)
        assert expected in str(caught)
    (tmp_path / "resume.pt").write_bytes(b"broken")
    caught = raises_from_config(lambda: train("teacher_segmentation", tmp_path, msd, resume=True))
    assert str(caught).startswith(f"{tmp_path / 'resume.pt'} cannot be read as tensors")
    assert (tmp_path / "model.pt").read_bytes() == weights


# The command line itself


def run_bundle(*arguments: str, config: str = "train.yaml") -> subprocess.CompletedProcess[str]:
    folder = bundle("unet_student_segmentation")
    files = ["--config_file", str(folder / "configs" / config), "--bundle_root", str(folder)]
    command = [sys.executable, "-m", "monai.bundle", "run", *files, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["--resume", "yes", "--epochs", "abc"],
            "error: resume: found 'yes', expected true or false; epochs: found 'abc', expected a whole",
        ),
        (["--dataset_dir=a#b"], "error: dataset_dir: found a#b, read as 'a', expected a path without '#'"),
        (["--dataset_dir", "./a#b"], "error: dataset_dir: found './a::b', expected a path without '#'"),
    ],
)
def test_the_last_line_says_it(arguments: list[str], expected: str, tmp_path: Path):
    done = run_bundle(*arguments, "--output_dir", str(tmp_path / "out"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(expected), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_what_is_not_ours_keeps_its_traceback(tmp_path: Path):
    data = make_msd(tmp_path / "data")
    places = {"dataset_dir": data, "split_file": data / "splits.json", "output_dir": tmp_path / "out"}
    words = [word for name, path in places.items() for word in (f"--{name}", str(path))]
    done = run_bundle(*words, "--network_def#spatial_dims", "seven")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: TypeError: ")
