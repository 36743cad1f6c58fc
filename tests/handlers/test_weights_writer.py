import errno
import shutil
from pathlib import Path

import pytest
import torch
from monai.engines import SupervisedTrainer

from dckd_ext.handlers import WeightsWriter, save_weights


def trainer(network: torch.nn.Module, handler) -> SupervisedTrainer:
    batch = {"image": torch.ones(1, 2), "label": torch.ones(1, 2)}
    return SupervisedTrainer(
        device="cpu",
        max_epochs=2,
        train_data_loader=[batch],
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), 0.1),
        loss_function=torch.nn.MSELoss(),
        train_handlers=[handler],
    )


def test_writes_a_flat_state_dict_at_the_end(tmp_path: Path):
    network = torch.nn.Linear(2, 2)
    trainer(
        network, WeightsWriter(network, str(tmp_path / "model.pt"), record=str(tmp_path / "r.json"))
    ).run()
    saved = torch.load(tmp_path / "model.pt", weights_only=True)
    assert set(saved) == {"weight", "bias"}
    assert torch.equal(saved["weight"], network.weight)
    assert '"steps": 2' in (tmp_path / "r.json").read_text()
    assert not (tmp_path / "previous").exists()


def test_keeps_what_was_there_and_says_so(tmp_path: Path, caplog):
    (tmp_path / "model.pt").write_bytes(b"precious")
    network = torch.nn.Linear(2, 2)
    trainer(network, WeightsWriter(network, str(tmp_path / "model.pt"))).run()
    (kept,) = (tmp_path / "previous").iterdir()
    assert kept.read_bytes() == b"precious"
    assert str(kept) in caplog.text


def test_half_precision_keeps_whole_numbers(tmp_path: Path):
    network = torch.nn.BatchNorm1d(3)
    save_weights(network, tmp_path / "model.pt", "float16")
    saved = torch.load(tmp_path / "model.pt", weights_only=True)
    assert saved["weight"].dtype == torch.float16
    assert saved["num_batches_tracked"].dtype == torch.int64


@pytest.mark.parametrize(("value", "dtype"), [(torch.nan, "float32"), (1e5, "float16")])
def test_broken_weights_are_not_written(value: float, dtype: str, tmp_path: Path):
    network = torch.nn.Linear(2, 2)
    network.bias.data[1] = value
    (tmp_path / "model.pt").write_bytes(b"precious")
    with pytest.raises(ValueError, match=rf"model\.pt: not written, .* 1 of 2 tensors .* in {dtype}: bias"):
        save_weights(network, tmp_path / "model.pt", dtype)
    assert (tmp_path / "model.pt").read_bytes() == b"precious"


def test_select_is_checked():
    with pytest.raises(ValueError, match="'last' or 'best', found 'first'"):
        WeightsWriter(torch.nn.Linear(1, 1), "model.pt", select="first")
    with pytest.raises(ValueError, match="needs the evaluator"):
        WeightsWriter(torch.nn.Linear(1, 1), "model.pt", select="best")


def test_weights_that_do_not_fit_on_the_disk_cost_no_others(tmp_path: Path, monkeypatch):
    """The disk fills up while the old weights are kept aside, then while the new ones are written."""
    (tmp_path / "model.pt").write_bytes(b"precious")
    network = torch.nn.Linear(2, 2)

    def full(*paths):
        Path(paths[-1]).write_bytes(b"prec")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copy2", full)
    with pytest.raises(OSError, match=r"cannot write .*previous/model_\d+-\d+\.pt: No space left"):
        trainer(network, WeightsWriter(network, str(tmp_path / "model.pt"))).run()
    assert (tmp_path / "model.pt").read_bytes() == b"precious"
    assert list((tmp_path / "previous").iterdir()) == []
    monkeypatch.undo()
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"cannot write .*/model\.pt: No space left"):
        trainer(network, WeightsWriter(network, str(tmp_path / "model.pt"))).run()
    assert (tmp_path / "model.pt").read_bytes() == b"precious"
    (kept,) = (tmp_path / "previous").iterdir()
    assert kept.read_bytes() == b"precious"
