"""`dckd export --web` without a browser; in one: tests/page."""

from pathlib import Path

import numpy as np
import pytest

from dckd_ext.cli.export import export
from dckd_ext.export import page as module
from tests.export.conftest import weighted_copy


def test_a_page_that_is_not_built_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "PAGE", "no_page")
    root = weighted_copy("unet_student_segmentation", "hippocampus", tmp_path)
    before = sorted(root.rglob("*"))
    with pytest.raises(FileNotFoundError, match=r"no_page/index.html: run `make web`"):
        export(str(root), web=True)
    assert sorted(root.rglob("*")) == before


def test_noise():
    """As in the page: the generator's first states, by hand."""
    states = [1015568748, 1586005467, 2165703038]
    np.testing.assert_array_equal(module._noise(3), np.float32([s / 2**31 - 1 for s in states]))
