from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine
from monai.engines import SupervisedEvaluator

from dckd_ext.handlers import EpochLines, LastValidationHandler
from dckd_ext.handlers.epoch_lines import _duration
from dckd_ext.losses import DistillationLoss, Term


@pytest.fixture
def loss() -> DistillationLoss:
    terms = {
        "segmentation": Term(torch.nn.MSELoss()),
        "logits": Term(torch.nn.MSELoss(), 0.5, ramp=[0.0, 0.5]),
    }
    return DistillationLoss(terms)


def test_an_epochs_line_has_the_mean_of_every_term_with_its_weight(loss, caplog):
    """The second term joins in the last two steps, at half of its weight."""
    caplog.set_level("INFO")
    values = iter([{"segmentation": 1.0}, {"segmentation": 3.0}, {"segmentation": 2.0, "logits": 4.0}] * 2)

    def step(engine: Engine, batch: int) -> None:
        named = next(values)
        loss.progress = 0.25
        total = named["segmentation"] + 0.25 * named.get("logits", 0)
        loss.values = {name: torch.tensor(value) for name, value in {**named, "total": total}.items()}

    engine, evaluator = Engine(step), Engine(lambda *_: None)
    engine.state.device = torch.device("cpu")
    evaluator.data_loader = SimpleNamespace(dataset=[0] * 7)
    evaluator.state.epoch, evaluator.state.metrics = 2, {"val_mean_dice": torch.tensor(0.75)}
    engine.data_loader = SimpleNamespace(dataset=[0] * 5)
    EpochLines(loss, evaluator).attach(engine)
    engine.run([0, 1, 2], max_epochs=2)
    first, second, third = (
        record.getMessage() for record in caplog.records if record.name.startswith("dckd")
    )
    assert first.startswith(f"training on cpu, {torch.get_num_threads()} threads: ")
    assert first.endswith("validation on 7 cases")
    assert second == "epoch 1 of 2: loss 2.3333 = 1 x segmentation 2.0000 + 0.25 x logits 4.0000; 0 s left"
    assert "val_mean_dice 0.7500" in third  # of this epoch; the one before had none


def test_a_duration_has_a_unit_that_suits_it():
    assert [_duration(each) for each in (0.4, 89, 91, 5399, 5401)] == [
        "0 s",
        "89 s",
        "2 min",
        "90 min",
        "1.5 h",
    ]


@pytest.mark.parametrize(("epochs", "expected"), [(5, [2, 4, 5]), (4, [2, 4]), (1, [1])])
def test_the_last_epoch_is_validated_whatever_the_interval(epochs: int, expected: list[int], monkeypatch):
    validated: list[int] = []
    evaluator = SupervisedEvaluator(device="cpu", val_data_loader=[0], network=torch.nn.Identity())
    monkeypatch.setattr(evaluator, "run", validated.append)
    engine = Engine(lambda *_: None)
    LastValidationHandler(2, evaluator).attach(engine)
    engine.run([0], max_epochs=epochs)
    assert validated == expected
