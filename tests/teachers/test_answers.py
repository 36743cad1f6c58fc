from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from monai.inferers import SimpleInferer, SlidingWindowInferer
from torch import nn

from dckd_ext.inferers import DistillationInferer
from dckd_ext.networks import Teacher
from dckd_ext.teachers import AnswerStore, Ensemble, HeldOutTeachers, answering, taught_cases
from dckd_ext.teachers.coding import decode, encode


class Counting(nn.Module):
    """Three classes by a convolution; counts how often it is asked."""

    def __init__(self, seed: int = 0, background: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.body, self.head = nn.Conv3d(1, 4, 3, padding=1), nn.Conv3d(4, 3, 1)
        self.head.bias.data[0] += background
        self.calls = 0

    def forward(self, image):
        self.calls += 1
        return self.head(self.body(image))


CASES = [{"case": f"c{number}", "image": number} for number in range(3)]


def prepare(case):
    generator = torch.Generator().manual_seed(int(case["image"]))
    return {**case, "image": torch.rand(1, 8, 6, 7, generator=generator)}


def store(folder, network, **options) -> AnswerStore:
    return AnswerStore(folder, answering(network, "all", None, ""), SimpleInferer(), **options)


def names(folder) -> list[str]:
    """All files of a store but its summary."""
    files = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
    return sorted(name for name in files if name != "answers.json")


@pytest.mark.parametrize("scale", [1.0, 5.0, 30.0])
def test_codes_keep_probabilities(scale):
    logits = scale * torch.randn(3, 20, 20, 20, generator=torch.Generator().manual_seed(0))
    exact, found = logits.double().softmax(0), decode(encode(logits)).double().exp()
    relative = (found / exact - 1).abs()
    assert relative[exact > 0.9].max() < 0.006
    assert relative[exact > 0.3].max() < 0.02
    assert (relative[exact > 2e-7] < 0.07).all()
    assert (found[exact < 1e-7] < 2e-7).all()
    soft, expected = (log_p.div(2).softmax(0) for log_p in (decode(encode(logits)), logits))
    assert (soft - expected).abs().max() < 0.01


def test_answers_are_those_of_the_live_teacher_and_asked_once(tmp_path):
    network = Teacher(Counting())
    answers = store(tmp_path, network, tap="body")
    assert answers.write(CASES, prepare) == {}
    for case in CASES:
        image = prepare(case)["image"]
        found, live = answers.read(case["case"], image), answers.ask(case["case"], image)
        torch.testing.assert_close(found.logits.exp(), live.logits.softmax(0), rtol=0.07, atol=1e-6)
        torch.testing.assert_close(found.features, live.features)
        torch.testing.assert_close(
            live.features.float(), network.network.body(image[None])[0], atol=1e-2, rtol=0
        )
    before = network.network.calls
    store(tmp_path, network, tap="body").write(CASES, prepare)
    assert network.network.calls == before


def test_a_run_that_was_stopped_goes_on(tmp_path):
    network = Teacher(Counting())

    def stopped(case):
        if case["case"] == "c2":
            raise KeyboardInterrupt
        return prepare(case)

    with pytest.raises(KeyboardInterrupt):
        store(tmp_path, network).write(CASES, stopped)
    assert names(tmp_path) == ["logits/c0.npz", "logits/c1.npz"]
    store(tmp_path, network).write(CASES, prepare)
    assert network.network.calls == 3


@pytest.mark.parametrize("change", ["teacher", "image", "mirrored axes", "mapped classes", "window"])
def test_another_teacher_image_or_window_is_noticed(tmp_path, change):
    store(tmp_path, Teacher(Counting())).write(CASES, prepare)
    network = Teacher(
        Counting(seed=1 if change == "teacher" else 0),
        {0: 0, 1: 2, 2: 1} if change == "mapped classes" else None,
    )
    network = Ensemble([network], (0,)) if change == "mirrored axes" else network
    inferer = SlidingWindowInferer((4, 4, 4)) if change == "window" else SimpleInferer()
    other = AnswerStore(tmp_path, answering(network, "all", None, ""), inferer)
    image = prepare({"image": 5 if change == "image" else 0})["image"]
    with pytest.raises(ValueError, match=r"c0\.npz: found another teacher's or another image's answer"):
        other.read("c0", image)
    other.write([{"case": "c0", "image": 5 if change == "image" else 0}], prepare)
    assert other.read("c0", image).logits.shape == (3, 8, 6, 7)


def test_a_store_with_features_shares_the_logits_of_one_without(tmp_path):
    network = Teacher(Counting())
    store(tmp_path, network).write(CASES, prepare)
    times = [(tmp_path / name).stat().st_mtime_ns for name in names(tmp_path)]
    other = store(tmp_path, network, tap="body")
    with pytest.raises(ValueError, match=r"features_body/c0\.npz: found no answer"):
        other.read("c0", prepare(CASES[0])["image"])
    other.write(CASES, prepare)
    assert [(tmp_path / name).stat().st_mtime_ns for name in names(tmp_path)[3:]] == times
    assert names(tmp_path) == [f"{room}/c{n}.npz" for room in ("features_body", "logits") for n in range(3)]


@pytest.mark.parametrize("content", [b"", b"broken", None])
def test_a_file_that_got_broken_is_asked_for_again(tmp_path, content):
    answers, image = store(tmp_path, Teacher(Counting())), prepare(CASES[0])["image"]
    answers.write(CASES, prepare)
    file = tmp_path / "logits" / "c0.npz"
    file.write_bytes(file.read_bytes()[:-50] if content is None else content)
    with pytest.raises(ValueError, match=r"c0\.npz: found another"):
        answers.read("c0", image)
    answers.write(CASES, prepare)
    torch.testing.assert_close(
        answers.read("c0", image).logits, decode(encode(answers.ask("c0", image).logits))
    )


def test_the_size_is_said_before_and_after_with_the_agreement(tmp_path, caplog):
    caplog.set_level("INFO")
    answers = store(tmp_path, Teacher(Counting()), tap="body")
    answers.write(CASES, prepare)
    stored = sum((tmp_path / name).stat().st_size for name in names(tmp_path))
    summary = json.loads((tmp_path / "answers.json").read_text())
    assert summary["volumes"] == 3
    assert summary["megabytes"] == pytest.approx(stored / 2**20, abs=1e-3)
    dice = []
    for case in CASES:  # the plain formula, class by class
        image = prepare(case)["image"]
        kept, live = (
            answer.logits.argmax(0).numpy()
            for answer in (answers.read(case["case"], image), answers.ask(case["case"], image))
        )
        found = [
            2 * np.sum((kept == c) & (live == c)) / (np.sum(kept == c) + np.sum(live == c))
            for c in (1, 2)
            if (live == c).any()
        ]
        dice.append(np.mean(found))
    assert summary["dice_to_live_teacher"]["mean"] == pytest.approx(np.mean(dice), abs=2e-5)
    assert summary["dice_to_live_teacher"]["least"] == pytest.approx(min(dice), abs=2e-5)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0].startswith("answers: about 0.0 MB for 3 volumes, in ")
    assert lines[-1].startswith("answers: 3 volumes, 0.0 MB, Dice to the live teacher ")


