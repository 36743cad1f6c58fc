"""What a run of a study changes in the train config."""

from __future__ import annotations

from copy import deepcopy
from types import SimpleNamespace

import pytest
from monai.bundle import ConfigParser

from dckd_ext.study.run import _train_on_pool
from tests.conftest import bundle
from tests.study.examples import ARMS


def on_a_pool(family: str, *overlays: str, **options) -> tuple[dict, dict]:
    """The train config before and after."""
    parser = ConfigParser()
    files = [bundle("distillation", family) / "configs" / "train.yaml", *(ARMS / name for name in overlays)]
    parser.read_config([str(file) for file in files])
    parser.update(options)
    before = deepcopy(parser.get())
    _train_on_pool(SimpleNamespace(parser=parser), "POOL")
    return before, parser.get()


@pytest.mark.parametrize("family", ["hippocampus", "abus"])
@pytest.mark.parametrize("overlays", [(), ("plain.yaml",)], ids=["distilled", "plain"])
def test_what_was_done_when_the_pool_was_drawn_is_left_out_by_name(family: str, overlays: tuple[str, ...]):
    own_steps = ["$print('teacher_check')", "$len(@train#dataset#data)"]
    before, after = on_a_pool(family, *overlays, initialize=["@check_cases", *own_steps])
    assert (before["initialize"], before["run"]) == (after["initialize"], after["run"])
    assert "@check_teacher" in after["run"]
    assert before["check_cases"] is not None
    assert (before["check_teacher"] is None) == bool(overlays)
    assert after["check_teacher"] is after["check_cases"] is None
    assert after["train"]["dataset"] == {"_target_": "dckd_ext.study.PatchPool", "folder": "POOL"}


def test_the_teachers_answers_go_to_arms_that_have_a_teacher():
    _, distilled = on_a_pool("hippocampus")
    _, plain = on_a_pool("hippocampus", "plain.yaml")
    taught = {"_target_": "dckd_ext.engines.PrepareTaughtBatch"}
    assert distilled["train"]["trainer"]["prepare_batch"] == taught
    assert plain["train"]["trainer"]["prepare_batch"] == "$monai.engines.default_prepare_batch"


@pytest.mark.parametrize("family", ["hippocampus", "abus"])
def test_the_shipped_configs_name_these_steps(family: str):
    parser = ConfigParser()
    parser.read_config(str(bundle("distillation", family) / "configs" / "train.yaml"))
    assert parser["initialize"].count("@check_cases") == parser["run"].count("@check_teacher") == 1
