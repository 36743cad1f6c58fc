from __future__ import annotations

import multiprocessing
import socket
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
import torch
from torch import distributed
from torch.utils.data import RandomSampler

from dckd_ext.data.sampling import MixedSampler


def cases(labelled: int, unlabelled: int) -> list[dict[str, str]]:
    return [{"label": "x"}] * labelled + [{}] * unlabelled


@pytest.mark.parametrize(
    ("batch_size", "share", "expected"), [(2, 0.5, 1), (4, 0.5, 2), (4, 0.7, 3), (4, 0.01, 1), (4, 0.99, 3)]
)
def test_every_batch_has_its_share(batch_size, share, expected):
    sampler = MixedSampler(cases(7, 20), batch_size, share)
    order = list(sampler)
    assert len(order) == len(sampler)
    assert len(order) % batch_size == 0
    for start in range(0, len(order), batch_size):
        assert sum(index >= 7 for index in order[start : start + batch_size]) == expected
    assert set(order) >= set(range(7))  # each labelled case takes part


def test_no_unlabelled_case_comes_twice_before_all_have_come():
    order = [index for index in MixedSampler(cases(10, 4), 2) if index >= 10]
    assert sorted(order[:4]) == sorted(order[4:8]) == [10, 11, 12, 13]
    assert max(Counter(order).values()) == 3


@pytest.mark.parametrize(("labelled", "unlabelled"), [(9, 0), (0, 9)])
def test_with_one_kind_alone_it_is_the_order_of_torch(labelled, unlabelled):
    torch.manual_seed(3)
    expected = list(RandomSampler(range(9)))
    torch.manual_seed(3)
    assert list(MixedSampler(cases(labelled, unlabelled), 2)) == expected


def test_an_epoch_is_a_function_of_the_seed():
    sampler = MixedSampler(cases(5, 8), 2)
    orders = []
    for seed in (0, 1, 0):
        torch.manual_seed(seed)
        orders.append(list(sampler))
    assert orders[0] == orders[2] != orders[1]


@pytest.mark.parametrize(
    ("batch_size", "share", "text"), [(1, 0.5, "batch_size must be 2"), (2, 0.0, "share"), (2, 1.0, "share")]
)
def test_refuses(batch_size, share, text):
    with pytest.raises(ValueError, match=text):
        MixedSampler(cases(2, 2), batch_size, share)


def epochs_of(rank: int, port: int, results: Any, labelled: int, unlabelled: int) -> None:
    distributed.init_process_group(
        "gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    sampler = MixedSampler(cases(labelled, unlabelled), batch_size=4, share=0.25)
    orders = []
    for epoch in range(2):
        torch.manual_seed(100 * epoch + rank)  # as EpochSeed does, other numbers in each process
        orders.append(list(sampler))
        assert len(orders[-1]) == len(sampler)
    results.put((rank, orders))
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.mark.parametrize(("labelled", "unlabelled"), [(13, 5), (9, 0), (0, 7)])
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_two_gloo_processes_share_an_epoch_and_each_batch_has_its_share(labelled, unlabelled):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        context.Process(target=epochs_of, args=(rank, port, results, labelled, unlabelled)) for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    orders = dict(results.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    for first, second in zip(orders[0], orders[1], strict=True):
        assert len(first) == len(second)
        together = Counter(first + second)
        own = [index for index in together if index < labelled]
        if labelled:
            assert sorted(own) == list(range(labelled))  # each labelled case takes part
            assert sum(together[index] for index in own) < labelled + 2 * 3  # few twice, to fill up
        if labelled and unlabelled:
            for order in (first, second):
                for start in range(0, len(order), 4):
                    assert sum(index >= labelled for index in order[start : start + 4]) == 1
        else:
            assert sorted(together) == list(range(labelled or unlabelled))
    assert orders[0][0] != orders[0][1]
