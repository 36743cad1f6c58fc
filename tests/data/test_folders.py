import json
from pathlib import Path

import nrrd
import numpy as np
import pytest

from dckd_ext.data import case_list, msd_datalist, tdsc_datalist


@pytest.fixture
def tdsc(tmp_path: Path) -> Path:
    """One case a section."""
    for number, section in enumerate(("Train", "Validation", "Test")):
        for kind in ("DATA", "MASK"):
            folder = tmp_path / "abus" / section / kind
            folder.mkdir(parents=True)
            nrrd.write(str(folder / f"{kind}_{number:03d}.nrrd"), np.ones((3, 4, 5), np.uint8))
    return tmp_path / "abus"


def test_decathlon_as_msd_datalist(msd: Path):
    split = str(msd / "splits.json")
    for section in ("training", "validation", "all", 3, "3"):
        expected = msd_datalist(str(msd), section, split, fold=1, limit=2)
        assert case_list(str(msd), section, split, fold=1, limit=2) == expected
    held_out = case_list(str(msd), "training", split, fold=1, held_out=[0])
    assert held_out == msd_datalist(str(msd), "training", split, fold=1, held_out=[0])


def test_the_seed_makes_the_split(msd: Path, tmp_path: Path):
    case_list(str(msd), "all", str(tmp_path / "mine.json"), seed=5)
    msd_datalist(str(msd), "all", str(tmp_path / "other.json"), seed=5)
    mine, other = (json.loads((tmp_path / name).read_text()) for name in ("mine.json", "other.json"))
    assert mine == other


def test_abus_ignores_the_split(tdsc: Path, tmp_path: Path):
    split = tmp_path / "splits.json"
    for section in ("training", "validation", "test", "all"):
        found = case_list(str(tdsc), section, str(split), fold=4, held_out=[1], seed=9)
        assert found == tdsc_datalist(str(tdsc), section)
    assert [case["case_id"] for case in case_list(str(tdsc), "all", str(split), limit=2)] == [0, 1]
    assert not split.exists()


@pytest.mark.parametrize("section", [0, "0", "Train"])
def test_abus_has_no_folds(tdsc: Path, section):
    with pytest.raises(
        ValueError,
        match=rf"unknown section '?{section}'?: .*sections training, validation, test, and all; to evaluate",
    ):
        case_list(str(tdsc), section, "splits.json")


def test_a_folder_of_neither_layout_names_both(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"Decathlon \(dataset\.json.*open ABUS set.*--download true"):
        case_list(str(tmp_path), "training", "splits.json")


def test_a_folder_too_deep_names_the_one_above(tdsc: Path):
    with pytest.raises(FileNotFoundError, match=rf"Give the folder above it, {tdsc}\?"):
        case_list(str(tdsc / "Train"), "training", "splits.json")
