"""The digests of docs/results: how they are carried over, and that they hold for this tree."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from dckd_ext.study import read_study
from dckd_ext.study.digests import UNPROVED, run_digests
from dckd_ext.study.runner import TABLE, _Runner
from dckd_ext.utils import read_table, write_table
from experiments.migrate_digests import PENDING, RESULTS, digests_of_commit, migrate
from tests.study.examples import ARMS, write_study

ROOT = Path(__file__).parents[2]
STUDY = Path("study.yaml")

# What a commit's package has of what the script asks for; its digests are of other rules.
FIRST_RULE = """
class _Runner:
    def __init__(self, study, dataset_dir, out, devices):
        pass

    def config_hash(self, spec):
        return f"first rule {spec.name}"
"""
LATER_RULE = """
def run_digests(study):
    return {
        spec.name: {"config": f"later rule {spec.name}"} | ({} if spec.fold == 2 else {"teacher": "same"})
        for spec in study.runs()
    }
"""
READS_STUDIES = """
from pathlib import Path
from types import SimpleNamespace


def read_study(file):
    here = Path(file).parent
    runs = [SimpleNamespace(name=f"unet-cwd-fold{fold}-seed0", fold=fold) for fold in (0, 1, 2)]
    named = {fold: here / f"teacher{fold}.pt" for fold in (1, 2)}
    return SimpleNamespace(runs=lambda: runs, teacher_weights=named)
"""


@pytest.fixture
def before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Returns a function that makes the worktree of a commit; the working directory is another tree's.

    The weights of fold 2 are in neither.
    """
    now, then = tmp_path / "now", tmp_path / "then"
    weights = {1: str(then / "teacher1.pt"), 2: str(then / "teacher2.pt")}
    for tree in (now, then):
        tree.mkdir()
        plan = {"seeds": [0], "folds": [0, 1, 2], "arms": {"cwd": []}, "teacher_weights": weights}
        write_study(tree, **plan)
    (then / "teacher1.pt").write_bytes(b"the teacher of fold 1")
    monkeypatch.chdir(now)

    def make(name: str, code: str) -> Path:
        package = then / "dckd_ext" / "study"
        package.mkdir(parents=True)
        (package.parent / "__init__.py").touch()
        (package / "__init__.py").write_text(READS_STUDIES)
        (package / name).write_text(code)
        return then

    return make


def write_rows(*rows: dict[str, str]) -> Path:
    write_table(Path(TABLE), ["run", "config", "teacher", "dice_mean"], rows)
    return Path(TABLE)


def line(fold: int, config: str, **more: str) -> dict[str, str]:
    return {"run": f"unet-cwd-fold{fold}-seed0", "config": config, "dice_mean": "0.9", **more}


def now(fold: int) -> str:
    return run_digests(read_study(STUDY))[f"unet-cwd-fold{fold}-seed0"]["config"]


def test_proved_digests_are_carried_over_and_others_marked(before):
    then = before("runner.py", FIRST_RULE)
    table = write_rows(*(line(fold, f"first rule unet-cwd-fold{fold}-seed0") for fold in (0, 1, 2)))
    own, given, absent = migrate(then, table, [STUDY])
    teacher = ROOT / "bundles" / "hippocampus_teacher_segmentation" / "models" / "model.pt"
    assert own == line(0, now(0), teacher=hashlib.sha256(teacher.read_bytes()).hexdigest()[:12])
    assert given == line(1, now(1), teacher=hashlib.sha256(b"the teacher of fold 1").hexdigest()[:12])
    assert absent == line(2, "first rule unet-cwd-fold2-seed0", teacher=UNPROVED)
    # once more: what is proved is not unproved by a commit that knows another rule
    write_rows(absent)
    assert migrate(then, table, [STUDY]) == [absent]


def test_digests_of_two_parts_are_proved_part_by_part(before):
    then = before("digests.py", LATER_RULE)
    rows = [line(fold, f"later rule unet-cwd-fold{fold}-seed0", teacher="same") for fold in (0, 1, 2)]
    found = migrate(then, write_rows(*rows), [STUDY])
    assert [row["config"] for row in found] == [now(fold) for fold in (0, 1, 2)]
    assert found[2]["teacher"] == "same"  # its weights are gone, its digest stays
    with pytest.raises(
        ValueError, match=r"fold1-seed0 has config later rule .* and teacher another, but that"
    ):
        migrate(then, write_rows(rows[0], {**rows[1], "teacher": "another"}), [STUDY])


@pytest.mark.parametrize(("name", "code"), [("runner.py", FIRST_RULE), ("digests.py", LATER_RULE)])
def test_a_digest_that_the_commit_does_not_compute_is_refused(before, name: str, code: str):
    table = write_rows(line(0, "another"))
    with pytest.raises(
        ValueError, match=r"runs.csv: unet-cwd-fold0-seed0 has config another and .* rule unet"
    ):
        migrate(before(name, code), table, [STUDY])


def test_a_run_that_no_study_names_is_refused(before):
    table = write_rows(line(3, "first rule unet-cwd-fold3-seed0"))
    with pytest.raises(ValueError, match=r"unet-cwd-fold3-seed0 .* none, since its studies have no such run"):
        migrate(before("runner.py", FIRST_RULE), table, [STUDY])


def test_a_line_that_was_unproved_is_proved_once_the_weights_are_there(before):
    then = before("runner.py", FIRST_RULE)
    table = write_rows(line(2, "first rule unet-cwd-fold2-seed0", teacher=UNPROVED))
    (then / "teacher2.pt").write_bytes(b"found again")
    (found,) = migrate(then, table, [STUDY])
    assert found == line(2, now(2), teacher=hashlib.sha256(b"found again").hexdigest()[:12])


@pytest.mark.slow
def test_this_tree_can_be_the_commit_of_the_next_change(before, tmp_path: Path):
    write_study(tmp_path, seeds=[0], arms={"kd": str(ARMS / "logits.yaml")})
    (tmp_path / "dckd_ext").symlink_to(ROOT / "dckd_ext")
    assert digests_of_commit(tmp_path, STUDY) == run_digests(read_study(tmp_path / STUDY))


def test_every_table_and_every_study_is_known():
    tables = {file.parent.name for file in (ROOT / "docs" / "results").glob(f"*/{TABLE}")}
    studies = sorted(file.stem for file in (ROOT / "experiments" / "studies").glob("*.yaml"))
    assert set(RESULTS) == tables
    assert sorted([*PENDING, *(name for names in RESULTS.values() for name in names)]) == studies


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "name"), [(folder, name) for folder, names in RESULTS.items() for name in names]
)
def test_the_committed_results_are_of_the_studies_of_this_tree(folder: str, name: str, tmp_path: Path):
    """After a change of configs that means the same: experiments/migrate_digests.py."""
    study, out = read_study(ROOT / "experiments" / "studies" / f"{name}.yaml"), ROOT / "docs/results" / folder
    todo = [spec.name for spec in _Runner(study, tmp_path, out, ()).open_runs()]
    stopped = ["unet-own_linear_fine_3-fold1-seed1"]  # after one seed, see docs/studies.md
    assert todo == (stopped if name == "dckd_variants" else [])
    known = {spec.name for spec in study.runs()}
    rows = [row for row in read_table(out / TABLE) if row["run"] in known]
    assert {row["run"] for row in rows if row["teacher"] == UNPROVED} == {
        row["run"] for row in rows if int(row["fold"]) in study.teacher_weights
    }
