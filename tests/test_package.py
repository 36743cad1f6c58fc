import subprocess
import sys
from importlib import import_module

import pytest

import dckd_ext


def test_import_is_lazy():
    code = "import sys, dckd_ext; sys.exit('torch' in sys.modules or 'monai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("room", dckd_ext.__all__)
def test_every_room_is_there_after_import_and_names_what_it_has(room: str):
    found = subprocess.run(
        [sys.executable, "-c", f"import dckd_ext; print(*dckd_ext.{room}.__all__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    module = import_module(f"dckd_ext.{room}")
    assert found.stdout.split() == module.__all__
    assert all(getattr(module, name) is not None for name in module.__all__)


def test_an_unknown_room_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'looses'"):
        dckd_ext.looses  # noqa: B018 (the look-up is the test)
