"""What makes a run another one, and what does not."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import pytest
import yaml

from dckd_ext.study import read_study
from dckd_ext.study.digests import canonical, run_digests, settings
from dckd_ext.study.runner import _Runner
from tests.conftest import BUNDLES, make_msd
from tests.study.examples import ARMS, write_study

WORKFLOW, STUDENT = "hippocampus_distillation", "hippocampus_unet_student_segmentation"


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    """Copies of the bundles that a study reads, to be changed."""
    for name in (WORKFLOW, STUDENT):
        shutil.copytree(BUNDLES / name / "configs", tmp_path / name / "configs")
    return tmp_path


def digests(folder: Path, **changes) -> dict[str, dict[str, str]]:
    """Digests of a study on the copies."""
    copies = {"workflow": str(folder / WORKFLOW), "students": {"unet": str(folder / STUDENT)}}
    return run_digests(read_study(write_study(folder, **copies, **changes)))


def rewrite(file: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, file.read_text())
    assert count, pattern
    file.write_text(text)


def test_classes_and_functions_may_move(bundles: Path):
    before = digests(bundles)
    train = bundles / WORKFLOW / "configs" / "train.yaml"
    inference = bundles / STUDENT / "configs" / "inference.yaml"
    rewrite(train, r"\bdckd_ext\.\w+\.", "moved.to.another.room.")
    rewrite(inference, r"\bdckd_ext\.\w+\.", "moved.")
    rewrite(train, r"\bmonai\.handlers\.from_engine", "from_engine")
    rewrite(train, r"\$import monai", "$import monai.handlers")
    for file in (train, inference):
        rewrite(file, r"\$import dckd_ext", "$import moved")
    assert "dckd_ext" not in train.read_text() + inference.read_text()
    assert digests(bundles) == before


@pytest.mark.parametrize(
    ("file", "pattern", "replacement"),
    [
        ("train.yaml", r"NormalizeIntensityd", "AnotherTransformd"),
        ("train.yaml", r"temperature: 2.0", "temperature: 2.5"),
        ("train.yaml", r"'/models/model.pt'", "'/models/other.pt'"),
        ("train.yaml", r"@is_main or not", "@is_main and not"),
        ("train.yaml", r"\(@device\)", "(@other)"),
        ("inference.yaml", r"overlap: 0.75", "overlap: 0.5"),
        ("evaluate.yaml", r"CaseScores", "OtherScores"),
    ],
)
def test_what_the_configs_say_counts(bundles: Path, file: str, pattern: str, replacement: str):
    before = digests(bundles, arms={"kd": str(ARMS / "logits.yaml")}, seeds=[0])
    bundle = WORKFLOW if file == "train.yaml" else STUDENT
    rewrite(bundles / bundle / "configs" / file, pattern, replacement)
    (run,) = before
    after = digests(bundles, arms={"kd": str(ARMS / "logits.yaml")}, seeds=[0])
    assert after[run]["config"] != before[run]["config"]
    assert after[run]["teacher"] == before[run]["teacher"]


def test_the_order_of_keys_does_not_count_that_of_a_list_does(bundles: Path):
    file = bundles / WORKFLOW / "configs" / "train.yaml"
    before, config = digests(bundles), yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(config, sort_keys=True))
    assert digests(bundles) == before
    config["train"]["handlers"].reverse()
    file.write_text(yaml.safe_dump(config))
    assert digests(bundles)["unet-kd-fold0-seed0"] != before["unet-kd-fold0-seed0"]


@pytest.mark.parametrize(
    "changes",
    [
        {"held_out": [1]},
        {"train_cases": 3},
        {"draws": 2},
        {"options": {"epochs": 3}},
        {"options": {"loss_def#terms#logits#weight": 0.5}},
        {"evaluate": {"overlap": 0.1}},
        {"arms": {"kd": [str(ARMS / "logits.yaml"), str(ARMS / "affinity.yaml")]}},
        {"arms": {"kd": {"overlays": str(ARMS / "logits.yaml"), "options": {"learning_rate": 0.01}}}},
    ],
)
def test_the_plan_counts(tmp_path: Path, changes: dict):
    plan = {"seeds": [0], "arms": {"kd": str(ARMS / "logits.yaml")}}
    (before,), (after,) = (
        run_digests(read_study(write_study(tmp_path, **plan, **{}))).values(),
        run_digests(read_study(write_study(tmp_path, **{**plan, **changes}))).values(),
    )
    assert after["config"] != before["config"]
    assert after["teacher"] == before["teacher"]


def test_every_arm_seed_and_fold_has_a_digest_of_its_own(tmp_path: Path):
    found = run_digests(read_study(write_study(tmp_path, seeds=[0, 1], folds=[0, 1])))
    assert len({each["config"] for each in found.values()}) == len(found) == 8


def test_the_teacher_is_the_bytes_of_its_weights(tmp_path: Path):
    weights = tmp_path / "teacher.pt"
    weights.write_bytes(b"one teacher")
    plan = {"seeds": [0], "folds": [0, 1, 2], "arms": {"cwd": []}}
    untrained = shutil.copytree(BUNDLES / "hippocampus_teacher_segmentation", tmp_path / "untrained")
    (untrained / "models" / "model.pt").unlink()
    named = {1: str(weights), 2: str(tmp_path / "absent.pt")}
    study = write_study(tmp_path, **plan, teacher=str(untrained), teacher_weights=named)
    own, given, absent = run_digests(read_study(study)).values()
    assert own["teacher"] == ""
    assert given["teacher"] == hashlib.sha256(b"one teacher").hexdigest()[:12]
    assert "teacher" not in absent


def test_a_comment_or_a_term_that_is_off_is_the_same_configuration(tmp_path: Path):
    overlay = tmp_path / "arm.yaml"
    text = (ARMS / "logits.yaml").read_text()

    def digest(content: str, **options) -> str:
        overlay.write_text(content)
        arms = {"kd": {"overlays": str(overlay), "options": options}}
        (found,) = run_digests(read_study(write_study(tmp_path, seeds=[0], arms=arms))).values()
        return found["config"]

    same = digest(text)
    off = {"loss_def#terms#dkd": {"_target_": "dckd_ext.losses.Term", "weight": 0}}
    assert digest(f"# a comment\n{text}") == same
    assert digest(text, **off) == same


def test_settings_can_be_read(tmp_path: Path):
    study = read_study(write_study(tmp_path))
    found = settings(study, study.runs()[0])
    assert found["training"]["network"] == "$@network_def.to(@device)"
    assert found["training"]["optimizer"]["_target_"] == "AdamW"
    assert found["evaluation"]["initialize"][1] == "$set_determinism(seed=0)"
    assert "imports" not in found["training"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("$monai.utils.set_determinism(seed=@seed)", "$set_determinism( seed = @seed )"),
        ("$torch.cuda.is_available()", "$torch.accelerator.is_available()"),
        ("$@average.module", "$@average . module"),
        ({"writer": "dckd_ext.transforms.WholeWriter"}, {"writer": "dckd_ext.writers.WholeWriter"}),
        ({"_target_": "dckd_ext.data.case_list"}, {"_target_": "dckd_ext.lists.case_list"}),
        ("@train#dataset", "@train::dataset"),
    ],
)
def test_the_same_in_other_words(one, other):
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("$@average.module", "$@average.other"),
        ("$@teacher.module", "$@average.module"),
        ("$lambda engine: engine.state.epoch", "$lambda engine: engine.last.epoch"),
        ("$[case.image.name for case in @cases]", "$[case.label.name for case in @cases]"),
        ("$@dir + '/a.model.pt'", "$@dir + '/b.model.pt'"),
        ("a.model.pt", "b.model.pt"),
        ("$not python at all", "$nor python at all"),
        ({"_target_": "dckd_ext.data.case_list"}, {"_target_": "dckd_ext.data.image_files"}),
        (1, 1.5),
        (True, "true"),
        (None, "null"),
    ],
)
def test_other_things(one, other):
    assert canonical(one) != canonical(other)


@pytest.mark.parametrize("fast", ["bfloat16", "float32"])
def test_precision_by_the_processor_is_told_to_the_run_and_is_no_other_run(
    fast: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("dckd_ext.study.runner.fast_dtype", lambda: fast)
    found = []
    for autocast in ("auto", "bfloat16"):
        study = read_study(write_study(tmp_path, options={"autocast": autocast}))
        runner = _Runner(study, make_msd(tmp_path / "data"), tmp_path, ())
        job = runner.job(study.runs()[0], "")
        assert job["options"]["autocast"] == (fast if autocast == "auto" else autocast)
        found.append(run_digests(study))
    assert found[0] == found[1]
