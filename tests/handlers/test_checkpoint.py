from pathlib import Path

import pytest
import torch
from monai.engines import SupervisedTrainer

from dckd_ext.handlers import ResumeCheckpoint


def run(path: Path, epochs: int, resume: bool = False, batches: int = 2, **parts) -> SupervisedTrainer:
    torch.manual_seed(0)
    network = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(network.parameters(), 0.1)
    batch = {"image": torch.ones(1, 2), "label": torch.zeros(1, 2)}
    trainer = SupervisedTrainer(
        device="cpu",
        max_epochs=epochs,
        train_data_loader=[batch] * batches,
        network=network,
        optimizer=optimizer,
        loss_function=torch.nn.MSELoss(),
        train_handlers=[
            ResumeCheckpoint(str(path), {"network": network, "optimizer": optimizer, **parts}, resume=resume)
        ],
    )
    trainer.run()
    return trainer


def test_continues_exactly(tmp_path: Path):
    whole = run(tmp_path / "whole.pt", 5)
    run(tmp_path / "cut.pt", 2)
    resumed = run(tmp_path / "cut.pt", 5, resume=True)
    assert resumed.state.iteration == whole.state.iteration == 10
    assert torch.equal(resumed.network.weight, whole.network.weight)


def test_a_finished_training_stays_as_it_is(tmp_path: Path):
    whole = run(tmp_path / "whole.pt", 3)
    again = run(tmp_path / "whole.pt", 3, resume=True)
    assert torch.equal(again.network.weight, whole.network.weight)
    assert again.state.iteration == 6


def test_without_a_checkpoint_it_starts_and_says_so(tmp_path: Path, caplog):
    run(tmp_path / "none.pt", 1, resume=True)
    assert "no checkpoint" in caplog.text


def test_refuses_another_number_of_steps(tmp_path: Path):
    run(tmp_path / "c.pt", 1)
    with pytest.raises(ValueError, match=r"c\.pt was made with 2 steps an epoch, found 3"):
        run(tmp_path / "c.pt", 2, resume=True, batches=3)


def test_refuses_other_parts(tmp_path: Path):
    run(tmp_path / "c.pt", 1)
    with pytest.raises(ValueError, match=r"\['network', 'optimizer'\], expected \['average', 'network'"):
        run(tmp_path / "c.pt", 2, resume=True, average=torch.nn.Linear(1, 1))
