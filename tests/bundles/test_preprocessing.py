"""What is done to a volume is stated once: a copy with one more transform does the others everywhere."""

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from ignite.engine import Engine, Events
from monai.bundle import create_workflow

from tests.conftest import SMALL, bundle, workflow


@pytest.fixture
def smoothed(tmp_path: Path) -> Path:
    """A copy of the distillation bundle with one more transform, before the scaling."""
    copy = tmp_path / "copy"
    shutil.copytree(bundle("distillation"), copy)
    file = copy / "configs" / "train.yaml"
    config = yaml.safe_load(file.read_text())
    steps = config["preprocessing"]["transforms"]
    place = [step["_target_"] for step in steps].index("ScaleIntensityRangePercentilesd")
    steps.insert(place, {"_target_": "MedianSmoothd", "keys": "image", "radius": 1})
    file.write_text(yaml.safe_dump(config))
    return copy


def test_every_evaluation_normalises(smoothed: Path, msd: Path, teacher_weights: Path, tmp_path: Path):
    """Validation, which chooses the best weights, and the check of the teacher."""
    flow = create_workflow(
        config_file=str(smoothed / "configs" / "train.yaml"),
        workflow_type="train",
        bundle_root=str(smoothed),
        teacher_bundle=str(bundle("teacher_segmentation")),
        student_bundle=str(bundle("unet_student_segmentation")),
        dataset_dir=str(msd),
        split_file=str(msd / "splits.json"),
        output_dir=str(tmp_path),
        checkpoint=str(tmp_path / "model.pt"),
        teacher_weights=str(teacher_weights),
        min_teacher_dice=0,
        select="best",
        **{**SMALL, "epochs": 1},
    )
    seen: dict[str, list[torch.Tensor]] = {"validate#evaluator": [], "check_teacher#evaluator": []}

    def watch(name: str, evaluator: Engine) -> None:
        evaluator.add_event_handler(
            Events.ITERATION_STARTED, lambda engine: seen[name].append(engine.state.batch["image"])
        )

    for name in seen:
        watch(name, flow.parser.get_parsed_content(name))
    flow.run()
    flow.finalize()
    for name, images in seen.items():
        assert images, name
        for image in images:
            assert abs(float(image.mean())) < 1e-3, name
            assert float(image.std(correction=0)) == pytest.approx(1, abs=1e-3), name


def test_training_is_the_preprocessing_and_then_the_augmentation(msd: Path):
    data = {"dataset_dir": str(msd), "split_file": str(msd / "splits.json"), "device": "cpu"}
    flow = workflow("teacher_segmentation", "train.yaml", "train", **data)
    names = ("preprocessing", "augmentation", "train#preprocessing", "validate#preprocessing")
    common, further, training, validation = (
        flow.parser.get_parsed_content(name).transforms for name in names
    )
    assert training == (*common, *further)
    assert validation == common
    assert not [step for step in common if type(step).__name__.startswith("Rand")]
