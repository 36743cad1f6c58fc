import sys
from pathlib import Path

import pytest

from dckd_ext.cli import main
from tests.nnunet.folders import results_folder


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["dckd", "import", *words])
    main()


def test_a_bundle_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "tiny_segmentation"
    run(monkeypatch, "nnunet", str(results_folder(tmp_path, folds=2)), "--out", str(out), "--folds", "1")
    assert "model.pt" in capsys.readouterr().out
    assert {file.name for file in out.rglob("*.*")} == {
        "inference.yaml",
        "metadata.json",
        "README.md",
        "model.pt",
    }
    assert "fold 1," in (out / "docs" / "README.md").read_text()


def test_what_is_no_results_folder_is_refused_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(SystemExit, match=r"^dckd: .*plans\.json"):
        run(monkeypatch, "nnunet", str(tmp_path), "--out", str(tmp_path / "out"))
    with pytest.raises(SystemExit, match=r"^2$"):
        run(monkeypatch, "nnunett", str(tmp_path), "--out", str(tmp_path / "out"))
