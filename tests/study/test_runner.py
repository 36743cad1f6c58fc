"""Whole studies on small volumes, each run in its own process."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from ignite.handlers import BasicTimeProfiler

from dckd_ext.bundle import student_network
from dckd_ext.data import case_list
from dckd_ext.phantom import write_phantoms
from dckd_ext.study import read_study, run_study
from dckd_ext.study.digests import UNPROVED, run_digests
from dckd_ext.study.run import _mean_seconds, _overrides
from dckd_ext.study.runner import _Runner
from dckd_ext.utils import FolderInUseError, write_table
from dckd_ext.utils.folders import LOCK
from tests.conftest import BUNDLES, SMALL
from tests.study.examples import ARMS, small_options, write_study
from tests.utils.test_children import is_running, wait_for

ABUS = {"shape": (48, 64, 40), "spacing": [0.6, 0.5, 0.6]}


def small_study(folder: Path, teacher_weights: Path, **changes):
    changes = {"options": small_options(), "seeds": [0], "train_cases": 3, "draws": 2, **changes}
    return write_study(folder, teacher_weights={0: str(teacher_weights)}, **changes)


def table(out: Path) -> dict[str, dict[str, str]]:
    with open(out / "runs.csv", newline="") as lines:
        return {row["run"]: row for row in csv.DictReader(lines)}


@pytest.fixture
def bundle_with_split(tmp_path: Path, msd: Path) -> Path:
    """The shipped split file does not list the small volumes, so a copy of the bundle has theirs."""
    copy = tmp_path / "hippocampus_distillation"
    shutil.copytree(BUNDLES / "hippocampus_distillation", copy)
    shutil.copy(msd / "splits.json", copy / "configs" / "splits.json")
    return copy


@pytest.mark.slow
def test_a_study_runs_continues_and_sums_up(
    tmp_path: Path, msd: Path, teacher_weights: Path, bundle_with_split: Path
):
    file = small_study(tmp_path, teacher_weights, workflow=str(bundle_with_split))
    out = tmp_path / "out"
    assert run_study(read_study(file), msd, out) == []
    lines = table(out)
    assert set(lines) == {"unet-plain-fold0-seed0", "unet-kd-fold0-seed0"}
    for line in lines.values():
        assert (out / line["scores"]).is_file()
        assert int(line["steps"]) == 2  # three cases, batches of two, the rest dropped, two epochs
        assert 0 <= float(line["dice_mean"]) <= 1
        assert float(line["step_seconds"]) > 0
    split = json.loads((out / "splits" / "fold0-seed0.json").read_text())
    assert len(split["folds"][1]) == 3
    # another seed: the finished runs are left alone, the new one is added
    before = (out / "work" / "unet-kd-fold0-seed0" / "model.pt").stat().st_mtime_ns
    more = small_study(
        tmp_path,
        teacher_weights,
        workflow=str(bundle_with_split),
        arms={"kd": str(ARMS / "logits.yaml")},
        seeds=[0, 1],
    )
    assert run_study(read_study(more), msd, out, jobs=2) == []
    assert set(table(out)) == {*lines, "unet-kd-fold0-seed1"}
    assert (out / "work" / "unet-kd-fold0-seed0" / "model.pt").stat().st_mtime_ns == before


def abus_study(tmp_path: Path, **changes):
    weights = tmp_path / "teacher.pt"
    torch.save(student_network(BUNDLES / "abus_teacher_segmentation").state_dict(), weights)
    coarse = {"spacing": [1.0, 1.0, 1.0], "patch_size": SMALL["patch_size"]}
    file = small_study(
        tmp_path,
        weights,
        workflow=str(BUNDLES / "abus_distillation"),
        teacher=str(BUNDLES / "abus_teacher_segmentation"),
        students={"unet": str(BUNDLES / "abus_unet_student_segmentation")},
        options=small_options(nrrd_spacing=ABUS["spacing"], **coarse),
        evaluate={"nrrd_spacing": ABUS["spacing"], **coarse},
        **changes,
    )
    return read_study(file)


@pytest.mark.slow
def test_a_study_on_abus_volumes_makes_the_split_that_their_bundle_names(tmp_path: Path):
    data = write_phantoms(tmp_path / "abus", 5, "msd", seed=0, **ABUS)
    assert run_study(abus_study(tmp_path), data, tmp_path / "out") == []
    assert {line["cases"] for line in table(tmp_path / "out").values()} == {"1"}
    whole = json.loads((data / "splits.json").read_text())
    small = json.loads((tmp_path / "out" / "splits" / "fold0-seed0.json").read_text())
    assert small["folds"][0] == whole["folds"][0]


@pytest.mark.slow
def test_data_that_come_split_are_scored_on_their_validation_section(tmp_path: Path):
    data = write_phantoms(tmp_path / "abus", 6, "tdsc", seed=0, shares=(0.5, 0.17, 0.33), **ABUS)
    with pytest.raises(ValueError, match=r"comes split into Train, Validation and Test.*'train_cases': 3"):
        run_study(abus_study(tmp_path), data, tmp_path / "out")
    arms = {"kd": str(ARMS / "logits.yaml")}
    assert run_study(abus_study(tmp_path, train_cases=None, arms=arms), data, tmp_path / "out") == []
    (line,) = table(tmp_path / "out").values()
    with open(tmp_path / "out" / line["scores"], newline="") as lines:
        scored = [row["case"] for row in csv.DictReader(lines)]
    assert scored == [case["case"] for case in case_list(str(data), "validation")]
    assert int(line["steps"]) == 2  # three training cases, batches of two, the rest dropped, two epochs


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_study_that_is_ended_ends_its_runs_and_continues(
    number: signal.Signals, tmp_path: Path, msd: Path, teacher_weights: Path, bundle_with_split: Path
):
    options = small_options(epochs=30, val_interval=30)
    arms = {"kd": str(ARMS / "logits.yaml")}
    file = small_study(tmp_path, teacher_weights, workflow=str(bundle_with_split), options=options, arms=arms)
    out = tmp_path / "out"
    command = [sys.executable, "-c", "from dckd_ext.cli import main; main()", "study", str(file)]
    command += ["--dataset_dir", str(msd), "--out", str(out)]
    study = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    run = out / "work" / "unet-kd-fold0-seed0"
    assert wait_for((run / "resume.pt").is_file, 120)
    with pytest.raises(FolderInUseError, match=f"{out} is in use by process {study.pid} "):
        run_study(read_study(file), msd, out)
    child = json.loads((run / LOCK).read_text())["process"]
    assert is_running(child)
    study.send_signal(number)  # to it alone, not to the run
    _, text = study.communicate(timeout=60)
    assert study.returncode == {signal.SIGTERM: 143}.get(number, -number)
    assert ("ended: 0 of 1 runs are done" in text) == (number == signal.SIGTERM)
    assert wait_for(lambda: not is_running(child), 20)
    assert not (out / "runs.csv").is_file()
    subprocess.run(command, check=True)
    log = (run / "log.txt").read_text()
    assert "continuing" in log.lower() or "resum" in log.lower()
    assert int(table(out)["unet-kd-fold0-seed0"]["steps"]) == 30
    assert (out / "study.md").is_file()
    assert not [path for path in (*out.iterdir(), *run.iterdir()) if path.name.startswith(".")]


@pytest.mark.slow
def test_a_run_that_fails_does_not_stop_the_others(
    tmp_path: Path,
    msd: Path,
    teacher_weights: Path,
    bundle_with_split: Path,
    caplog: pytest.LogCaptureFixture,
):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("loss_def#terms#logits#weight: -1")
    arms = {"wrong": str(wrong), "plain": str(ARMS / "plain.yaml")}
    file = small_study(tmp_path, teacher_weights, workflow=str(bundle_with_split), arms=arms, draws=None)
    failed = run_study(read_study(file), msd, tmp_path / "out")
    assert [spec.arm for spec in failed] == ["wrong"]
    assert list(table(tmp_path / "out")) == ["unet-plain-fold0-seed0"]
    log = (tmp_path / "out" / "work" / failed[0].name / "log.txt").read_text()
    assert "weight of a term must not be negative" in log
    assert re.search(r"failed \(exit 1\), see .*log\.txt: error: .* must not be negative", caplog.text)


def test_times_of_a_continued_run_are_those_of_the_steps_it_did():
    profiler = BasicTimeProfiler()
    profiler.attach(trainer := Engine(lambda engine, batch: time.sleep(0.01)))
    trainer.load_state_dict({"iteration": 6, "epoch_length": 2, "max_epochs": 5})
    trainer.run([0, 0])
    found = profiler.get_results()["processing_stats"]
    assert _mean_seconds(found) == pytest.approx(found["total"] / 4, abs=1e-4)  # of ten steps, four are left
    profiler.attach(trainer := Engine(lambda engine, batch: None))
    trainer.run([0])
    assert math.isnan(_mean_seconds(profiler.get_results()["processing_stats"]))


def test_a_changed_configuration_is_refused(tmp_path: Path, msd: Path):
    study = read_study(write_study(tmp_path, seeds=[0], arms={"plain": str(ARMS / "plain.yaml")}))
    out = tmp_path / "out"
    out.mkdir()
    (out / "runs.csv").write_text("run,config\nunet-plain-fold0-seed0,abc\n")
    with pytest.raises(
        ValueError, match=r"unet-plain-fold0-seed0 was run with another configuration \(abc, now "
    ):
        run_study(study, msd, out)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", r"lacks the columns \['run', 'config'\], it has \[\]"),
        ("run,seed\nunet-plain-fold0-seed0,0\n", r"lacks the columns \['config'\]"),
        ("run,config\nunet-plain-fold0-seed0\n", "row 1 has not the 2 cells"),
    ],
)
def test_a_broken_table_is_named(content: str, expected: str, tmp_path: Path, msd: Path):
    study = read_study(write_study(tmp_path, seeds=[0], arms={"plain": str(ARMS / "plain.yaml")}))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "runs.csv").write_text(content)
    with pytest.raises(ValueError, match=rf"runs\.csv: {expected}"):
        run_study(study, msd, tmp_path / "out")
    assert (tmp_path / "out" / "runs.csv").read_text() == content


def test_a_teacher_without_weights_is_named_before_anything_runs(tmp_path: Path, msd: Path):
    file = write_study(tmp_path, seeds=[0], teacher_weights={0: "absent.pt", 3: "unused.pt"})
    with pytest.raises(FileNotFoundError, match=r"teacher_weights#0 names .*absent.pt, which does not exist"):
        run_study(read_study(file), msd, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def finished(tmp_path: Path, msd: Path):
    """Returns a function that says what a study with a finished run has to say, with other settings."""
    weights, out = tmp_path / "teacher.pt", tmp_path / "out"
    weights.write_bytes(b"one teacher")
    settings = {
        "seeds": [0],
        "arms": {"plain": str(ARMS / "plain.yaml")},
        "teacher_weights": {0: str(weights)},
    }
    out.mkdir()
    (digests,) = run_digests(read_study(write_study(tmp_path, **settings))).values()
    line = {"run": "unet-plain-fold0-seed0", **digests}

    def resumed(line: dict[str, str] = line, **changes) -> str:
        write_table(out / "runs.csv", list(line), [line])
        try:
            failed = run_study(read_study(write_study(tmp_path, **{**settings, **changes})), msd, out)
        except (ValueError, FileNotFoundError) as error:
            return str(error)
        assert failed == []
        return "nothing to do"

    return resumed, line, weights


def test_other_settings_or_another_teacher_are_refused(finished):
    resumed, _, weights = finished
    assert resumed() == "nothing to do"
    assert "another configuration" in resumed(held_out=[1])
    assert "another configuration" in resumed(options={"epochs": 3})
    weights.write_bytes(b"another teacher")
    assert "was run with another teacher (" in resumed()


def test_a_finished_study_needs_its_teachers_no_more(finished, caplog: pytest.LogCaptureFixture):
    resumed, _, weights = finished
    weights.unlink()
    assert resumed() == "nothing to do"
    assert not caplog.records or "older rule" not in caplog.text
    assert "another configuration" in resumed(held_out=[1])
    assert "teacher.pt, which does not exist" in resumed(seeds=[0, 1])


def test_an_unproved_line_is_done_while_no_run_can_have_its_teacher(
    finished, caplog: pytest.LogCaptureFixture
):
    resumed, line, weights = finished
    unproved = {**line, "config": "older rule", "teacher": UNPROVED}
    assert "another configuration (older rule, now " in resumed(unproved)
    weights.unlink()
    assert resumed(unproved) == "nothing to do"
    assert "could prove: unet-plain-fold0-seed0" in caplog.text
    assert "teacher.pt, which does not exist" in resumed(unproved, seeds=[0, 1])


def test_one_split_file_for_training_and_scoring(tmp_path: Path, msd: Path):
    names = [path.name.partition(".")[0] for path in sorted((msd / "imagesTr").glob("*.nii.gz"))]
    (tmp_path / "mine.json").write_text(json.dumps({"folds": [names[::2], names[1::2]], "test": []}))
    study = read_study(write_study(tmp_path, seeds=[0], split_file="mine.json"))
    runner = _Runner(study, msd, tmp_path / "out", ())
    [spec, *_] = study.runs()
    job = runner.job(spec, "")
    found = {_overrides(job, kind)["split_file"] for kind in ("train", "evaluate")}
    assert found == {str(tmp_path / "mine.json")}
    before = runner.digests[spec.name]
    (tmp_path / "mine.json").write_text(json.dumps({"folds": [names[1::2], names[::2]], "test": []}))
    assert _Runner(study, msd, tmp_path / "out", ()).digests[spec.name] != before
    with pytest.raises(FileNotFoundError, match=r"split_file names .*gone\.json, which does not exist"):
        read_study(write_study(tmp_path, split_file="gone.json"))


def test_runs_at_the_same_time_may_share_a_split(tmp_path: Path, msd: Path):
    study = read_study(write_study(tmp_path, seeds=[0], train_cases=20))
    runner = _Runner(study, msd, tmp_path / "out", ())
    with ThreadPoolExecutor(8) as pool:
        jobs = list(pool.map(lambda _: runner.job(study.runs()[0], ""), range(200)))
    assert {job["split_file"] for job in jobs} == {str(tmp_path / "out" / "splits" / "fold0-seed0.json")}
    assert len(json.loads(Path(jobs[0]["split_file"]).read_text())["folds"][1]) == 20
