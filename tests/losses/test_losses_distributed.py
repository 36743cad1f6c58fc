"""Two gloo processes: projectors and banks stay equal although the data differ."""

from __future__ import annotations

import socket
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from dckd_ext.engines.process_group import leave_process_group
from dckd_ext.losses import CWDLoss, DecoupledContrastiveLoss, DistillationLoss, RankingLoss, Term
from dckd_ext.losses.peers import CIRKDLoss, FitNetLoss
from tests.losses.batch_examples import SIZE, cubes, output_for, sampler

STEPS = 4
IGNORED = torch.full((1, 1, *SIZE), 255.0)


def label_of(rank: int, step: int) -> torch.Tensor:
    """Rank 1 never sees foreground, has a batch of another size and once no labelled voxel at all."""
    if rank == 0:
        return cubes(2)
    return IGNORED if step == 2 else torch.zeros_like(IGNORED)


def train(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    torch.manual_seed(rank)
    loss = DistillationLoss(
        {
            "dcl": Term(DecoupledContrastiveLoss(), ramp=(0.0, 0.5)),
            "ranking": Term(RankingLoss(), ramp=(0.0, 0.5)),
            "cirkd": Term(CIRKDLoss(), ramp=(0.0, 0.5)),
            "fitnet": Term(FitNetLoss(3, 5), ramp=(0.0, 0.5)),
            "cwd": Term(CWDLoss(3, 5), ramp=(0.5, 0.6)),
        },
        pairs=sampler(),
    )
    start = {name: p.detach().clone() for name, p in loss.named_parameters()}
    names = [name for name, _ in loss.named_parameters()]
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.1)
    for step in range(STEPS):
        loss.progress = step / STEPS
        label = label_of(rank, step)
        optimizer.zero_grad()
        loss(output_for(label), label).backward()
        optimizer.step()
    assert [name for name, _ in loss.named_parameters()] == names
    torch.save({"state": loss.state_dict(), "start": start}, f"{folder}/{rank}.pt")
    leave_process_group()


@pytest.mark.slow
def test_projectors_and_banks_are_equal_on_both_ranks(tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(train, (port, str(tmp_path)), nprocs=2, daemon=True)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    first_weight = "pairs.projector.module.0.weight"
    assert not torch.equal(first["start"][first_weight], second["start"][first_weight])
    assert first["state"].keys() == second["state"].keys() == sampler_keys() | peer_keys()
    for key, value in first["state"].items():
        assert torch.equal(value, second["state"][key]), key
    moved = {name for name, value in first["start"].items() if not torch.equal(first["state"][name], value)}
    assert {
        first_weight,
        "losses.fitnet.projector.module.weight",
        "losses.cwd.projector.module.weight",
    } <= moved
    assert first["state"]["pairs.bank.voxels.count"].min() > 0


def sampler_keys() -> set[str]:
    return {f"pairs.{key}" for key in sampler().state_dict()}


def peer_keys() -> set[str]:
    return {
        f"losses.{name}.projector.module.{part}" for name in ("fitnet", "cwd") for part in ("weight", "bias")
    }
