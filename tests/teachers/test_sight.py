import json
import logging
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from scipy.ndimage import map_coordinates
from torch import nn

from dckd_ext.bundle import load_bundle_config, teacher_network
from dckd_ext.engines import check_teacher
from dckd_ext.teachers import AnswerStore, OwnSight, own_sight, read_teachers
from tests.conftest import bundle
from tests.nnunet.folders import results_folder, volume


def student(family: str = "hippocampus", **options: object) -> tuple:
    """Return the preprocessing and window of a shipped distillation."""
    config = ConfigParser(
        ConfigParser.load_config_file(bundle("distillation", family) / "configs" / "train.yaml")
    )
    config.update({"bundle_root": str(bundle("distillation", family)), **options})
    return config.get_parsed_content("preprocessing"), config.get_parsed_content("validate#inferer")


@pytest.mark.parametrize("family", ["hippocampus", "abus"])
def test_the_shipped_pairs_see_alike(family: str):
    assert own_sight(str(bundle("teacher_segmentation", family)), *student(family)) is None


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"spacing": [1.5, 1.5, 1.5]}, "1 x 1 x 1 +1.5 x 1.5 x 1.5"),
        ({"preprocessing#transforms#3#axcodes": "SAR"}, "RAS +SAR"),
        ({"preprocessing#transforms#5#upper": 90}, r"range +\S+ to \S+ +\S+ to "),
    ],
)
def test_another_preprocessing_is_noticed_and_shown(
    change: dict, shown: str, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.INFO):
        assert own_sight(str(bundle("teacher_segmentation")), *student(**change)) is not None
    assert re.search(shown, caplog.text)
    assert re.search(r"window +\[32, 48, 32\]", caplog.text)


def prepared(preprocessing, file: Path) -> MetaTensor:
    return preprocessing({"image": str(file), "label": None, "case": "case"})["image"]


def test_answers_come_from_the_teachers_grid_to_the_students(tmp_path: Path):
    folder, file = results_folder(tmp_path), volume(tmp_path / "case.nii.gz")
    preprocessing, inferer = student(spacing=[1.2, 1.0, 2.0])
    sight, image = own_sight(folder, preprocessing, inferer), prepared(preprocessing, file)
    teacher = teacher_network(folder)
    found = sight(image[None], teacher)[0]
    assert found.shape[1:] == image.shape[1:]
    config = load_bundle_config(folder)
    own = config.get_parsed_content("preprocessing")({"image": str(file)})["image"]
    with torch.no_grad():
        logits = config.get_parsed_content("inferer")(own[None], teacher)[0].numpy()
    size = image.shape[1:]
    places = np.linalg.solve(own.affine.numpy(), image.affine.numpy()) @ np.stack(
        [*np.indices(size).reshape(3, -1), np.ones(np.prod(size))]
    )
    edges = np.array(own.shape[1:])[:, None] - 1
    expected = np.stack([map_coordinates(one, places[:3], order=1, mode="nearest") for one in logits])
    inside = ((places[:3] >= 0) & (places[:3] <= edges)).all(0)
    assert 0.3 < inside.mean() < 1
    np.testing.assert_allclose(found.reshape(3, -1)[:, inside], expected[:, inside], atol=1e-3)
    beyond = ((places[:3] < -1) | (places[:3] > edges + 1)).any(0)
    assert beyond.any()
    assert not found.reshape(3, -1).argmax(0)[beyond].any()


def test_the_store_keeps_what_the_teacher_says_in_its_own_way(tmp_path: Path):
    folder, file = results_folder(tmp_path, folds=2), volume(tmp_path / "case.nii.gz")
    preprocessing, inferer = student()
    teacher = read_teachers(folder)
    sight = own_sight(folder, preprocessing, inferer)
    cases = [{"case": "case", "image": str(file), "label": None}]

    class Always:
        def __call__(self, case: str) -> nn.Module:
            return teacher

        def check(self, cases: list) -> None: ...

    store = AnswerStore(tmp_path / "answers", Always(), sight, tap="output_block")
    assert not store.write(cases, preprocessing)
    image = prepared(preprocessing, file)
    answer = store.read("case", image)
    assert answer.features.shape == (3, *image.shape[1:])
    live = sight(image[None], teacher)[0]
    assert (answer.logits.argmax(0) == live.argmax(0)).float().mean() > 0.99
    with pytest.raises(ValueError, match="expected one to the image of case"):  # the student's way is another
        AnswerStore(tmp_path / "answers", Always(), inferer).read("case", image)


def test_what_tells_no_preprocessing_gets_the_students(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    folder = tmp_path / "teacher"
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "metadata.json").write_text("{}")
    (folder / "configs" / "inference.json").write_text(json.dumps({"network_def": {}}))
    assert own_sight(folder, *student()) is None
    assert "has no preprocessing and no inferer" in caplog.text


def test_teachers_that_see_differently_are_refused(tmp_path: Path):
    pair = [str(results_folder(tmp_path)), str(bundle("teacher_segmentation"))]
    with pytest.raises(
        ValueError, match="expected teachers of one preprocessing, or --own_preprocessing false"
    ):
        own_sight(pair, *student())


def test_a_volume_without_a_file_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="expected one volume that was read from a file"):
        OwnSight(results_folder(tmp_path))(torch.zeros(1, 1, 8, 8, 8), nn.Identity())


class Scores:
    """An evaluator whose score is that of its inferer."""

    def __init__(self, here: object) -> None:
        self.inferer = here
        self.state = SimpleNamespace(metrics={}, key_metric_name="dice")

    def run(self) -> None:
        self.state.metrics["dice"] = self.inferer.score


def test_the_check_compares_with_the_teachers_own_score():
    own, here = SimpleNamespace(score=0.89), SimpleNamespace(score=0.6)
    assert check_teacher(Scores(here), sight=own) == 0.89
    with pytest.raises(ValueError, match=r"0\.6000 through this pipeline and 0\.8900 through its own"):
        check_teacher(Scores(here), sight=own, own=False)
    assert check_teacher(Scores(SimpleNamespace(score=0.88)), sight=own, own=False) == 0.88
    with pytest.raises(
        ValueError, match=r"is 0\.3000, .* Most likely its weights or its label_map are wrong"
    ):
        check_teacher(Scores(here), sight=SimpleNamespace(score=0.3))
    with pytest.raises(ValueError, match="Most likely this pipeline's preprocessing"):
        check_teacher(Scores(SimpleNamespace(score=0.3)))
