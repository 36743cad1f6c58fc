"""A teacher bundle in a foreign style, distilled through the shipped workflow."""

import re
from pathlib import Path

import pytest
import torch

from tests.bundle.test_bundle import STUDENT_CLASSES, SWAP, foreign, write_bundle  # noqa: F401 a fixture
from tests.bundle.test_zoo_styles import SIGMOID, scripted, unet, zoo_bundle
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


def test_a_torchscript_teacher_teaches_by_its_logits_alone(tmp_path: Path, msd: Path, capsys):
    file = scripted(tmp_path / "net.ts")
    flow = train("distillation", tmp_path, msd, teacher_bundle=str(file), min_teacher_dice=0, epochs=2)
    assert_trained(tmp_path / "model.pt", "unet_student_segmentation")
    assert flow.parser.get_parsed_content("loss").values.keys() == {"segmentation", "logits", "total"}
    assert "a TorchScript network gives no features: its logits alone teach" in capsys.readouterr().out


def test_features_of_a_torchscript_teacher_are_refused(tmp_path: Path, msd: Path, raises_from_config):
    file = str(scripted(tmp_path / "net.ts"))
    options = {"teacher_bundle": file, "min_teacher_dice": 0}
    error = raises_from_config(lambda: train("distillation", tmp_path, msd, "dckd.yaml", **options))
    assert "the teacher gives no features" in str(error)
    error = raises_from_config(lambda: train("distillation", tmp_path, msd, teacher_tap="model", **options))
    assert "expected no tap, found 'model'" in str(error)


def region_student(tmp_path: Path) -> Path:
    return zoo_bundle(tmp_path / "student", ["whole", "posterior"], postprocessing=SIGMOID)


REGIONS = {"whole": [1, 2], "posterior": [2]}


@pytest.mark.parametrize("teacher", ["regions", "classes"])
def test_a_student_of_regions(teacher: str, tmp_path: Path, msd: Path):
    """Taught region by region, by a teacher of the same regions and by one of exclusive classes."""
    if teacher == "regions":
        bundle = zoo_bundle(tmp_path / "teacher", ["whole", "posterior"], postprocessing=SIGMOID)
    else:
        bundle = zoo_bundle(tmp_path / "teacher", STUDENT_CLASSES)
    label_map = None if teacher == "regions" else {"anterior": "whole", "posterior": ["whole", "posterior"]}
    student = region_student(tmp_path)
    flow = train(
        *("distillation", tmp_path, msd, "regions.yaml"),
        teacher_bundle=str(bundle),
        student_bundle=str(student),
        label_map=label_map,
        regions=REGIONS,
        min_teacher_dice=0,
        epochs=2,
    )
    values = flow.parser.get_parsed_content("loss").values
    assert {"segmentation", "logits", "cwd"} <= values.keys()
    assert all(value.isfinite() for value in values.values())
    trained = torch.load(tmp_path / "model.pt", weights_only=True)
    assert trained.keys() == unet(classes=2).state_dict().keys()


@pytest.mark.parametrize(
    ("overlay", "regions", "text"),
    [
        (None, None, r"add configs/regions\.yaml"),
        ("regions.yaml", {"whole": [1, 2]}, r"\['posterior'\] have no values"),
        ("regions.yaml", {**REGIONS, "anterior": [1]}, "names the student class 'anterior'"),
        ("regions.yaml", {**REGIONS, "whole": [0]}, "expected whole numbers above 0"),
    ],
)
def test_regions_that_do_not_fit(overlay, regions, text, tmp_path: Path, msd: Path, raises_from_config):
    student = str(region_student(tmp_path))
    error = raises_from_config(
        lambda: train(
            *("distillation", tmp_path, msd, overlay),
            teacher_bundle=student,
            student_bundle=student,
            **({} if regions is None else {"regions": regions}),
        )
    )
    assert re.search(text, str(error)), error


def test_stored_answers_are_of_exclusive_classes(tmp_path: Path, msd: Path, raises_from_config):
    student = str(region_student(tmp_path))
    error = raises_from_config(
        lambda: train(
            *("distillation", tmp_path, msd, "regions.yaml"),
            teacher_bundle=student,
            student_bundle=student,
            regions=REGIONS,
            answers="logits",
        )
    )
    assert "answers of regions that may overlap are not kept" in str(error)


class SeveralMaps(torch.nn.Module):
    """Gives a list in training and eval mode, as nnU-Net's networks with deep supervision do."""

    def __init__(self) -> None:
        super().__init__()
        self.body = unet()

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        logits = self.body(image)
        return [logits, logits[..., ::2, ::2, ::2]]


def test_a_student_that_gives_a_list_in_eval_mode(tmp_path: Path, msd: Path):
    """Trained and validated by its first map."""
    config = {"network_def": {"_target_": f"{__name__}.SeveralMaps"}}
    student = write_bundle(tmp_path / "student", config, STUDENT_CLASSES)
    flow = train(
        *("distillation", tmp_path, msd),
        teacher_bundle=str(zoo_bundle(tmp_path / "teacher", STUDENT_CLASSES)),
        student_bundle=str(student),
        min_teacher_dice=0,
        epochs=1,
    )
    assert flow.parser.get_parsed_content("validate#evaluator").state.metrics["val_mean_dice"] >= 0
    assert torch.load(tmp_path / "model.pt", weights_only=True).keys() == SeveralMaps().state_dict().keys()
