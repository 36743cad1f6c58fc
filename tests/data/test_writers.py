from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from dckd_ext.data import WholeNibabelWriter


def test_nothing_is_left_when_saving_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def half(image, path):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nib, "save", half)
    writer = WholeNibabelWriter()
    writer.set_data_array(np.zeros((2, 2, 2)), channel_dim=None)
    with pytest.raises(OSError, match="No space left"):
        writer.write(tmp_path / "a_seg.nii.gz")
    assert list(tmp_path.iterdir()) == []
