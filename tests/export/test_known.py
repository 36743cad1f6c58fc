"""What is far from the training volumes, and how these are measured."""

import json
from pathlib import Path

import numpy as np
import pytest

from dckd_ext.bundle import load_bundle_config
from dckd_ext.cli.export import export
from dckd_ext.export import bundle_settings, predict, record_training_volumes
from dckd_ext.export.known import FACTOR, far_notes
from tests.conftest import write_volume
from tests.export.conftest import weighted_copy

KNOWN = {"extent": [[30, 40], [40, 60], [25, 50]], "mean": [0.4, 0.6], "deviation": [0.2, 0.3]}


@pytest.mark.parametrize(("value", "far"), [(30 / FACTOR, 0), (40 * FACTOR, 0), (23.9, 1), (50.1, 1)])
def test_far_by_the_factor(value: float, far: int):
    assert len(far_notes(KNOWN, (value, 50, 30), {"mean": 0.5, "deviation": 0.25})) == far


def test_measured_as_the_network_gets_them(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """The extents along the world's axes, and the intensities, by hand; then two volumes against them."""
    root = weighted_copy("unet_student_segmentation", "hippocampus", tmp_path)
    spread = np.linspace(0, 1000, 40 * 30 * 20).reshape(40, 30, 20)
    turned = np.array([[0, 2.0, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]])
    write_volume(tmp_path / "images" / "a.nii.gz", spread)
    write_volume(tmp_path / "images" / "b.nii.gz", spread, turned)
    known = record_training_volumes(root, tmp_path / "images")
    assert known == {"extent": [[40, 59], [30, 40], [20, 20]], "mean": [0.5, 0.5], "deviation": [0.29, 0.3]}
    metadata = json.loads((root / "configs" / "metadata.json").read_text())
    assert metadata["known_volumes"] == known
    settings = bundle_settings(root)
    assert settings["known"] == known
    predict.prepare(tmp_path / "images" / "b.nii.gz", settings)
    assert not caplog.records
    predict.prepare(write_volume(tmp_path / "whole.nii", np.tile(spread, (4, 4, 4))), settings)
    assert "whole.nii: it extends over 160 x 120 x 80 mm, the training volumes over 40 to 59 x" in caplog.text


@pytest.mark.parametrize("known", [{"mean": [0, 1]}, {"extent": [[1, 2]]}, {"extent": [[2, 1]] * 3}, [1]])
def test_metadata_of_another_form_is_refused(known: object, tmp_path: Path):
    root = weighted_copy("unet_student_segmentation", "hippocampus", tmp_path)
    file = root / "configs" / "metadata.json"
    file.write_text(json.dumps({**load_bundle_config(root)["_meta_"], "known_volumes": known}))
    with pytest.raises(ValueError, match=r"known_volumes of configs/metadata.json: expected .*, found"):
        bundle_settings(root)


def test_training_volumes_belong_to_one_bundle(tmp_path: Path):
    with pytest.raises(
        ValueError, match="training_volumes: expected one bundle that they belong to, found 2"
    ):
        export("a", "b", training_volumes=str(tmp_path))
    (tmp_path / "empty").mkdir()
    root = weighted_copy("unet_student_segmentation", "hippocampus", tmp_path)
    with pytest.raises(ValueError, match="expected the volumes that the network was trained on, found none"):
        record_training_volumes(root, tmp_path / "empty")
