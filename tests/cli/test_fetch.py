"""`dckd fetch` says what it did, and the command that it names runs."""

import shlex
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from dckd_ext.cli.fetch import fetch
from dckd_ext.distribution import pack_bundles
from tests.conftest import bundle, write_volume
from tests.distribution.examples import NAME, TITLE, make_bundle


def test_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    release, target = tmp_path / "release", tmp_path / "bundles"
    pack_bundles([make_bundle(tmp_path)], release)
    for _ in range(2):
        fetch(NAME, source=str(release), bundle_dir=str(target), force=True)
    first, second = capsys.readouterr().out.split("fetched: ")[1:]
    assert first.startswith(f"{NAME} 0.1.0, 0.0 MB, SHA-256 verified")
    assert (release / f"{TITLE}.zip").as_uri() in first
    assert f"folder:  {target / NAME}\n" in first
    assert "next:    python -m monai.bundle run --config_file" in second
    assert "kept:    the earlier bundle, as" in first.splitlines()[-1]


def test_without_weights_the_next_step_is_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root = make_bundle(tmp_path, "toy_distillation")
    (root / "models/model.pt").unlink()
    pack_bundles([root], tmp_path / "release")
    fetch("toy_distillation", source=str(tmp_path / "release"), bundle_dir=str(tmp_path / "got"))
    assert "monai.bundle run training --config_file" in capsys.readouterr().out
    assert (tmp_path / "got/toy_distillation/configs/train.json").is_file()


def test_a_folder_with_a_space_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pack_bundles([make_bundle(tmp_path)], tmp_path / "release")
    fetch(NAME, source=str(tmp_path / "release"), bundle_dir=str(tmp_path / "my bundles"))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("next:")]
    assert str(tmp_path / "my bundles" / NAME) in shlex.split(line)


@pytest.mark.slow
def test_from_the_command_line_to_masks(tmp_path: Path):
    def dckd(*arguments: str | Path) -> subprocess.CompletedProcess:
        code = "from dckd_ext.cli import main; main()"
        command = [sys.executable, "-c", code, "fetch", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)

    name = "hippocampus_unet_student_segmentation"
    pack_bundles([bundle("unet_student_segmentation")], tmp_path / "release")
    none = dckd(name)
    assert none.returncode == 1
    assert none.stderr.startswith("dckd: There is no release of this project yet. Name a source")
    good = dckd(name, "--source", tmp_path / "release")
    assert good.returncode == 0, good.stderr
    assert (tmp_path / name / "models/model.pt").is_file()
    again = dckd(name, "--source", tmp_path / "release")
    assert again.returncode == 1
    assert "--force" in again.stderr
    assert "Traceback" not in again.stderr

    image = np.random.default_rng(0).normal(100, 20, (34, 50, 35)).astype(np.float32)
    write_volume(tmp_path / "images/case.nii.gz", image)
    (line,) = [line for line in good.stdout.splitlines() if line.startswith("next:")]
    command = shlex.split(line.removeprefix("next:"))
    places = {"python": sys.executable, "IMAGES": str(tmp_path / "images"), "MASKS": str(tmp_path / "masks")}
    command = [places.get(word, word) for word in command]
    subprocess.run(command, check=True, capture_output=True)
    assert nib.load(tmp_path / "masks/case_seg.nii.gz").shape == image.shape