def test_too_little_space_is_said_after_the_first_answer(tmp_path, monkeypatch):
    network = Teacher(Counting())
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=2000))
    with pytest.raises(OSError, match=r"about 0\.0 MB for 3 volumes, in .*, found 0\.0 MB free on its disk"):
        store(tmp_path, network, tap="body").write(CASES, prepare)
    assert network.network.calls == 1


def test_a_folder_that_cannot_be_written_to_is_named_before_the_teacher_is_asked(tmp_path):
    network = Teacher(Counting())
    (tmp_path / "answers").write_text("a file")
    with pytest.raises(OSError, match=r"cannot write .*answers"):
        store(tmp_path / "answers", network).write(CASES, prepare)
    assert network.network.calls == 0


def test_a_missing_answer_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"c0\.npz: found no answer, expected one to the image of c0"):
        store(tmp_path, Teacher(Counting())).read("c0", torch.zeros(1, 4, 4, 4))


def test_volumes_in_which_the_teacher_finds_nothing_are_named(tmp_path):
    network = Counting(background=100.0)
    assert store(tmp_path, Teacher(network)).write(CASES, prepare) == {
        case["case"]: "the teacher finds nothing in it" for case in CASES
    }


def test_a_tap_of_another_size_is_refused_before_anything_is_kept(tmp_path):
    network = nn.Sequential(nn.Conv3d(1, 2, 2, 2), nn.Upsample(scale_factor=2), nn.Conv3d(2, 3, 1))
    answers = store(tmp_path, Teacher(network), tap="0")
    with pytest.raises(ValueError, match=r"'0' gives maps of \(4, 3, 3\) voxels for a volume of \(8, 6, 6\)"):
        answers.write(CASES[:1], lambda case: {"image": prepare(case)["image"][..., :6]})
    assert names(tmp_path) == []


def test_windows_slide_over_logits_and_features(tmp_path):
    network = Counting()
    inferer = SlidingWindowInferer(roi_size=(4, 4, 4), overlap=0.5, mode="gaussian")
    answers = AnswerStore(tmp_path, answering(Teacher(network), "all", None, ""), inferer, tap="body")
    answer = answers.ask("c0", prepare(CASES[0])["image"])
    expected = inferer(prepare(CASES[0])["image"][None], network)[0]
    torch.testing.assert_close(answer.logits, expected.detach())
    assert answer.features.shape == (4, 8, 6, 7)


def test_the_windows_of_a_volume_have_the_features_of_one_member(tmp_path):
    members = [Teacher(Counting(seed)) for seed in range(3)]
    windows = SlidingWindowInferer((4, 4, 4), overlap=0)
    answers = AnswerStore(tmp_path, answering(Ensemble(members, (0,)), "all", None, ""), windows, tap="body")
    chosen = set()
    for case in CASES:
        image = prepare(case)["image"]
        found = answers.ask(case["case"], image).features
        expected = [windows(image[None], member.network.body)[0].half() for member in members]
        (one,) = [index for index, features in enumerate(expected) if torch.equal(found, features)]
        chosen.add(one)
    assert len(chosen) > 1, "always the same member"


