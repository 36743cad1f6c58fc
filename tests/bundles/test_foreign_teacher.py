"""A teacher bundle in a foreign style, distilled through the shipped workflow."""

from pathlib import Path

import pytest

from tests.bundle.test_bundle import SWAP, foreign  # noqa: F401 a fixture
from tests.bundles.trained import assert_trained
from tests.conftest import train


def test_distils_a_foreign_teacher(tmp_path: Path, msd: Path, foreign: Path):  # noqa: F811
    """JSON config, own scripts, SegResNet with deep supervision, other class order with a label map."""
    flow = train(
        "distillation",
        tmp_path,
        msd,
        overlay="dckd.yaml",
        teacher_bundle=str(foreign),
        label_map=SWAP,
        min_teacher_dice=0,
        epochs=2,  # in the first the terms that need the teacher are still ramping up from 0
    )
    assert_trained(tmp_path / "model.pt", "unet_student_segmentation")
    values = flow.parser.get_parsed_content("loss").values
    assert {"logits", "contrastive", "ranking"} <= values.keys()
    assert all(value.isfinite() for value in values.values())


def test_another_class_order_needs_a_label_map(tmp_path: Path, msd: Path, foreign: Path, raises_from_config):  # noqa: F811
    error = raises_from_config(lambda: train("distillation", tmp_path, msd, teacher_bundle=str(foreign)))
    assert isinstance(error, ValueError)
    assert "label_map" in str(error)
    assert not (tmp_path / "model.pt").exists()


@pytest.mark.parametrize("classes", [["background", "tumour"], ["background", "anterior", "tumour"]])
def test_other_classes_stop_the_run(classes, tmp_path: Path, msd: Path, foreign: Path, raises_from_config):  # noqa: F811
    import json

    metadata = foreign / "configs" / "metadata.json"
    content = json.loads(metadata.read_text())
    content["network_data_format"]["outputs"]["pred"]["channel_def"] = dict(enumerate(classes))
    metadata.write_text(json.dumps(content))
    error = raises_from_config(lambda: train("distillation", tmp_path, msd, teacher_bundle=str(foreign)))
    assert isinstance(error, ValueError)
    assert "tumour" in str(error)


def test_other_channels_stop_the_run(tmp_path: Path, msd: Path, foreign: Path, raises_from_config):  # noqa: F811
    metadata = foreign / "configs" / "metadata.json"
    metadata.write_text(metadata.read_text().replace('"num_channels": 1', '"num_channels": 4'))
    error = raises_from_config(
        lambda: train("distillation", tmp_path, msd, teacher_bundle=str(foreign), label_map=SWAP)
    )
    assert isinstance(error, ValueError)
    assert "4" in str(error)
    assert "channel" in str(error)
