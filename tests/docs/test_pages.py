"""The examples of "add a loss" and "add a network", run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from dckd_ext.report.curves import read_curves
from tests.conftest import BUNDLES

DOCS = BUNDLES.parent / "docs"
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHORT = "--epochs 2 --val_interval 2 --patch_size [32,16,16] --device cpu --min_teacher_dice 0 --split_file"


@pytest.fixture
def page(tmp_path: Path, msd: Path):
    """Write the named blocks of a page to files; give its commands for small volumes, and its other YAML."""

    def read(name: str) -> tuple[list[str], list[str]]:
        blocks = BLOCK.findall((DOCS / name).read_text(encoding="utf-8"))
        for _, title, text in blocks:
            if title:
                (tmp_path / title).write_text(text, encoding="utf-8")
        commands = [
            text.replace("BUNDLES", str(BUNDLES)).replace(
                "--dataset_dir DIR", f"--dataset_dir {msd} {SHORT} {msd}/splits.json"
            )
            for language, _, text in blocks
            if language == "bash"
        ]
        return commands, [text for language, title, text in blocks if language == "yaml" and not title]

    return read


def run(command: str, folder: Path) -> str:
    path = f"export PATH='{Path(sys.executable).parent}':$PATH PYTHONPATH='{BUNDLES.parent}':.\n"
    done = subprocess.run(["bash", "-euc", path + command], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_loss_of_your_own(page, tmp_path: Path):
    commands, _ = page("add_a_loss.md")
    assert len(commands) == 1
    shown = run(commands[0], tmp_path)
    assert "0 finding(s)" in shown
    curves = read_curves(tmp_path / "overlap")
    assert {"overlap", "cwd"} & curves.keys() == {"overlap"}
    assert 0 < curves["overlap"][1][-1] < 1
    assert (tmp_path / "overlap" / "model.pt").is_file()


@pytest.mark.slow
def test_a_network_of_your_own(page, tmp_path: Path):
    copy, look, train = page("add_a_network.md")[0]
    (network,) = page("add_a_network.md")[1]
    run(copy, tmp_path)
    for name in ("train.yaml", "inference.yaml"):
        file = tmp_path / "my_student_segmentation" / "configs" / name
        text, replaced = re.subn(r"^network_def:\n(?: .*\n)+", network, file.read_text(), flags=re.MULTILINE)
        assert replaced == 1
        file.write_text(text)
        assert ConfigParser.load_config_file(str(file))["network_def"]["_target_"] == "my_networks.TwoScales"
    shown = run(look, tmp_path)
    assert "0 finding(s)" in shown
    assert "TwoScales on 1 x 32 x 48 x 32" in shown
    run(train, tmp_path)
    weights = torch.load(tmp_path / "my_student_segmentation" / "models" / "model.pt", weights_only=True)
    assert weights["head.weight"].shape == (3, 16, 1, 1, 1)
