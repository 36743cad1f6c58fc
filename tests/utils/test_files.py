from pathlib import Path

import pytest

from dckd_ext.utils.files import written_whole


def half_write(target: Path) -> None:
    with written_whole(target) as beside:
        beside.write_text("ha")
        raise OSError("disk full")


def test_replaces_the_file_at_the_end(tmp_path: Path):
    target = tmp_path / "new" / "scores.csv"
    with written_whole(target) as beside:
        beside.write_text("whole")
        assert not target.exists()
        assert beside.name.endswith(".csv")  # writers choose their format by the ending
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


def test_keeps_the_old_file_when_writing_fails(tmp_path: Path):
    target = tmp_path / "model.pt"
    target.write_text("old")
    with pytest.raises(OSError, match="disk full"):
        half_write(target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
