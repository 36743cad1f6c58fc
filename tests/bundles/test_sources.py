"""The committed bundles are those that `make bundles` makes."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from dckd_ext.lint import lint_bundle
from tests.conftest import BUNDLES, bundle

EXPERIMENTS = BUNDLES.parent / "experiments"
SOURCES = BUNDLES / "sources"
TABLES = ("values.yaml", "texts.yaml")


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build", SOURCES / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_bundles_are_built_from_the_sources(build: ModuleType, tmp_path: Path):
    build.build(tmp_path)
    built = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    differ = [
        str(path)
        for path in sorted(built)
        if not (BUNDLES / path).is_file() or (BUNDLES / path).read_bytes() != (tmp_path / path).read_bytes()
    ]
    assert not differ, f"edit bundles/sources, not these, and run: make bundles\n{differ}"
    kept = {path.relative_to(BUNDLES) for path in BUNDLES.glob("*_*/configs/*")}
    assert kept <= built, "configs that bundles/sources does not make"


def test_model_cards_and_weights_are_kept(build: ModuleType, tmp_path: Path):
    for name in ("docs/README.md", "models/model.pt"):
        file = tmp_path / bundle("teacher_segmentation").name / name
        file.parent.mkdir(parents=True)
        file.write_text("own")
    build.build(tmp_path)
    assert [path.read_text() for path in (file, file.parents[1] / "docs" / "README.md")] == ["own", "own"]


def test_generated_files_say_what_they_are_made_from(build: ModuleType):
    for path, text in build.bundle_files():
        if path.endswith((".yaml", ".conf")):
            first = text.partition("\n")[0]
            assert first.startswith("# Made by")
            assert f"bundles/sources/{Path(path).name}." in first
            assert "make bundles" in first


def test_no_trace_of_the_templates(build: ModuleType):
    for path, text in build.bundle_files():
        if "/configs/" in path:
            assert not [mark for mark in ("<<", ">>", "#%", "%#", "\n\n\n", " \n") if mark in text], path


def test_every_value_of_the_table_is_used(build: ModuleType):
    """A value that no source names would be changed in vain."""
    tables = [yaml.safe_load((SOURCES / name).read_text()) for name in TABLES]
    values = {key for table in tables for rows in table.values() for row in rows.values() for key in row}
    sources = [path for path in SOURCES.rglob("*") if path.suffix in (".yaml", ".py")]
    text = "\n".join(path.read_text() for path in sources if path.name not in TABLES)
    assert not [key for key in values if key not in text]


def test_the_sources_stay_short():
    """Those of the configs, in lines and conditional blocks; texts.yaml and metadata.yaml are words."""
    sources = [path for path in SOURCES.rglob("*.yaml") if path.name not in ("texts.yaml", "metadata.yaml")]
    text = "".join(path.read_text() for path in sources)
    assert text.count("\n") <= 940
    assert text.count("#% if ") <= 30
    assert len((SOURCES / "build.py").read_text().splitlines()) <= 100


@pytest.mark.parametrize("name", ["weaker", "stronger"])
def test_augmentation_trials_change_what_they_name(name: str):
    files = ["train.yaml", EXPERIMENTS / "augmentation" / f"{name}.yaml"]
    assert lint_bundle(bundle("unet_student_segmentation"), files) == []
