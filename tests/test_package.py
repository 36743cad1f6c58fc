import ast
import inspect
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import yaml

import dckd_ext

PACKAGE = Path(dckd_ext.__file__).parent
MODULES = sorted(
    ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for file in PACKAGE.rglob("*.py")
    if file.stem != "__main__"
)


def test_import_is_lazy():
    code = "import sys, dckd_ext; sys.exit('torch' in sys.modules or 'monai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_folder_is_a_room_but_commands_and_tools():
    folders = {file.parent.name for file in PACKAGE.glob("*/__init__.py")}
    assert set(dckd_ext.__all__) == folders - {"cli", "utils"}


def test_every_room_is_there_after_import_and_names_what_it_has():
    # each room as the first one of a fresh import, so that none works only because another was there before
    code = """
import sys
for room in sys.argv[1:]:
    for name in [name for name in sys.modules if name.partition(".")[0] == "dckd_ext"]:
        del sys.modules[name]
    import dckd_ext
    print(room, *getattr(dckd_ext, room).__all__)
"""
    found = subprocess.run(
        [sys.executable, "-c", code, *dckd_ext.__all__], capture_output=True, text=True, check=True
    )
    expected = [[room, *import_module(f"dckd_ext.{room}").__all__] for room in dckd_ext.__all__]
    assert [line.split() for line in found.stdout.splitlines()] == expected


def test_names_of_a_room_load_when_they_are_used():
    code = "import dckd_ext; print(dckd_ext.losses.CWDLoss.__name__, dckd_ext.networks.HRNet3D.__name__)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["CWDLoss", "HRNet3D"]


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_is_public(name: str):
    module = import_module(name)
    assert sorted(set(module.__all__)) == sorted(module.__all__)
    assert "Example:" not in inspect.getsource(module).split(), "the API reference takes 'Examples:'"
    for public in module.__all__:
        item = getattr(module, public)
        if inspect.isfunction(item) or inspect.isclass(item):
            # a class without its own takes that of its base, and a dataclass its signature
            own = vars(item).get("__doc__") if inspect.isclass(item) else item.__doc__
            assert (own or "").partition("(")[0] not in ("", public), f"{name}.{public} has no docstring"


@pytest.mark.parametrize("folder", ["dckd_ext", "label"])
def test_what_other_modules_use_is_public(folder: str):
    missing = []
    for file in sorted((PACKAGE.parent / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in MODULES:
                inside = {name.removeprefix(f"{node.module}.") for name in MODULES}
                public = {*import_module(node.module).__all__, *inside, "__version__"}
                missing += [
                    f"{file}: {node.module}.{name.name}" for name in node.names if name.name not in public
                ]
    assert not missing


def test_the_package_lists_its_rooms():
    assert dir(dckd_ext) == sorted([*dckd_ext.__all__, "__version__"])


@pytest.mark.parametrize("room", dckd_ext.__all__)
def test_no_public_name_hides_a_module(room: str):
    names = import_module(f"dckd_ext.{room}").__all__
    assert not [name for name in names if f"dckd_ext.{room}.{name}" in MODULES]


def test_an_unknown_room_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'looses'"):
        dckd_ext.looses  # noqa: B018 (the look-up is the test)


def test_the_version_is_the_same_everywhere():
    root = PACKAGE.parent
    declared = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    cited = yaml.safe_load((root / "CITATION.cff").read_text())["version"]
    assert dckd_ext.__version__ == declared == cited
