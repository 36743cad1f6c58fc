"""`dckd export` says what it wrote."""

from pathlib import Path

import pytest

from dckd_ext.cli.export import export
from tests.export.conftest import weighted_copy


@pytest.mark.slow
def test_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root = weighted_copy("unet_student_segmentation", "hippocampus", tmp_path)
    export(str(root), out=str(tmp_path / "out"))
    folder = tmp_path / "out" / root.name
    lines = capsys.readouterr().out.splitlines()
    names = ("models/model.ts", "models/model.onnx", "predict.py")
    assert [line.split()[0] for line in lines[:3]] == [str(folder / name) for name in names]
    assert lines[3] == "model.ts: logits differ by at most 0 at 5 sizes"
    assert lines[4].startswith("model.onnx: logits differ by at most ")
    assert lines[5] == f"try it:  python {folder / 'predict.py'} IN... --out DIR"
    assert not (root / "predict.py").exists()


def test_no_bundle():
    with pytest.raises(ValueError, match="Name at least one bundle"):
        export()
