"""What goes wrong around the shipped workflows: folders, disks, interrupts."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from dckd_ext.utils import FolderInUseError
from tests.bundles.test_inference import evaluate, infer, student_weights  # noqa: F401 a fixture
from tests.conftest import SMALL, bundle, ellipsoids, train, write_volume
from tests.utils.test_files import small_disk  # noqa: F401 a fixture
from tests.utils.test_folders import holder


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A real file system that cannot be written to; where none can be mounted, the kernel's own."""
    folder = tmp_path / "read_only"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    yield folder if mounted else Path("/proc")
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_training_finds_a_folder_that_cannot_be_written_to_before_its_data(
    tmp_path: Path, read_only: Path, raises_from_config
):
    weights, output = str(tmp_path / "model.pt"), read_only / "out"
    start = lambda out, **options: train("teacher_segmentation", out, Path("absent"), **options)  # noqa: E731
    error = raises_from_config(lambda: start(output, checkpoint=weights))
    assert f"cannot write to the folder {output}: " in str(error)
    error = raises_from_config(lambda: start(tmp_path, checkpoint=str(output / "model.pt")))
    assert str(error).startswith(f"checkpoint: cannot write {output / 'model.pt'}: ")


def test_a_second_training_in_a_folder_is_refused_before_its_data(tmp_path: Path, raises_from_config):
    with holder(tmp_path) as process:
        error = raises_from_config(lambda: train("teacher_segmentation", tmp_path, Path("absent")))
    assert isinstance(error, FolderInUseError)
    assert f"is in use by process {process.pid}" in str(error)


def test_a_training_gives_its_folder_back(tmp_path: Path, msd: Path):
    train("teacher_segmentation", tmp_path, msd, epochs=1)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    with holder(tmp_path):
        pass


def test_inference_finds_a_folder_that_cannot_be_written_to_before_the_first_volume(
    tmp_path: Path,
    read_only: Path,
    student_weights: Path,  # noqa: F811
    raises_from_config,
):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "broken.nii.gz").write_text("no volume")  # reading it would be another error
    error = raises_from_config(lambda: infer(tmp_path / "in", read_only / "out", student_weights))
    assert f"cannot write to the folder {read_only / 'out'}: " in str(error)


def test_evaluation_finds_scores_that_cannot_be_written_before_the_first_volume(
    tmp_path: Path,
    msd: Path,
    read_only: Path,
    student_weights: Path,  # noqa: F811
    raises_from_config,
):
    (tmp_path / "scores_0.csv").mkdir()
    error = raises_from_config(lambda: evaluate(msd, tmp_path, student_weights, split=0))
    assert str(error) == f"[Errno 21] cannot write {tmp_path / 'scores_0.csv'}: Is a directory"
    error = raises_from_config(lambda: evaluate(msd, read_only / "out", student_weights, split=0))
    assert f"cannot write to the folder {read_only / 'out'}: " in str(error)


@pytest.mark.slow
def test_ctrl_c_ends_an_inference_on_the_command_line(tmp_path: Path, student_weights: Path):  # noqa: F811
    for number in range(40):
        write_volume(tmp_path / "in" / f"{number:02d}.nii.gz", ellipsoids((34, 18, 17), number)[0])
    folder, out = bundle("unet_student_segmentation"), tmp_path / "out"
    settings = {
        "config_file": folder / "configs" / "inference.yaml",
        "bundle_root": folder,
        "dataset_dir": tmp_path / "in",
        "output_dir": out,
        "checkpoint": student_weights,
        "device": "cpu",
        "patch_size": SMALL["patch_size"],
    }
    arguments = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    process = subprocess.Popen(
        [sys.executable, "-m", "monai.bundle", "run", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 120
    while len(list(out.glob("[!.]*_seg.nii.gz"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT, text[-3000:]  # what a shell calls 130
    masks = sorted(out.iterdir())
    assert 3 <= len(masks) < 40
    assert f"interrupted: {len(masks)} of 40 cases are done" in text
    assert text.splitlines()[-1] == "interrupted"
    assert "Traceback" not in text
    for path in masks:
        assert np.asarray(nib.load(path).dataobj).shape == (34, 18, 17)


@pytest.mark.slow
def test_a_training_on_a_full_disk_names_file_and_disk(
    small_disk: Path,  # noqa: F811
    msd: Path,
    raises_from_config,
):
    (small_disk / "model.pt").write_bytes(b"precious")
    error = raises_from_config(lambda: train("unet_student_segmentation", small_disk, msd, epochs=1))
    text = rf"cannot write {small_disk}/resume\.pt: No space left on device \(\d\.\d MB are free on the disk "
    assert re.search(text + str(small_disk), str(error))
    assert (small_disk / "model.pt").read_bytes() == b"precious"
    assert not list(small_disk.glob(".partial*"))


def test_inference_on_a_full_disk_names_file_and_disk(
    tmp_path: Path,
    small_disk: Path,  # noqa: F811
    student_weights: Path,  # noqa: F811
    raises_from_config,
):
    write_volume(tmp_path / "in" / "a.nii.gz", ellipsoids((34, 18, 17), 0)[0])
    (small_disk / "full").write_bytes(bytes(2**20 - 2**12))  # the lock takes the rest
    error = raises_from_config(lambda: infer(tmp_path / "in", small_disk, student_weights))
    free = f"(0.0 MB are free on the disk {small_disk})"
    assert f"cannot write {small_disk}/a_seg.nii.gz: No space left on device {free}" in str(error)
    assert [path.name for path in small_disk.iterdir()] == ["full"]
