from pathlib import Path

import pytest

from tests.conftest import bundle
from tests.lint.planting import copy_of


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The hippocampus teacher."""
    return copy_of(bundle("teacher_segmentation"), tmp_path / "teacher")
