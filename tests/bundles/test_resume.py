"""A training that is killed and continued gives the losses of one that was not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conftest import SMALL, bundle

pytestmark = pytest.mark.slow
EPOCHS = 6

# Runs the shipped config as `python -m monai.bundle run training` does, and kills itself on the way:
# "save" while a checkpoint is being written, "step" in the middle of an epoch.
KILLER = """
import os, signal, sys
import torch
from monai.bundle.scripts import run
kill, epoch = sys.argv[1], int(sys.argv[2])
settings = eval(sys.argv[3])
if kill == "save":
    save, count = torch.save, [0]
    def half_save(state, path, *args, **kwargs):
        if "resume" in str(path):
            count[0] += 1
        save(state, path, *args, **kwargs)
        if count[0] == epoch:
            os.truncate(path, os.path.getsize(path) // 2)
            os.kill(os.getpid(), signal.SIGKILL)
    torch.save = half_save
if kill == "step":
    import dckd_ext.handlers as handlers
    step = handlers.WeightAverage.__call__
    def kill_in_epoch(self, engine):
        step(self, engine)
        if engine.state.epoch == epoch and engine.state.iteration % engine.state.epoch_length == 1:
            os.kill(os.getpid(), signal.SIGKILL)
    handlers.WeightAverage.__call__ = kill_in_epoch
run("training", **settings)
"""


def run(out: Path, settings: dict, kill: str = "never", epoch: int = 0) -> int:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILLER, kill, str(epoch), repr(settings)]
    with (out / "log.txt").open("a") as log:
        return subprocess.run(command, env=environment, stdout=log, stderr=log, timeout=900).returncode


def losses(folder: Path) -> dict[tuple[str, int], float]:
    """Every logged value by tag and step; of a step that was repeated after a kill, the later value."""
    values: dict[tuple[str, int], tuple[float, float]] = {}
    for file in folder.glob("events.*"):
        events = EventAccumulator(str(file), size_guidance={"scalars": 0})
        events.Reload()
        for tag in events.Tags()["scalars"]:
            for event in events.Scalars(tag):
                key = (tag, event.step)
                if key not in values or values[key][0] < event.wall_time:
                    values[key] = (event.wall_time, event.value)
    return {key: value for key, (_, value) in values.items()}


@pytest.fixture(scope="module")
def distillation(tmp_path_factory, msd: Path, teacher_weights: Path):
    """Settings of a short distillation, and the run that nobody disturbed, by number of workers."""
    whole: dict[int, Path] = {}

    def settings(out: Path, workers: int, resume: bool = False) -> dict:
        return {
            **SMALL,
            "config_file": [
                str(bundle("distillation") / "configs" / name) for name in ("train.yaml", "dckd.yaml")
            ],
            "bundle_root": str(bundle("distillation")),
            "dataset_dir": str(msd),
            "split_file": str(msd / "splits.json"),
            "teacher_weights": str(teacher_weights),
            "min_teacher_dice": 0,
            "output_dir": str(out),
            "checkpoint": str(out / "model.pt"),
            "epochs": EPOCHS,
            "val_interval": 2,
            "num_workers": workers,
            "resume": resume,
        }

    def undisturbed(workers: int) -> Path:
        if workers not in whole:
            out = tmp_path_factory.mktemp(f"whole{workers}")
            assert run(out, settings(out, workers)) == 0, (out / "log.txt").read_text()[-3000:]
            whole[workers] = out
        return whole[workers]

    return settings, undisturbed


@pytest.mark.parametrize(("workers", "kill", "epoch"), [(0, "step", 4), (2, "step", 3), (0, "save", 3)])
def test_killed_and_continued(workers: int, kill: str, epoch: int, tmp_path: Path, distillation):
    settings, undisturbed = distillation
    whole = undisturbed(workers)
    assert run(tmp_path, settings(tmp_path, workers), kill, epoch) == -signal.SIGKILL
    torch.load(tmp_path / "resume.pt", weights_only=True)  # whole, whenever the kill came
    assert not (tmp_path / "model.pt").exists()
    time.sleep(1)  # TensorBoard names its files by the second
    assert run(tmp_path, settings(tmp_path, workers, resume=True)) == 0, (tmp_path / "log.txt").read_text()
    assert losses(tmp_path) == losses(whole)
    one, other = (torch.load(out / "model.pt", weights_only=True) for out in (tmp_path, whole))
    assert all(torch.equal(one[name], other[name]) for name in other)
    states = [torch.load(out / "resume.pt", weights_only=True) for out in (tmp_path, whole)]
    assert states[0]["best"] == states[1]["best"]
    banks = [state["parts"]["loss"] for state in states]
    assert all(torch.equal(banks[0][name], banks[1][name]) for name in banks[1])
