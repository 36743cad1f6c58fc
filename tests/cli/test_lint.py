"""`dckd lint` prints every finding and exits with 1; clean bundles and bad input."""

import subprocess
import sys
from pathlib import Path

import pytest

from dckd_ext.cli.lint import lint
from tests.conftest import bundle

TEACHER, STUDENT = str(bundle("teacher_segmentation")), str(bundle("unet_student_segmentation"))


def findings_of(capsys: pytest.CaptureFixture[str], *bundles: str, **arguments) -> list[str]:
    with pytest.raises(SystemExit) as exit_:
        lint(*bundles, **arguments)
    assert exit_.value.code == 1
    head, _, lines = capsys.readouterr().out.partition(" finding(s)\n")
    assert int(head.split()[-1]) == len(lines.splitlines())
    return lines.splitlines()


def test_clean_bundles(capsys: pytest.CaptureFixture[str]):
    lint(TEACHER, STUDENT)
    out = capsys.readouterr().out
    lists = "train.yaml; inference.yaml; train.yaml + multi_gpu_train.yaml; inference.yaml + evaluate.yaml"
    for name in (TEACHER, STUDENT):
        assert f"{name}: {lists}\n" in out
    assert out.endswith("0 finding(s)\n")


def test_findings(capsys: pytest.CaptureFixture[str]):
    found = findings_of(capsys, TEACHER, devcie="cpu", epochs="@epocs")
    assert found == [
        "command line: --devcie: no config has such a key; nearest: device",
        "command line: epochs: '@epocs' refers to 'epocs', which is no key; nearest: epochs",
    ]


@pytest.mark.parametrize(
    "config_file", [["configs/train.yaml"], ["train.yaml", "multi_gpu_train.yaml"], ["train.yaml"]]
)
def test_config_files(capsys: pytest.CaptureFixture[str], config_file):
    (found,) = findings_of(capsys, STUDENT, config_file=config_file, split=0)  # of evaluate.yaml
    assert "--split" in found


def test_bad_input():
    with pytest.raises(ValueError, match="dckd lint BUNDLE"):
        lint()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        lint("nowhere")


@pytest.mark.slow
def test_from_the_command_line(tmp_path: Path):
    def dckd(*arguments: str) -> subprocess.CompletedProcess:
        code = "from dckd_ext.cli import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code, "lint", *arguments], capture_output=True, text=True, cwd=tmp_path
        )

    files = f"['{TEACHER}/configs/inference.yaml','{TEACHER}/configs/evaluate.yaml']"
    good = dckd(
        TEACHER, "--config_file", files, "--dataset_dir", "DIR", "--split", "test", "--bundle_root", "."
    )
    assert good.returncode == 0, good.stdout + good.stderr
    bad = dckd(TEACHER, "--devcie", "cpu", "--train#trainer#max_epoch", "3")
    assert bad.returncode == 1
    assert "2 finding(s)" in bad.stdout
    for key, near in (("--devcie", "device"), ("train#trainer#max_epoch", "max_epochs")):
        assert any(key in line and line.endswith(f"nearest: {near}") for line in bad.stdout.splitlines())
    missing = dckd("nowhere")
    assert missing.returncode == 1
    assert missing.stderr.startswith("dckd: nowhere")
