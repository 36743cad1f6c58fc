"""`dckd phantom` as typed on the command line."""

import json
import re
import sys

import nibabel as nib
import pytest

from dckd_ext.cli import main


def run(monkeypatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["dckd", "phantom", *words])
    main()


def test_phantom(monkeypatch, tmp_path, capsys):
    out = tmp_path / "phantoms"
    size = ("--shape", "32,32,24", "--spacing", "1.2,1,1.8", "--lesion_ml", "0.5,2")
    run(monkeypatch, "--count", "2", "--out", str(out), "--layout", "msd", "--seed", "1", *size)
    assert f"2 synthetic volumes: {out}" in capsys.readouterr().out
    assert json.loads((out / "dataset.json").read_text())["numTraining"] == 2
    assert nib.load(out / "imagesTr" / "phantom_001.nii.gz").shape == (32, 32, 24)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--shape", "64"), "shape: expected three"),
        (("--shape", "64,64,big"), "--shape: .*'big'"),
        (("--spacing", "0.3"), "spacing: expected three"),
        (("--lesion_ml", "2"), "lesion_ml: expected a range"),
        (("--lesions", "one"), "--lesions: found 'one', expected a whole number"),
        (("--count", "0"), "count"),
        (("--count", "many"), "count"),
        (("--layout", "dicom"), "layout: expected one of tdsc, msd"),
    ],
)
def test_bad_input_is_one_line(monkeypatch, tmp_path, capsys, words, message):
    with pytest.raises(SystemExit) as end:
        run(monkeypatch, "--out", str(tmp_path / "out"), *words)
    shown = capsys.readouterr().err or f"{end.value.code}\n"
    assert re.fullmatch(f"dckd: .*{message}.*\n", shown)
    assert not (tmp_path / "out").exists()
