import re
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler
from monai.inferers import SimpleInferer
from monai.optimizers import WarmupCosineSchedule

from dckd_ext.handlers import ResumeCheckpoint
from dckd_ext.losses import DistillationLoss, Term


class Cases(torch.utils.data.Dataset):
    """Cases by name, as MONAI's datasets have them in ``data``."""

    def __init__(self, names: str) -> None:
        self.data = [{"case": name} for name in names]

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": torch.ones(2), "label": torch.zeros(2), **self.data[index]}


class Taught(SimpleInferer):
    """An inferer with a teacher, as `DistillationInferer` is one."""

    def __init__(self, weight: float) -> None:
        self.teacher = torch.nn.Linear(1, 1)
        torch.nn.init.constant_(self.teacher.weight, weight)
        torch.nn.init.zeros_(self.teacher.bias)


def run(
    path: Path,
    epochs: int,
    resume: bool = False,
    training: str = "ab",
    validation: str = "c",
    decay: float = 0.0,
    dropout: float = 0.0,
    weight: float = 1.0,
    teacher: float = 1.0,
    options: dict[str, Any] | None = None,
    **parts: Any,
) -> SupervisedTrainer:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(dropout))
    optimizer = torch.optim.AdamW(network.parameters(), 0.1, weight_decay=decay)
    loss = DistillationLoss({"segmentation": Term(torch.nn.MSELoss(), weight)})
    loader = torch.utils.data.DataLoader(Cases(training), batch_size=1)
    schedule = WarmupCosineSchedule(optimizer, warmup_steps=1, t_total=epochs * len(loader))
    evaluator = SupervisedEvaluator(
        "cpu", torch.utils.data.DataLoader(Cases(validation)), network, key_val_metric=None
    )
    keep = {"network": network, "optimizer": optimizer, "scheduler": schedule, "loss": loss, **parts}
    checkpoint = ResumeCheckpoint(str(path), keep, evaluator, resume, options=options)
    trainer = SupervisedTrainer(
        device="cpu",
        max_epochs=epochs,
        train_data_loader=loader,
        network=network,
        optimizer=optimizer,
        loss_function=lambda logits, label: torch.nn.functional.mse_loss(logits, label),
        inferer=Taught(teacher),
        train_handlers=[LrScheduleHandler(schedule, print_lr=False, epoch_level=False), checkpoint],
    )
    trainer.run()
    return trainer


def weights(trainer: SupervisedTrainer) -> torch.Tensor:
    return trainer.network[0].weight


def rate(trainer: SupervisedTrainer) -> float:
    return trainer.optimizer.param_groups[0]["lr"]


def test_continues_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = run(tmp_path / "whole.pt", 5)
    save = ResumeCheckpoint.save

    def until_two(self: ResumeCheckpoint, engine: Any) -> None:
        if engine.state.epoch <= 2:
            save(self, engine)

    with monkeypatch.context() as patch:
        patch.setattr(ResumeCheckpoint, "save", until_two)
        run(tmp_path / "cut.pt", 5)
    resumed = run(tmp_path / "cut.pt", 5, resume=True)
    assert resumed.state.iteration == whole.state.iteration == 10
    assert torch.equal(weights(resumed), weights(whole))


def test_a_finished_training_stays_as_it_is(tmp_path: Path):
    whole = run(tmp_path / "whole.pt", 3)
    again = run(tmp_path / "whole.pt", 3, resume=True)
    assert torch.equal(weights(again), weights(whole))
    assert again.state.iteration == 6


def test_with_more_epochs_the_schedule_ends_with_the_last(tmp_path: Path):
    """The cosine's length is part of torch's state; kept, it would let the rate rise again after its end."""
    first = run(tmp_path / "c.pt", 3)
    assert rate(first) == pytest.approx(0, abs=1e-12)
    longer = run(tmp_path / "c.pt", 6, resume=True)
    assert longer.state.epoch == 6
    assert rate(longer) == pytest.approx(0, abs=1e-12)
    assert not torch.equal(weights(longer), weights(first))


def test_without_a_checkpoint_it_starts_and_says_so(tmp_path: Path, caplog):
    run(tmp_path / "none.pt", 1, resume=True)
    assert "no checkpoint" in caplog.text


