from __future__ import annotations

import json
from pathlib import Path

import pytest

from dckd_ext.study.split import write_small_split

FOLDS = [["a", "b"], ["c", "d", "e"], ["f", "g"]]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "splits.json"
    file.write_text(json.dumps({"folds": FOLDS, "test": ["z"]}))
    return file


def test_validation_fold_stays_whole_and_training_cases_are_others(source: Path, tmp_path: Path):
    drawn = {}
    for seed in range(8):
        write_small_split(source, tmp_path / "small.json", fold=1, cases=3, seed=seed)
        split = json.loads((tmp_path / "small.json").read_text())
        assert split["folds"][0] == FOLDS[1]
        assert len(set(split["folds"][1])) == 3
        assert set(split["folds"][1]) < {"a", "b", "f", "g"}
        assert split["test"] == []
        drawn[seed] = split["folds"][1]
    assert len(set(map(tuple, drawn.values()))) > 1
    write_small_split(source, tmp_path / "again.json", fold=1, cases=3, seed=5)
    assert json.loads((tmp_path / "again.json").read_text())["folds"][1] == drawn[5]


def test_held_out_folds_take_no_part(source: Path, tmp_path: Path):
    write_small_split(source, tmp_path / "small.json", fold=1, cases=2, seed=0, held_out=[0])
    assert json.loads((tmp_path / "small.json").read_text())["folds"] == [FOLDS[1], FOLDS[2]]


def test_more_cases_than_there_are_and_unknown_folds(source: Path, tmp_path: Path):
    with pytest.raises(ValueError, match=r"has 4 cases outside the folds \[1\], found train_cases 5"):
        write_small_split(source, tmp_path / "small.json", fold=1, cases=5, seed=0)
    with pytest.raises(ValueError, match="has the folds 0 to 2, found 3"):
        write_small_split(source, tmp_path / "small.json", fold=3, cases=1, seed=0)
    assert not (tmp_path / "small.json").exists()
