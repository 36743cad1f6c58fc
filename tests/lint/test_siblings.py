"""Bundles of a folder are compared by its table of exceptions."""

from pathlib import Path

import pytest

from dckd_ext.lint import lint_bundle
from dckd_ext.lint.siblings import TABLE, differences, pairs, sibling_differences
from tests.conftest import BUNDLES
from tests.lint.planting import GONE, copy_of, plant, the_finding

STUDENT = "abus_unet_student_segmentation"
TEACHERS = {"abus_teacher_segmentation", "hippocampus_teacher_segmentation"}


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of(BUNDLES, tmp_path_factory.mktemp("originals") / "bundles")


@pytest.fixture
def folder(originals: Path, tmp_path: Path) -> Path:
    return copy_of(originals, tmp_path / "bundles")


def test_the_shipped_table_compares_every_bundle():
    compared = {(one.name, other.name) for one, other, _ in pairs(BUNDLES)}
    kinds = [
        "teacher_segmentation",
        "unet_student_segmentation",
        "hrnet_student_segmentation",
        "distillation",
    ]
    within = {
        (f"{family}_{kind}", f"{family}_teacher_segmentation")
        for family in ("abus", "hippocampus")
        for kind in kinds[1:]
    }
    assert compared == within | {(f"abus_{kind}", f"hippocampus_{kind}") for kind in kinds}


def test_no_exception_is_stale():
    """A key that no longer differs could differ later unseen."""
    unused: dict[str, set[str]] = {}
    for one, other, may_differ in pairs(BUNDLES):
        for file, keys in may_differ.items():
            found = differences(one / "configs" / file, other / "configs" / file)
            row = f"{file}: {keys}"
            unused[row] = unused.get(row, set(keys)) - found.keys() - {"version", "changelog"}
    assert {row: keys for row, keys in unused.items() if keys} == {}


def test_a_difference(folder: Path):
    plant(folder / STUDENT, "train.yaml", {"batch_size": 3})
    plant(folder / STUDENT, "train.yaml", {"epochs": 3})  # which may differ
    found = lint_bundle(folder / STUDENT)
    the_finding(found, "train.yaml", "batch_size", "found 3, expected 2 as in ")
    for sibling in ("abus_teacher_segmentation", "hippocampus_unet_student_segmentation", TABLE):
        assert sibling in str(found[0])
    assert sibling_differences(folder / "abus_hrnet_student_segmentation") == []


def test_the_bundle_that_the_others_are_compared_with(folder: Path):
    teacher = folder / "hippocampus_teacher_segmentation"
    plant(teacher, "train.yaml", {"train#trainer#amp": False})
    (found,) = sibling_differences(teacher)
    assert found.key == "train#trainer"
    siblings = str(found).partition(" as in ")[2]
    assert siblings.count("_segmentation") == 3  # two students, and the other teacher; not the distillation


def test_keys_that_one_lacks_and_other_files(folder: Path):
    plant(folder / STUDENT, "evaluate.yaml", {"limit": GONE})
    (folder / STUDENT / "configs" / "logging.conf").write_text("")
    found = {one.key: str(one) for one in sibling_differences(folder / STUDENT)}
    assert found.keys() == {"limit", "text"}
    assert "found Ellipsis" not in found["limit"]
    assert "found nothing, expected None" in found["limit"]


@pytest.mark.parametrize("table", ["- bundle: abus_*\n", "bundle: abus_*\n", "- 3\n", ""])
def test_a_table_that_cannot_be_understood(folder: Path, table: str):
    (folder / TABLE).write_text(table)
    with pytest.raises(ValueError, match="exceptions"):
        lint_bundle(folder / STUDENT)


def test_without_a_table(folder: Path):
    (folder / TABLE).unlink()
    plant(folder / STUDENT, "train.yaml", {"batch_size": 3})
    assert lint_bundle(folder / STUDENT) == []
