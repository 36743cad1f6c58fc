"""Names in a bundle's own modules are read as Python would import them, and nothing there is run."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dckd_ext.bundle import importable
from dckd_ext.lint import lint_bundle
from dckd_ext.lint.names import Names
from tests.lint.planting import plant, the_finding
from tests.lint.test_foreign import foreign  # noqa: F401

BASE = """
from __future__ import annotations

from abc import ABC
import functools
import torch.nn as nn
from torch.utils.data import Dataset
from monai.losses import *
from monai.networks.nets import BasicUNet as Net

def plain(a, b=1, /, c=2, *rest, d, e=3, **more): ...
async def later(x): ...
def nothing(): ...

class Bare: ...
class Own:
    def __init__(self, width, *, depth=2): ...
class Inherits(Own): ...
class Abstract(ABC): ...
class Module(nn.Module): ...
class Unet(Net): ...
class Loss(DiceLoss):
    def forward(self, x): ...
class Data(Dataset[int]):
    def __init__(self, files): ...

again = Own
alias = nn.Conv3d
try:
    import no_such_package
except ImportError:
    def chosen(here): ...
if True:
    def under_a_condition(y): ...
"""
REST = """
from . import base
from .base import Own as Renamed, plain
from scripts.base import *
import scripts.base
import scripts.base as other

class Far(base.Own): ...
class Farther(scripts.base.Inherits): ...
class Other(other.Data): ...
"""
UNTOLD = """
import dataclasses
import functools
from typing import NamedTuple

@dataclasses.dataclass
class Record:
    x: int
class Pair(NamedTuple):
    x: int
class Two(list, ValueError): ...
class Problem(ValueError): ...
class Special(metaclass=type):
    def __init__(self, x): ...
class New:
    def __new__(cls, x): return object.__new__(cls)
@functools.cache
def cached(x): ...
part = functools.partial(print, 1)
first, second = print, print
for name in (print,):
    looped = name
"""
NAMES = {
    "base": "plain later nothing Bare Own Inherits Abstract Module Unet Loss Data again alias chosen "
    "under_a_condition nn.Conv3d Dataset",
    "rest": "Renamed plain Far Farther Other base.Own scripts.base.Own other.plain nothing again",
}


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "scripts").mkdir()
    for name, text in {"__init__": "", "base": BASE, "rest": REST, "untold": UNTOLD}.items():
        (tmp_path / "scripts" / f"{name}.py").write_text(text)
    yield tmp_path
    assert not [name for name in sys.modules if name.partition(".")[0] == "scripts"]


def shape(found: Any) -> list[tuple[Any, ...]]:
    parameters = inspect.signature(found).parameters.values()
    return [(item.name, item.kind, item.default is item.empty) for item in parameters]


@pytest.mark.parametrize(("module", "name"), [(key, name) for key in NAMES for name in NAMES[key].split()])
def test_signatures_are_those_of_the_imported_module(root: Path, module: str, name: str):
    read = Names(root).find(f"scripts.{module}.{name}")
    with importable(root):
        imported = importlib.import_module(f"scripts.{module}")
        for part in name.split("."):
            imported = getattr(imported, part)
        assert callable(read)
        assert shape(read) == shape(imported)


@pytest.mark.parametrize(
    "name",
    [
        "Record",
        "Pair",
        "Two",
        "Problem",
        "Special",
        "New",
        "cached",
        "part",
        "first",
        "second",
        "looped",
        "Special.x",
    ],
)
def test_what_reading_does_not_tell_takes_everything(root: Path, name: str):
    found = Names(root).find(f"scripts.untold.{name}")
    bound = inspect.signature(found).bind(1, 2, x=3)
    assert (bound.args, bound.kwargs) == ((1, 2), {"x": 3})


@pytest.mark.parametrize("name", ["scripts.base.plian", "scripts.none.plain", "scripts.base.functools.caceh"])
def test_what_is_not_there(root: Path, name: str):
    assert Names(root).find(name) is None


def test_no_stand_in_can_be_called(root: Path):
    with pytest.raises(TypeError, match="read"):
        Names(root).find("scripts.base.nothing")()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def broken(:", "invalid syntax"),
        ("import no_such_package", "No module named 'no_such_package'"),
        ("from no_such_package.deep import x", "No module named 'no_such_package'"),
        ("from .circle import x", "from each other"),
        ("from ... import x", "relative import"),
    ],
)
def test_modules_that_cannot_be_imported(root: Path, text: str, says: str):
    (root / "scripts" / "circle.py").write_text(text)
    with pytest.raises(ImportError, match=says):
        Names(root).find("scripts.circle.x")


@pytest.mark.skipif(sys.platform == "win32", reason="it can be imported there")
def test_an_installed_module_that_cannot_be_imported(tmp_path: Path):
    with pytest.raises(ImportError, match="win32 only"):
        Names(tmp_path).find("asyncio.windows_events.IocpProactor")


def write_traps(root: Path, marker: Path) -> None:
    """Modules of a bundle that would leave a marker, also under names of installed packages."""
    trap = f"open({str(marker)!r}, 'w').close()\n"
    for name in ("scripts/__init__", "scripts/nets", "einops/__init__", "conftest_of_nobody"):
        file = root / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(trap + (file.read_text() if file.exists() else ""))


@pytest.mark.parametrize("here", ["in the bundle", "elsewhere"])
def test_lint_runs_nothing_of_a_bundle(
    foreign: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    here: str,
):
    marker = tmp_path / "ran"
    write_traps(foreign, marker)
    monkeypatch.chdir(foreign if here == "in the bundle" else tmp_path)
    monkeypatch.syspath_prepend("")
    monkeypatch.delitem(sys.modules, "einops", raising=False)
    assert lint_bundle(foreign) == []
    plant(foreign, "inference.json", {"network_def#init_filtres": 8})
    the_finding(lint_bundle(foreign), "inference.json", "network_def#init_filtres", "nearest: init_filters")
    plant(foreign, "inference.json", {"network_def#_target_": "einops.layers.torch.Rearrange"})
    the_finding(lint_bundle(foreign), "inference.json", "network_def", "cannot be found")
    plant(foreign, "inference.json", {"network_def#_target_": "conftest_of_nobody.Net"})
    the_finding(lint_bundle(foreign), "inference.json", "network_def", "cannot be found")
    assert not marker.exists()


def test_lint_with_trust_imports(foreign: Path, tmp_path: Path):  # noqa: F811
    marker = tmp_path / "ran"
    write_traps(foreign, marker)
    assert lint_bundle(foreign, trust=True) == []
    assert marker.exists()
    (foreign / "scripts" / "nets.py").write_text("import no_such_package\n")
    assert "No module named 'no_such_package'" in str(lint_bundle(foreign, trust=True)[0])


def test_what_is_only_here_is_not_imported(
    foreign: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """A module on Python's path that no distribution installed is found with trust alone."""
    marker = tmp_path / "ran"
    (tmp_path / "only_here.py").write_text(f"open({str(marker)!r}, 'w').close()\ndef net(**options): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plant(foreign, "inference.json", {"network_def#_target_": "only_here.net"})
    found = lint_bundle(foreign)
    the_finding(found, "inference.json", "network_def", "cannot be found")
    assert "--trust" in found[0].hint
    assert not marker.exists()
    assert lint_bundle(foreign, trust=True) == []
    assert marker.exists()
