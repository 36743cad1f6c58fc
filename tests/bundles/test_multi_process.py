"""The multi-GPU overlay under torchrun, here with two CPU processes and gloo."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.bundles.trained import assert_trained
from tests.conftest import SMALL, bundle, ellipsoids, write_volume

pytestmark = pytest.mark.slow


def torchrun(kind: str, out: Path, data: Path, *overlays: str, **override) -> None:
    folder = bundle(kind)
    configs = [str(folder / "configs" / name) for name in ("train.yaml", *overlays, "multi_gpu_train.yaml")]
    settings = {
        **{key: value for key, value in SMALL.items() if key != "device"},
        "config_file": configs,
        "bundle_root": folder,
        "dataset_dir": data,
        "split_file": data / "splits.json",
        "output_dir": out,
        "checkpoint": out / "model.pt",
        **override,
    }
    arguments = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += ["-m", "monai.bundle", "run", "training", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]


def test_plain_training(tmp_path: Path, msd: Path):
    torchrun("teacher_segmentation", tmp_path, msd, batch_size=1)
    assert_trained(tmp_path / "model.pt", "teacher_segmentation", torch.float16)
    record = json.loads((tmp_path / "training.json").read_text())
    assert record["steps"] == 2 * 2  # epochs, and a half of the four training cases in each process


@pytest.mark.parametrize("overlays", [(), ("dckd.yaml",)])
def test_distillation(overlays: tuple[str, ...], tmp_path: Path, msd: Path, teacher_weights: Path):
    override = {"teacher_weights": teacher_weights, "min_teacher_dice": 0, "batch_size": 1, "epochs": 3}
    if overlays:  # and volumes without labels; a teacher of two epochs is sure of nothing
        for number in range(3):
            write_volume(tmp_path / "archive" / f"{number}.nii", ellipsoids((34, 22, 19), 60 + number)[0])
        override |= {"unlabelled_dir": tmp_path / "archive", "batch_size": 2, "min_confidence": 0.4}
    torchrun("distillation", tmp_path, msd, *overlays, **override)
    record = json.loads((tmp_path / "training.json").read_text())
    assert record["steps"] == 3 * 2  # epochs, and a half of the four labelled cases in each process
    if overlays:
        assert 4 < len(list((tmp_path / "answers" / "logits").iterdir())) <= 7
    assert_trained(tmp_path / "model.pt", "unet_student_segmentation")
    checkpoint = torch.load(tmp_path / "resume.pt", weights_only=True)
    assert not [name for name in checkpoint["parts"]["network"] if name.startswith("module.")]
