from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dckd_ext.inferers import DistillationInferer
from dckd_ext.study.pool import PatchPool, _one_patch, _open, write_pool
from tests.conftest import SMALL, workflow
from tests.utils.test_files import small_disk  # noqa: F401 a fixture


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory, msd: Path, teacher_weights: Path):
    folder = tmp_path_factory.mktemp("pool")
    settings = {**SMALL, "dataset_dir": str(msd), "split_file": str(msd / "splits.json")}
    flow = workflow(
        *("distillation", "train.yaml", "train"), **settings, teacher_weights=str(teacher_weights)
    )
    flow.initialize()
    return flow.parser, folder, write_pool(flow.parser, folder, draws=3, seed=1)


def test_holds_patches_of_every_case_and_what_the_teacher_says_to_them(drawn):
    parser, folder, record = drawn
    pool = PatchPool(folder)
    names = {case["case_id"] for case in parser.get_parsed_content("train#dataset#data")}
    assert {pool[index]["case_id"] for index in range(len(pool))} == names
    assert record["bytes"] == sum(array.nbytes for array in pool.arrays.values())
    teacher = parser.get_parsed_content("teacher")
    tap = parser.get_parsed_content("teacher_tap")
    item = pool[0]
    image = item["image"][None].float()
    assert image.shape[2:] == tuple(SMALL["patch_size"])
    expected = DistillationInferer(teacher, None, tap)(image, torch.nn.Identity())
    # the image was rounded to float16 after the teacher had seen it
    torch.testing.assert_close(
        item["teacher_logits"][None].float(), expected.teacher_logits, atol=0.02, rtol=0.02
    )
    torch.testing.assert_close(
        item["teacher_features"][None].float(), expected.teacher_features, atol=0.02, rtol=0.02
    )
    assert item["label"].dtype == torch.uint8
    assert set(item["label"].unique().tolist()) <= {0, 1, 2}


def test_draws_differ_and_follow_the_random_state(drawn):
    pool = PatchPool(drawn[1])
    assert not np.array_equal(pool.arrays["image"][0, 0], pool.arrays["image"][0, 1])

    def sequence(seed: int) -> list[float]:
        pool.set_random_state(seed)
        return [float(pool[0]["image"].float().sum()) for _ in range(12)]

    assert sequence(3) == sequence(3)
    assert len(set(sequence(3))) == 3


def test_a_finished_pool_is_kept(drawn):
    parser, folder, record = drawn
    before = (folder / "image.npy").stat().st_mtime_ns
    assert write_pool(parser, folder, draws=9, seed=9) == record
    assert (folder / "image.npy").stat().st_mtime_ns == before


def test_several_patches_a_case_are_refused():
    patch = {"image": torch.zeros(1)}
    assert _one_patch(patch) is _one_patch([patch]) is patch
    with pytest.raises(ValueError, match="takes one patch a case, found 2: set num_samples to 1"):
        _one_patch([patch, patch])


def test_an_unfinished_pool_is_refused(tmp_path: Path):
    with pytest.raises(
        FileNotFoundError, match=r"holds no finished pool of patches \(pool.json is missing\)"
    ):
        PatchPool(tmp_path)


def test_a_pool_that_does_not_fit_on_the_disk_is_refused_before_it_is_drawn(small_disk: Path):  # noqa: F811
    patch = {"image": np.zeros((1, 32, 32, 32)), "label": np.zeros((1, 32, 32, 32))}
    with pytest.raises(
        OSError, match=r"cannot write .*/image\.npy: No space left .* MB are free on the disk"
    ):
        _open(small_disk, patch, (100, 25))
