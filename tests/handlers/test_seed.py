import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import DataLoader, Dataset
from monai.transforms import RandGaussianNoised

from dckd_ext.handlers import EpochSeed


def loader(workers: int, **kwargs) -> DataLoader:
    data = [{"image": torch.zeros(1, 2)} for _ in range(6)]
    transform = RandGaussianNoised("image", prob=1.0)
    return DataLoader(Dataset(data, transform), batch_size=2, shuffle=True, num_workers=workers, **kwargs)


def run(workers: int, first: int, last: int, seed: int = 0, rank: int = 0) -> list[np.ndarray]:
    """What the training sees in the epochs from first to last, as if it was resumed before the first."""
    batches, data = [], loader(workers)
    engine = Engine(lambda _, batch: batches.append(np.array(batch["image"])))
    engine.state.rank = rank
    EpochSeed(seed, data).attach(engine)
    engine.load_state_dict({"epoch_length": 3, "max_epochs": last, "iteration": 3 * (first - 1)})
    engine.run(data)
    return batches


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_an_epoch_is_the_same_whether_resumed_or_not(workers: int):
    whole, resumed = run(workers, 1, 3), run(workers, 3, 3)
    np.testing.assert_array_equal(whole[6:], resumed)
    assert not np.array_equal(whole[3:6], whole[6:])


def test_seeds_and_ranks_differ():
    one = run(0, 1, 1)
    assert np.array_equal(one, run(0, 1, 1))
    assert not np.array_equal(one, run(0, 1, 1, seed=1))
    assert not np.array_equal(one, run(0, 1, 1, rank=1))


def test_refuses_persistent_workers():
    with pytest.raises(ValueError, match="persistent_workers"):
        EpochSeed(0, loader(1, persistent_workers=True))
