"""`dckd pack` says what it packed, and what is wrong."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dckd_ext.cli.pack import pack
from dckd_ext.distribution.archive import sha256_of
from tests.conftest import bundle
from tests.distribution.examples import TITLE, make_bundle


def test_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pack(str(make_bundle(tmp_path)), out=str(tmp_path / "out"))
    line, _, *rest = capsys.readouterr().out.splitlines()
    assert line.split() == [
        f"{TITLE}.zip",
        "0.0",
        "MB",
        "sha256",
        sha256_of(tmp_path / "out" / f"{TITLE}.zip"),
    ]
    assert rest[0].startswith(f"release: {tmp_path / 'out'}")
    assert rest[1].startswith("addresses in it are relative")
    assert rest[2] == f"try it:  dckd fetch toy_segmentation --source {tmp_path / 'out'} --bundle_dir DIR"


def test_with_an_address(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pack(str(make_bundle(tmp_path)), out=str(tmp_path / "out"), url="https://host/x")
    assert "relative" not in capsys.readouterr().out


@pytest.mark.slow
def test_from_the_command_line(tmp_path: Path):
    def dckd(*arguments: str | Path) -> subprocess.CompletedProcess:
        code = "from dckd_ext.cli import main; main()"
        command = [sys.executable, "-c", code, "pack", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True)

    kinds = ("teacher", "unet_student", "hrnet_student")
    trained = [bundle(f"{kind}_segmentation") for kind in kinds]
    good = dckd(*trained, bundle("distillation"), bundle("distillation", "abus"), "--out", tmp_path / "out")
    assert good.returncode == 0, good.stderr
    zips = sorted(path.name.rpartition("_v")[0] for path in (tmp_path / "out").glob("*.zip"))
    assert zips == sorted([*(path.name for path in trained), "hippocampus_distillation", "abus_distillation"])
    untrained = tmp_path / "abus_teacher_segmentation"
    shutil.copytree(
        bundle("teacher_segmentation", "abus"), untrained, ignore=shutil.ignore_patterns("models")
    )
    bad = dckd(untrained, "--out", tmp_path / "bad")
    assert bad.returncode == 1
    assert bad.stderr.splitlines()[0] == "dckd: nothing is packed, 1 problem(s):"
    assert (
        "abus_teacher_segmentation: models/model.pt: is missing; a released bundle has weights" in bad.stderr
    )
    assert not (tmp_path / "bad").exists()
