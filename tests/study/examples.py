"""A study file on the small volumes of the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.conftest import BUNDLES, SMALL

ARMS = Path(__file__).parents[2] / "experiments" / "arms"


def study_content(**changes: Any) -> dict[str, Any]:
    return {
        "name": "small",
        "workflow": str(BUNDLES / "hippocampus_distillation"),
        "teacher": str(BUNDLES / "hippocampus_teacher_segmentation"),
        "students": {"unet": str(BUNDLES / "hippocampus_unet_student_segmentation")},
        "arms": {"plain": str(ARMS / "plain.yaml"), "kd": str(ARMS / "logits.yaml")},
        "seeds": [0, 1],
        **changes,
    }


def write_study(folder: Path, **changes: Any) -> Path:
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(study_content(**changes), sort_keys=False))
    return file


def small_options(**changes: Any) -> dict[str, Any]:
    return {**SMALL, "min_teacher_dice": 0, **changes}