@pytest.fixture
def split(tmp_path):
    file = tmp_path / "splits.json"
    file.write_text(json.dumps({"folds": [["a"], ["b", "c"], ["d"]]}))
    return file


def test_each_case_is_answered_by_the_teacher_that_held_it_out(split):
    image = torch.rand(1, 1, 4, 4, 4)
    networks = {1: Teacher(Counting(1)), 2: Teacher(Counting(2))}
    chosen = HeldOutTeachers(networks, split)
    for case, fold in {"b": 1, "c": 1, "d": 2}.items():
        torch.testing.assert_close(chosen(case)(image), networks[fold](image).log_softmax(1))
    both = np.mean([network(image).softmax(1).numpy() for network in networks.values()], 0)
    np.testing.assert_allclose(chosen("unlabelled")(image).exp().numpy(), both, rtol=1e-5)


def test_a_fold_without_a_teacher_is_named(split):
    chosen = HeldOutTeachers({1: Teacher(Counting())}, split)
    chosen.check(["b", "c", "unlabelled"])
    with pytest.raises(ValueError, match=r"no teacher's weights for fold 0, fold 2"):
        chosen.check(["a", "b", "d"])
    with pytest.raises(ValueError, match=r"no teacher that held out fold 0, of which a is"):
        chosen("a")
    with pytest.raises(ValueError, match=r"names the folds \[7\], .* has 0 to 2"):
        HeldOutTeachers({7: Teacher(Counting())}, split)


def test_cases_that_cannot_be_taught_are_named_and_left_out(tmp_path, caplog):
    def broken(case):
        if case["case"] == "c1":
            raise ValueError("cannot read c1.nii")
        return prepare(case)

    caplog.set_level("INFO")
    answers = store(tmp_path, Teacher(Counting()))
    left = taught_cases([], CASES, answers, broken)
    assert [case["case"] for case in left] == ["c0", "c2"]
    assert "1 volumes without labels left out: c1 (cannot read c1.nii)" in caplog.text
    assert "2 of 3 volumes without labels teach" in caplog.text
    with pytest.raises(ValueError, match=r"cannot read c1\.nii"):
        taught_cases([{**case, "label": "a.nii"} for case in CASES], [], answers, broken)
    empty = store(tmp_path / "empty", Teacher(Counting(background=100.0)))
    with pytest.raises(ValueError, match="no case is left to learn from, of 3 volumes without labels"):
        taught_cases([], CASES, empty, prepare)


def test_without_a_store_nobody_is_asked_but_what_cannot_be_prepared_is_left_out(caplog):
    def broken(case):
        if case["case"] == "c1":
            raise ValueError("cannot read c1.nii")
        return prepare(case)

    assert taught_cases(CASES[:1], CASES[1:], None, prepare) == CASES
    assert taught_cases(CASES[:1], CASES[1:], None, broken) == [CASES[0], CASES[2]]
    assert taught_cases([{**CASES[0], "kind": "M"}], CASES[1:], None, prepare) == CASES, "batches share keys"
    assert "1 volumes without labels left out: c1 (cannot read c1.nii)" in caplog.text


def test_held_out_teaching_needs_a_teacher_for_every_fold(tmp_path, split):
    teacher = Teacher(Counting())
    with pytest.raises(ValueError, match="needs teacher_weights by the fold"):
        answering(teacher, "held_out", "model.pt", split)
    with pytest.raises(ValueError, match="teach must be one of all, held_out, found 'some'"):
        answering(teacher, "some", None, split)
    chosen = answering(teacher, "held_out", {"1": "fold1.pt"}, split)
    answers = AnswerStore(tmp_path / "answers", chosen, SimpleInferer())
    with pytest.raises(ValueError, match="no teacher's weights for fold 0"):
        taught_cases([{"case": "a", "image": 0}], [], answers, prepare)


def test_features_that_are_not_kept_come_from_the_teacher_that_held_the_case_out(split):
    members = {1: Teacher(Counting(1)), 2: Teacher(Counting(2))}
    teacher = Ensemble(list(members.values()))
    answering(teacher, "held_out", {1: "fold1.pt", 2: "fold2.pt"}, split)
    images = torch.rand(3, 1, 4, 4, 4)
    inferer = DistillationInferer(teacher, "body", "body")
    found = inferer(images, Counting(5), cases=["d", "b", "c"])
    for index, fold in enumerate((2, 1, 1)):
        image, network = images[index][None], members[fold].network
        torch.testing.assert_close(found.teacher_features[index][None], network.body(image))
        torch.testing.assert_close(found.teacher_logits[index][None], network(image).log_softmax(1))
    several = DistillationInferer(teacher, ["body"], ["body"])(images, Counting(5), cases=["d", "b", "c"])
    torch.testing.assert_close(several.teacher_features[0], found.teacher_features)
