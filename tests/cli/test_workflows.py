"""`dckd train`, `distil`, `evaluate` and `segment`: fronts of the workflows of a bundle."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import monai.bundle
import nibabel as nib
import numpy as np
import pytest
import yaml

from dckd_ext.cli import main
from dckd_ext.utils import read_table
from tests.conftest import bundle

STUDENT = bundle("unet_student_segmentation")
SHORT = ["--patch_size", "[32,16,16]", "--device", "cpu"]


@pytest.fixture
def dckd(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Returns a function that runs a command line and gives what was printed."""

    def call(*words: object) -> str:
        monkeypatch.setattr("sys.argv", ["dckd", *map(str, words)])
        main()
        return capsys.readouterr().out

    return call


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch):
    """No workflow may be made."""
    monkeypatch.setattr(monai.bundle, "create_workflow", lambda **_: pytest.fail("a workflow was made"))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student bundle of one's own."""
    return shutil.copytree(
        STUDENT, tmp_path_factory.mktemp("own") / "student", ignore=shutil.ignore_patterns("model.pt")
    )


def test_train_then_evaluate_then_segment(dckd, copy: Path, msd: Path, tmp_path: Path):
    """As in the README: evaluation scores the cases that the training held out, without being told which."""
    split = tmp_path / "mine.json"
    split.write_text(json.dumps({"folds": [["hippocampus_004"], [f"hippocampus_00{n}" for n in range(4)]]}))
    lines = dckd("train", copy, "--dataset_dir", msd, "--split_file", split, "--epochs", 1, *SHORT)
    command = shlex.split(lines.splitlines()[0])
    assert command[:5] == ["python", "-m", "monai.bundle", "run", "training"]
    assert dict(zip(command[5::2], command[6::2], strict=True)) == {
        "--config_file": str(copy / "configs" / "train.yaml"),
        "--bundle_root": str(copy),
        "--dataset_dir": str(msd),
        "--split_file": str(split),
        "--epochs": "1",
        "--patch_size": "[32, 16, 16]",
        "--device": "cpu",
    }
    assert "training on cpu" in lines
    assert re.search(
        r"epoch 1 of 1: loss [\d.]+ = 1 x segmentation [\d.]+; val_mean_dice [\d.]+; 0 s left", lines
    )
    lines = dckd("evaluate", copy, "--dataset_dir", msd, "--output_dir", tmp_path / "scores", *SHORT)
    files = ast_list(shlex.split(lines.splitlines()[0])[6])
    assert files == [str(copy / "configs" / f"{name}.yaml") for name in ("inference", "evaluate")]
    assert [row["case"] for row in read_table(tmp_path / "scores" / "scores_0.csv")] == ["hippocampus_004"]
    dckd("segment", copy, msd / "imagesTr" / "hippocampus_001.nii.gz", "--out", tmp_path / "masks", *SHORT)
    mask = nib.load(tmp_path / "masks" / "hippocampus_001_seg.nii.gz")
    assert mask.shape == nib.load(msd / "imagesTr" / "hippocampus_001.nii.gz").shape
    assert set(np.unique(mask.dataobj)) <= {0, 1, 2}


def ast_list(text: str) -> list[str]:
    return list(yaml.safe_load(text))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["train", STUDENT, "--epoch", 5], "unknown option --epoch: .*train.yaml, did you mean --epochs?"),
        (["train", STUDENT, "--train#trainr#max_epochs", 5], "unknown option --train#trainr#max_epochs"),
        (["evaluate", STUDENT, "--splt", 0], "unknown option --splt: .*evaluate.yaml, did you mean --split?"),
        (["segment", STUDENT, "x.nii", "--out", "OUT", "--epochs", 1], "unknown option --epochs"),
        (["distil", STUDENT], "its train config has no teacher_bundle and student_bundle"),
        (["train", STUDENT, "--overlay", "none.yaml"], "overlay: found 'none.yaml', expected a file in "),
        (["train", "no_such_folder"], "No bundle folder at .*no_such_folder"),
        (["evaluate", STUDENT / "docs"], "has no configs/inference.yaml or .json, which dckd evaluate runs"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_does(
    words: list[object], text: str, never, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["dckd", *map(str, words)])
    with pytest.raises(SystemExit, match=rf"^dckd: .*{text}"):
        main()
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_of_the_workflow_is_one_line(msd: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    words = ["train", STUDENT, "--dataset_dir", msd, "--epochs", "abc", "--output_dir", tmp_path / "out"]
    monkeypatch.setattr("sys.argv", ["dckd", *map(str, words)])
    with pytest.raises(SystemExit, match=r"^dckd: epochs: found 'abc', expected a whole number above 0$"):
        main()
    assert not (tmp_path / "out").exists()


def test_overlays_are_found_in_the_bundle_and_by_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dckd):
    mine = tmp_path / "mine.yaml"
    mine.write_text("epochs: 3\n")
    made: dict = {}

    class Workflow:
        def run(self) -> None: ...
        def finalize(self) -> None: ...

    monkeypatch.setattr(monai.bundle, "create_workflow", lambda **given: made.update(given) or Workflow())
    root = bundle("distillation")
    dckd("distil", root, "--overlay", f"dckd.yaml,{mine}", "--student_bundle", STUDENT)
    assert made["config_file"] == [
        *(str(root / "configs" / name) for name in ("train.yaml", "dckd.yaml")),
        str(mine),
    ]
    assert (made["run_id"], made["student_bundle"]) == ("training", str(STUDENT))


@pytest.mark.parametrize(
    ("command", "kind"),
    [("train", "teacher_segmentation"), ("distil", "distillation"), ("evaluate", "distillation")],
)
def test_help_lists_what_the_top_of_the_config_says(command: str, kind: str, dckd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    shown = dckd(command, bundle(kind), "--help")
    configs = bundle(kind) / "configs"
    name = "evaluate.yaml" if command == "evaluate" else "train.yaml"
    for option, comment in (
        ("epochs", ""),
        ("fold", "the fold to validate on; the others train"),
        ("split", ""),
    ):
        line = re.search(rf"^{option}: +(\S+)", (configs / name).read_text(), re.MULTILINE)
        assert bool(line) == bool(re.search(rf"--{option} ", shown))
        if line:
            assert re.search(rf"--{option} +{re.escape(line[1])} .*{re.escape(comment)}", shown)
    assert "--network_def" not in shown


def test_help_without_a_bundle_says_how_to_see_them(dckd):
    assert "`dckd train BUNDLE --help`" in dckd("train", "--help") or "dckd train BUNDLE --help" in dckd(
        "train", "--help"
    )
