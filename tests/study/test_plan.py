from __future__ import annotations

import itertools
import re
from dataclasses import fields
from pathlib import Path

import pytest

from dckd_ext.study import read_study
from dckd_ext.study.digests import run_digests
from dckd_ext.study.plan import Study
from tests.study.examples import ARMS, write_study

ROOT = Path(__file__).parents[2]


def test_every_combination_is_one_run_and_arms_of_a_seed_stand_together(tmp_path: Path):
    study = read_study(write_study(tmp_path, seeds=[3, 5], folds=[0, 2]))
    runs = [(run.fold, run.seed, run.student, run.arm) for run in study.runs()]
    assert runs == list(itertools.product([0, 2], [3, 5], ["unet"], ["plain", "kd"]))
    assert len({run.name for run in study.runs()}) == len(runs)


def test_paths_are_relative_to_the_file(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("seed: 1")
    arms = {"mine": "mine.yaml", "longer": {"overlays": ["mine.yaml"], "options": {"epochs": 9}}, "bare": {}}
    study = read_study(write_study(tmp_path, arms=arms))
    assert study.arms["mine"].overlays == (tmp_path / "mine.yaml",)
    assert study.arms["longer"].options == {"epochs": 9}
    assert study.arms["bare"].overlays == ()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"sedes": [0]}, r"unknown keys \['sedes'\]"),
        ({"arms": {}}, "'arms' should map names to files"),
        ({"arms": {"a": {"overlay": "x"}}}, r"arm 'a' has unknown keys \['overlay'\]"),
        ({"seeds": []}, "'seeds' should be a list of whole numbers"),
        ({"seeds": [1, 1]}, "'seeds' names a number twice"),
        ({"folds": "0"}, "'folds' should be a list of whole numbers"),
        ({"held_out": [0]}, r"the folds \[0\] are both held out and validated on"),
        ({"held_out": [1, 1]}, "'held_out' names a number twice"),
        ({"draws": 0}, "'draws' should be a whole number above 0 or null"),
        ({"train_cases": 2.5}, "'train_cases' should be a whole number"),
        ({"baselines": ["dckd"]}, r"baselines \['dckd'\] are not among the arms"),
        ({"baselines": "plain"}, "'baselines' should be a list of arms, found 'plain'"),
        ({"name": 7}, "'name' should be a text, found 7"),
        ({"workflow": ["a"]}, "'workflow' should be a text"),
        ({"students": ["a"]}, "'students' should map names to files"),
        ({"students": {"unet": None}}, "'students#unet' should be a path, found None"),
        ({"seeds": [True]}, "'seeds' should be a list of whole numbers"),
        ({"options": ["epochs"]}, "'options' should map config ids to values"),
        (
            {"options": {"split_file": "a.json"}},
            "'options' sets 'split_file', which the study itself sets for ev",
        ),
        (
            {"options": {"fold": 1}},
            r"'options' sets 'fold'.*students, seeds, folds, held_out, teacher_weights, s",
        ),
        ({"evaluate": {"split": "all"}}, "'evaluate' sets 'split'"),
        ({"evaluate": {"checkpoint": "a.pt"}}, "'evaluate' sets 'checkpoint'"),
        ({"arms": {"a": {"options": {"seed": 3}}}}, "'arms#a#options' sets 'seed'"),
        ({"split_file": 3}, "'split_file' should be a text, found 3"),
        ({"evaluate": 3}, "'evaluate' should map config ids to values"),
        ({"teacher_weights": ["a.pt"]}, "'teacher_weights' should map numbers of folds to files"),
        ({"arms": {"plain": 3}}, "arm 'plain' should be a list of overlays"),
        ({"arms": {"plain": {"options": 3}}}, "arm 'plain' should be a list of overlays"),
        ({"seeds": [-1]}, "'seeds' should be a list of whole numbers from 0 on, found"),
        ({"folds": [1.0]}, "'folds' should be a list of whole numbers from 0 on, found"),
        ({"name": "../mine"}, r"'name' has '\.\./mine', expected letters"),
        ({"students": {"unet": "x", "..": "x"}}, r"'students' has '\.\.', expected letters"),
        *(
            ({"arms": {"plain": [], name: []}}, f"'arms' has {re.escape(repr(name))}, expected letters")
            for name in (
                "../up",
                "a/b",
                "a\\b",
                "/abs",
                "",
                " ",
                ".hidden",
                "-x",
                "a b",
                "a\nb",
                "ä",
                "C:x",
                "a" * 65,
            )
        ),
        ({"arms": {"kd": [], "KD": []}}, "arm 'KD' of student 'unet' would have the name of arm 'kd'"),
        (
            {"students": {"a": "x", "a-b": "x"}, "arms": {"b-c": [], "c": []}},
            "arm 'c' of student 'a-b' would have the name of arm 'b-c' of student 'a': a-b-c",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, changes: dict, text: str):
    file = write_study(tmp_path, **changes)
    with pytest.raises(ValueError, match=text) as caught:
        read_study(file)
    assert str(file) in str(caught.value)


def test_missing_files_and_keys_are_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=re.escape("arms#x names")):
        read_study(write_study(tmp_path, arms={"x": "absent.yaml"}))
    with pytest.raises(FileNotFoundError, match="students#unet names"):
        read_study(write_study(tmp_path, students={"unet": "absent"}))
    file = tmp_path / "half.yaml"
    file.write_text("name: x")
    with pytest.raises(ValueError, match=r"lacks the keys.*'arms'"):
        read_study(file)
    file.write_text("- x")
    with pytest.raises(ValueError, match="expected names with values, found list"):
        read_study(file)
    file.write_text("name: x\n5: x")
    with pytest.raises(ValueError, match=r"unknown keys \['5'\]"):
        read_study(file)
    file.write_text("name: [x\nseeds: 3")
    with pytest.raises(ValueError, match=r"half\.yaml: expected YAML, found while parsing .* line 2"):
        read_study(file)


@pytest.mark.parametrize("file", sorted((ARMS.parent / "studies").glob("*.yaml")), ids=lambda file: file.stem)
def test_shipped_studies_can_be_read(file: Path):
    study = read_study(file)
    assert study.runs()
    assert {"plain", "kd"} & set(study.arms)  # something to compare with
    ours = [run for run in study.runs() if run.arm == "dckd"]
    for arm in study.arms if ours else ():  # a study of one setting of ours has no such arm
        assert len(ours) >= len([run for run in study.runs() if run.arm == arm])


def test_the_example_of_the_docs_is_a_study(tmp_path: Path):
    text = (ROOT / "docs" / "study.md").read_text().split("```yaml\n")[1].split("```")[0]
    for name in ("bundles", "experiments"):
        (tmp_path / name).symlink_to(ROOT / name)
    file = tmp_path / "mine.yaml"
    file.write_text(
        text.replace("my_teacher", "hippocampus_teacher").replace("my_student", "hippocampus_unet_student")
    )
    study = read_study(file)
    assert list(study.arms) == ["plain", "kd", "cwd", "cwd_strong"]
    assert len(study.runs()) == 12
    digests = {each["config"] for each in run_digests(study).values()}
    assert len(digests) == 12  # the arms do differ
    keys = re.findall(r"^\| `(\w+): ", (ROOT / "docs" / "study.md").read_text(), re.MULTILINE)
    assert set(keys) < {each.name for each in fields(Study)}
    assert len(keys) == 7
