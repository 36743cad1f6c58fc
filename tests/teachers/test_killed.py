"""Real processes that store answers, killed at random moments without warning."""

from __future__ import annotations

import multiprocessing
import random
import time
from pathlib import Path

import pytest
import torch

from dckd_ext.networks import Teacher
from dckd_ext.teachers.coding import decode, encode
from tests.teachers.test_answers import Counting, names, prepare, store

CASES = [{"case": f"c{number}", "image": number} for number in range(40)]


def ask(folder: Path) -> None:
    store(folder, Teacher(Counting()), tap="body").write(CASES, prepare)


def stored(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names(folder) if ".partial-" not in name}


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_what_was_stored_when_it_was_killed_is_kept_and_the_rest_is_asked_for(tmp_path):
    chance, folder, before = random.Random(0), tmp_path / "killed", {}
    for _ in range(6):
        process = multiprocessing.get_context("fork").Process(target=ask, args=(folder,))
        process.start()
        while len(stored(folder)) == len(before) and process.is_alive():
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.02))
        process.kill()
        process.join()
        after = stored(folder)
        assert before.items() <= after.items()  # nothing is lost, nothing is written again
        before = after
    assert 0 < len(before) < 2 * len(CASES)
    ask(folder)
    ask(tmp_path / "straight")
    assert before.items() <= stored(folder).items()
    assert stored(folder) == stored(tmp_path / "straight")
    answers = store(folder, Teacher(Counting()), tap="body")
    for case in CASES:
        image = prepare(case)["image"]
        live = answers.ask(case["case"], image)
        assert answers.read(case["case"], image).logits.equal(decode(encode(live.logits)))
        torch.testing.assert_close(answers.read(case["case"], image).features, live.features)
