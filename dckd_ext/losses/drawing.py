"""Random draws of voxels from masks, for all cases and classes at once."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["draw", "draw_half_hard"]


def draw(mask: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Draw up to ``count`` true positions of each row without replacement.

    Args:
        mask: bool, ``(..., N)``.
        count: positions to draw from each row.

    Returns:
        Positions ``(..., min(count, N))`` and a mask of those that are real, which come first.
    """
    keys = torch.rand(mask.shape, device=mask.device).masked_fill_(~mask, -1.0)
    top = keys.topk(min(count, mask.shape[-1]), dim=-1)
    return top.indices, top.values >= 0


def draw_half_hard(mask: Tensor, hard: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Draw up to ``count`` true positions of each row, half of them hard where there are enough of both.

    Hard and easy halves follow Wang et al., "Exploring cross-image pixel contrast for semantic segmentation"
    (ICCV 2021); if one half is short the other fills up.

    Args:
        mask: bool, ``(..., N)``.
        hard: bool, ``(..., N)``.
        count: positions to draw from each row.

    Returns:
        Positions ``(..., 2 min(count, N))`` and a mask of those that are real.
    """
    hard_positions, hard_valid = draw(mask & hard, count)
    easy_positions, easy_valid = draw(mask & ~hard, count)
    num_easy = easy_valid.sum(-1, keepdim=True)
    num_hard = torch.minimum(hard_valid.sum(-1, keepdim=True), (count - num_easy).clamp(min=count // 2))
    rank = torch.arange(hard_positions.shape[-1], device=mask.device)
    hard_valid &= rank < num_hard
    easy_valid &= rank < count - num_hard
    return torch.cat([hard_positions, easy_positions], -1), torch.cat([hard_valid, easy_valid], -1)