def test_what_would_be_replaced_is_named(tmp_path: Path, caplog):
    run(tmp_path / "c.pt", 1)
    assert "will be replaced" not in caplog.text
    run(tmp_path / "c.pt", 1)
    assert f"{tmp_path / 'c.pt'} of an earlier training will be replaced; --resume true" in caplog.text


MADE_WITH: dict[str, Any] = {"fold": 0, "seed": 1, "spacing": (1.0, 1.0, 1.0), "limit": None, "epochs": 80}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"options": {**MADE_WITH, "fold": 1}}, "fold: made with 0, now 1"),
        ({"options": {**MADE_WITH, "limit": 3}}, "limit: made with nothing, now 3"),
        (
            {"options": {**MADE_WITH, "spacing": [1.0, 1.0, 2.0]}},
            "spacing: made with [1.0, 1.0, 1.0], now [1.0, 1.0, 2.0]",
        ),
        (
            {"options": {**MADE_WITH, "fold": 1, "seed": 2}},
            "fold: made with 0, now 1; seed: made with 1, now 2",
        ),
        (
            {"training": "ac", "validation": "b"},
            "training cases: made with b, now c; validation cases: made with c, now b",
        ),
        ({"training": "ba"}, "training cases: in another order"),
        ({"validation": "cd"}, "validation cases: made with fewer, now d"),
        ({"training": "a"}, "training cases: made with b, now without them"),
        ({"decay": 0.1}, "optimizer.weight_decay: made with 0.0, now 0.1"),
        ({"dropout": 0.5}, "network.1.p: made with 0.0, now 0.5"),
        ({"weight": 0.5}, "loss.terms.segmentation.weight: made with 1.0, now 0.5"),
        ({"teacher": 0.5}, "digest of the teacher's weights: made with '"),
    ],
)
def test_refuses_what_is_of_another_training(changes: dict[str, Any], expected: str, tmp_path: Path):
    path = tmp_path / "c.pt"
    run(path, 1, options=MADE_WITH)
    before = path.read_bytes()
    text = f"{path} is of another training, so that it cannot be continued. {expected}"
    with pytest.raises(ValueError, match=re.escape(text)):
        run(path, 2, resume=True, **{"options": MADE_WITH, **changes})
    assert path.read_bytes() == before


def test_places_and_hardware_may_change(tmp_path: Path):
    options = {"device": "cuda:0", "num_workers": 0, "output_dir": "a", "epochs": 1, "select": "last"}
    run(tmp_path / "c.pt", 1, options=options)
    changed = {
        "device": torch.device("cpu"),
        "num_workers": 2,
        "output_dir": "b",
        "epochs": 2,
        "select": "best",
    }
    assert run(tmp_path / "c.pt", 2, resume=True, options=changed).state.epoch == 2


def test_refuses_fewer_epochs_than_are_done(tmp_path: Path):
    run(tmp_path / "c.pt", 3)
    with pytest.raises(ValueError, match=r"c\.pt was saved after epoch 3, expected --epochs .*, found 2"):
        run(tmp_path / "c.pt", 2, resume=True)


def test_refuses_other_parts(tmp_path: Path):
    run(tmp_path / "c.pt", 1)
    with pytest.raises(ValueError, match=r"'scheduler'\], expected \['average', 'loss'"):
        run(tmp_path / "c.pt", 2, resume=True, average=torch.nn.Linear(1, 1))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "cannot be read as tensors"),
        (b"PK\x03\x04 no", "cannot be read as tensors"),
        ([1], "expected a checkpoint with .*, found ['list']"),
        ({"weight": torch.zeros(1)}, "expected a checkpoint with .*, found ['weight']"),
        (
            dict.fromkeys(["epoch", "epoch_length", "seconds", "best", "parts"], 0),
            "written by an earlier version",
        ),
    ],
)
def test_what_is_no_checkpoint(content: Any, expected: str, tmp_path: Path):
    path = tmp_path / "c.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    text = re.escape(expected).replace(re.escape(".*"), ".*")
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}.*{text}"):
        run(path, 1, resume=True)


def test_a_cut_checkpoint(tmp_path: Path):
    path = tmp_path / "c.pt"
    run(path, 1)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"c\.pt cannot be read as tensors"):
        run(path, 2, resume=True)
