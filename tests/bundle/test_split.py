"""The split that weights were trained with is found by their record, if it is theirs."""

import hashlib
import json
from pathlib import Path

import pytest

from dckd_ext.bundle import split_file_of


@pytest.fixture
def trained(tmp_path: Path):
    weights, split = tmp_path / "model.pt", tmp_path / "mine.json"
    weights.write_bytes(b"weights")
    split.write_text("{}")
    digest = hashlib.sha256(b"weights").hexdigest()
    (tmp_path / "model.json").write_text(
        json.dumps({"sha256": digest, "options": {"split_file": str(split)}})
    )
    return weights, split


def test_the_training_s_split_is_found(trained):
    weights, split = trained
    assert split_file_of(str(weights), "default.json") == str(split)


def test_a_record_of_other_weights_does_not_count(trained):
    weights, _ = trained
    weights.write_bytes(b"others")
    assert split_file_of(str(weights), "default.json") == "default.json"


def test_weights_without_a_record_have_the_bundle_s_split(trained, tmp_path: Path):
    weights, _ = trained
    (tmp_path / "model.json").unlink()
    assert split_file_of(str(weights), "default.json") == "default.json"
    assert split_file_of(str(tmp_path / "none.pt"), "default.json") == "default.json"


def test_a_split_that_is_gone_is_warned_of(trained, caplog):
    weights, split = trained
    split.unlink()
    assert split_file_of(str(weights), "default.json") == "default.json"
    assert f"names the split file {split}, which is not there" in caplog.text
