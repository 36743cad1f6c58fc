from __future__ import annotations

import pytest
import torch
from monai.engines import SupervisedTrainer

from dckd_ext.handlers import SkipBrokenSteps


def train(images: list[float], guarded: bool = True, patience: int = 10) -> torch.Tensor:
    torch.manual_seed(0)
    network = torch.nn.Linear(1, 1)
    trainer = SupervisedTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=[
            {"image": torch.full((1, 1), value), "label": torch.zeros(1, 1)} for value in images
        ],
        network=network,
        optimizer=torch.optim.AdamW(network.parameters(), 0.1),
        loss_function=torch.nn.MSELoss(),
        train_handlers=[SkipBrokenSteps(patience)] if guarded else [],
    )
    trainer.run()
    return network.weight.detach()


def test_a_broken_step_is_as_if_it_had_not_been(caplog: pytest.LogCaptureFixture):
    nan, inf = float("nan"), float("inf")
    assert not torch.isfinite(train([1.0, nan, 2.0], guarded=False)).all()
    assert torch.equal(train([1.0, nan, 2.0, inf, 3.0]), train([1.0, 2.0, 3.0], guarded=False))
    assert "epoch 1, iteration 2: step left out" in caplog.text
    assert "iteration 4: step left out" in caplog.text


def test_finite_steps_are_left_alone():
    assert torch.equal(train([1.0, 2.0]), train([1.0, 2.0], guarded=False))


def test_stops_when_it_goes_on():
    nan = float("nan")
    train([nan, nan, 1.0, nan, nan], patience=3)
    with pytest.raises(
        ValueError, match=r"epoch 1, iteration 4: the gradients of 3 steps in a row.*--autocast"
    ):
        train([1.0, nan, nan, nan, 1.0], patience=3)
