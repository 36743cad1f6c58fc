from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dckd_ext.losses.drawing import draw, draw_half_hard


def drawn(positions: torch.Tensor, valid: torch.Tensor) -> list[list[int]]:
    return [p[v].tolist() for p, v in zip(positions, valid, strict=True)]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(1, 15))
def test_draws_true_positions_without_replacement(row, count):
    mask = torch.tensor([row, [False] * len(row)])
    first, empty = drawn(*draw(mask, count))
    assert empty == []
    assert len(first) == len(set(first)) == min(count, sum(row))
    assert all(row[position] for position in first)


def test_every_position_is_drawn_in_the_long_run():
    assert {p for _ in range(200) for p in drawn(*draw(torch.ones(1, 6, dtype=torch.bool), 1))[0]} == set(
        range(6)
    )


@pytest.mark.parametrize(
    ("hard", "easy", "taken_hard", "taken_easy"),
    [(50, 50, 4, 4), (2, 50, 2, 6), (50, 3, 5, 3), (0, 50, 0, 8), (50, 0, 8, 0), (1, 1, 1, 1), (0, 0, 0, 0)],
)
def test_half_is_hard_where_there_are_enough_of_both(hard, easy, taken_hard, taken_easy):
    kind = torch.tensor([[1] * hard + [0] * easy + [2] * 5])
    (positions,) = drawn(*draw_half_hard(kind < 2, kind == 1, 8))
    kinds = kind[0, positions].tolist()
    assert len(set(positions)) == len(positions)
    assert (kinds.count(1), kinds.count(0), kinds.count(2)) == (taken_hard, taken_easy, 0)
