from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from dckd_ext.losses.cells import class_share, main_class
from dckd_ext.losses.maps import bounded, matched, softened_divergence
from tests.losses.map_examples import GRID, NUM_CLASSES, classes, grid_cells, maps, random_label, vectors


def test_maps_meet_on_the_coarser_grid():
    pair = maps()
    for volume, pooled in zip(pair, matched(*pair), strict=True):
        assert pooled.shape[2:] == GRID
        for case, expected in zip(pooled, vectors(volume), strict=True):
            for cell in grid_cells():
                assert case[(slice(None), *cell)].tolist() == pytest.approx(expected[cell], abs=1e-6)


def test_maps_of_other_cases_are_refused():
    student, teacher = maps(2)
    with pytest.raises(ValueError, match="2 of the student and 1 of the teacher"):
        matched(student, teacher[:1])


@pytest.mark.parametrize("among", [(0, 1, 2), (0, 255)])
def test_a_cell_counts_for_the_class_that_fills_most_of_it(among):
    label = random_label(among=among)
    label[:, :, 0, 0, 0] = 1  # a minority in its cell
    masks = main_class(class_share(label, NUM_CLASSES, GRID)).view(2, NUM_CLASSES, *GRID)
    for case, expected in zip(masks, classes(label), strict=True):
        for cell in grid_cells():
            found = case[(slice(None), *cell)].nonzero().flatten().tolist()
            assert found == ([] if expected[cell] is None else [expected[cell]])


@pytest.mark.parametrize(
    ("size", "cells", "grid"),
    [
        ((8, 8, 8), 512, (8, 8, 8)),
        ((32, 48, 32), 512, (8, 6, 8)),
        ((9, 1, 1), 4, (3, 1, 1)),
        ((5, 4, 3), 1, (1, 1, 1)),
    ],
)
def test_a_bounded_map_is_the_mean_over_at_most_so_many_cells(size, cells, grid):
    volume = torch.randn(1, 2, *size)
    pooled = bounded(volume, cells)
    assert pooled[0, 0].numel() <= cells
    torch.testing.assert_close(pooled, F.adaptive_avg_pool3d(volume, grid))


@pytest.mark.parametrize("dim", [0, 1])
def test_divergence_of_softened_distributions(dim):
    student, teacher = torch.randn(3, 4), torch.randn(3, 4)
    rows = zip(*(values.movedim(dim, -1).double() / 2.5 for values in (student, teacher)), strict=True)
    expected = 0.0
    for one, other in rows:
        p, q = other.exp() / other.exp().sum(), one.exp() / one.exp().sum()
        expected += sum(float(a * (a / b).log()) for a, b in zip(p, q, strict=True))
    found = softened_divergence(student, teacher, 2.5, dim)
    assert found.item() == pytest.approx(2.5**2 * expected / student.shape[1 - dim], rel=1e-5)
