"""Two gloo processes leave their group although DDP still holds it."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from dckd_ext.engines.process_group import leave_process_group

GROUPS = 30  # with destroy_process_group in its place, one of the first twenty hung in each of four trials


def join_and_leave(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    for number in range(GROUPS):
        distributed.init_process_group(
            "gloo", f"file://{folder}/{number}", rank=rank, world_size=2, timeout=timedelta(seconds=60)
        )
        network = DistributedDataParallel(nn.Linear(8, 8))
        network(torch.ones(1, 8)).sum().backward()
        gathered = [torch.empty(3), torch.empty(3)]
        distributed.all_gather(gathered, torch.full((3,), float(rank)))
        assert [int(part[0]) for part in gathered] == [0, 1]
        leave_process_group()
        assert not distributed.is_initialized()
        del network


@pytest.mark.slow
def test_groups_are_left_while_ddp_lives(tmp_path: Path):
    processes = multiprocessing.spawn(join_and_leave, (str(tmp_path),), nprocs=2, join=False)
    end = time.monotonic() + 300
    try:
        while not processes.join(timeout=1):
            assert time.monotonic() < end, "a process hangs"
    finally:
        for process in processes.processes:
            process.kill()


def test_without_a_group():
    leave_process_group()
    assert not distributed.is_initialized()
