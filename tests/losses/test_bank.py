from __future__ import annotations

import pytest
import torch

from dckd_ext.losses.bank import ReferenceBank, References


def rows(classes: list[int], cases: list[int], region: bool = False, channels: int = 2) -> References:
    """References whose features are their case id."""
    n = len(classes)
    return References(
        torch.tensor(cases).float()[:, None].expand(n, channels),
        torch.tensor(classes),
        torch.tensor(cases),
        torch.tensor(cases) % 2 == 0,
        torch.full((n,), region),
    )


def stored(bank: ReferenceBank) -> set[tuple[int, int, float, bool, bool]]:
    columns = bank.references()
    return {
        (int(c), int(i), float(f[0]), bool(inside), bool(region))
        for f, c, i, inside, region in zip(*columns, strict=True)
    }


def test_a_cold_bank_gives_no_rows():
    assert [len(column) for column in ReferenceBank(3, 2).references()] == [0] * 5


def test_only_filled_rows_come_out_with_class_case_and_flags():
    bank = ReferenceBank(3, 2, voxel_rows=4, region_rows=2)
    bank.enqueue(rows([2, 0, 2], [10, 11, 13]))
    bank.enqueue(rows([2], [14], region=True))
    assert stored(bank) == {
        (2, 10, 10.0, True, False),
        (0, 11, 11.0, False, False),
        (2, 13, 13.0, False, False),
        (2, 14, 14.0, True, True),
    }


@pytest.mark.parametrize("step", [1, 2, 3, 5, 9])
def test_the_ring_keeps_the_latest_rows_of_each_class(step):
    bank = ReferenceBank(2, 2, voxel_rows=4, region_rows=1)
    history: dict[int, list[int]] = {0: [], 1: []}
    for start in range(0, 18, step):
        cases = list(range(start, min(start + step, 18)))
        classes = [int(case % 3 == 0) for case in cases]
        bank.enqueue(rows(classes, cases))
        for c, case in zip(classes, cases, strict=True):
            history[c].append(case)
    assert {(c, case) for c, case, *_ in stored(bank)} == {(c, i) for c in history for i in history[c][-4:]}


def test_the_state_dict_round_trips_and_the_rings_go_on_where_they_were():
    bank, copy = ReferenceBank(2, 2, 4, 2), ReferenceBank(2, 2, 4, 2)
    bank.enqueue(rows([0, 1, 1, 0, 1, 1, 1], list(range(7))))
    copy.load_state_dict(bank.state_dict())
    for each in (bank, copy):
        each.enqueue(rows([1, 0], [7, 8]))
    assert stored(bank) == stored(copy)
    assert not list(bank.parameters())


def test_rows_that_came_out_do_not_change_later():
    bank = ReferenceBank(1, 2, 2, 1)
    bank.enqueue(rows([0, 0], [1, 2]))
    before = bank.references()
    bank.enqueue(rows([0, 0], [3, 4]))
    assert before.features[:, 0].tolist() == [1, 2]


def test_refuses_other_channels_and_sizes():
    with pytest.raises(ValueError, match=r"shape \(Q, 2\), got \(1, 3\)"):
        ReferenceBank(2, 2).enqueue(rows([0], [0], channels=3))
    with pytest.raises(ValueError, match=r"must be positive.*'voxel_rows': 0"):
        ReferenceBank(2, 2, voxel_rows=0)
