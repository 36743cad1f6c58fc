"""`dckd folds`: a teacher for each fold, and on where it was stopped."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import monai.bundle
import pytest

from dckd_ext.cli import main
from tests.conftest import bundle

TEACHER = bundle("teacher_segmentation")


@pytest.fixture
def dckd(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], msd: Path):
    """Returns a function that trains the folds of the small cases, and gives what was printed."""

    def call(out: Path, *words: object) -> str:
        data = ["--dataset_dir", msd, "--split_file", msd / "splits.json"]
        data = [] if "--dataset_dir" in words else data
        line = ["dckd", "folds", TEACHER, "--out", out, *data, *words]
        monkeypatch.setattr("sys.argv", [str(word) for word in line])
        main()
        return capsys.readouterr().out

    return call


@pytest.mark.slow
def test_what_is_finished_is_left_and_what_was_stopped_continues(msd: Path, tmp_path: Path):
    def dckd(out: Path, *words: object) -> str:
        line = [sys.executable, "-m", "dckd_ext", "folds", TEACHER, "--out", out]
        line += ["--dataset_dir", msd, "--split_file", msd / "splits.json", *words]
        return subprocess.run(list(map(str, line)), capture_output=True, text=True, check=True).stdout

    short = ["--held_out", "[0,3,4]", "--epochs", 2, "--patch_size", "[32,16,16]", "--device", "cpu"]
    last = dckd(tmp_path, *short).splitlines()[-1]
    files = {fold: tmp_path / f"fold{fold}" / "model.pt" for fold in (1, 2)}
    teaching, weights = last.removesuffix('"').split(' --teacher_weights "')
    assert teaching == "--teach held_out"
    assert ast.literal_eval(weights) == {fold: str(file) for fold, file in files.items()}
    times = {fold: file.stat().st_mtime_ns for fold, file in files.items()}
    (tmp_path / "fold2" / "finished.json").unlink()  # as if it had been killed at its end
    printed = dckd(tmp_path, *short)
    assert f"fold 1: finished before, {files[1]}" in printed
    assert "after epoch 2" in printed
    assert files[1].stat().st_mtime_ns == times[1]
    assert f"fold 1: {files[1].parent}" in dckd(tmp_path, *short[:-6], "--epochs", 3, *short[-4:])
    record = json.loads((tmp_path / "fold1" / "training.json").read_text())
    assert record["epochs"] == 3


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--fold", 1], "--fold: dckd folds sets it itself, expected --out and --only"),
        (["--resume", "true"], "--resume: dckd folds sets it itself"),
        (["--only", "7"], r"folds: found \[7\], expected some of 0 to 4 that are not held out"),
        (["--only", "0,1", "--held_out", "[0]"], r"folds: found \[0\], expected some of 0 to 4 that are not"),
        (["--held_out", "[9]"], r"folds: found \[9\]"),
        (["--epoch", 3], "unknown option --epoch: .*, did you mean --epochs"),
        (["--dataset_dir", "gone"], "dataset_dir gone has neither"),
    ],
)
def test_bad_folds_are_refused_before_anything_is_trained(
    words: list, text: str, dckd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(monai.bundle, "create_workflow", lambda **_: pytest.fail("a workflow was made"))
    with pytest.raises(SystemExit, match=text):
        dckd(tmp_path / "out", *words)
    assert not list(tmp_path.glob("out/fold*"))


def test_a_set_without_folds_is_named(dckd, tmp_path: Path):
    (tmp_path / "Train").mkdir()
    with pytest.raises(SystemExit, match="holds no volumes"):
        dckd(tmp_path / "out", "--dataset_dir", tmp_path, "--split_file", tmp_path / "none.json")
