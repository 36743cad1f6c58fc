"""Small feature maps of a student and a teacher that differ in channels and size, and plain-loop helpers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import Tensor

STUDENT = (3, 4, 4, 3)  # channels, then size
TEACHER = (5, 2, 4, 6)
GRID = (2, 4, 3)  # the smaller of the two, axis by axis
LABEL = (4, 8, 6)
NUM_CLASSES = 3

Cell = tuple[int, int, int]


def maps(batch: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(batch, *STUDENT, generator=generator).requires_grad_()
    return student, torch.randn(batch, *TEACHER, generator=generator)


def random_label(batch: int = 2, seed: int = 0, among: tuple[int, ...] = (0, 1, 2)) -> Tensor:
    """Classes in blocks, so that most cells have a clear one."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(len(among), (batch, 1, 2, 4, 3), generator=generator)
    blocks = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4)
    return torch.tensor(among)[blocks].float()


def grid_cells() -> list[Cell]:
    return list(itertools.product(*map(range, GRID)))


def block(volume: np.ndarray, cell: Cell) -> np.ndarray:
    """The voxels ``(C, ...)`` of a case that fall into a cell of the grid."""
    parts = [
        slice(i * size // edge, (i + 1) * size // edge)
        for i, size, edge in zip(cell, volume.shape[1:], GRID, strict=True)
    ]
    return volume[(slice(None), *parts)]


def vectors(volume: Tensor) -> list[dict[Cell, np.ndarray]]:
    """For each case the mean vector of every cell, in float64."""
    cases = volume.detach().double().numpy()
    return [{cell: block(case, cell).mean((1, 2, 3)) for cell in grid_cells()} for case in cases]


def classes(label: Tensor) -> list[dict[Cell, int | None]]:
    """For each case the class that fills most of every cell, None where no class fills any."""
    result = []
    for case in label.numpy():
        found: dict[Cell, int | None] = {}
        for cell in grid_cells():
            inside = block(case, cell).flatten().tolist()
            counts = [inside.count(c) for c in range(NUM_CLASSES)]
            found[cell] = counts.index(max(counts)) if max(counts) else None
        result.append(found)
    return result


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))


def softmax(values: list[float]) -> list[float]:
    exponentials = [math.exp(v - max(values)) for v in values]
    return [e / sum(exponentials) for e in exponentials]


def divergence(teacher: list[float], student: list[float]) -> float:
    """KL(teacher || student) of two distributions."""
    return sum(t * math.log(t / s) for t, s in zip(teacher, student, strict=True) if t > 0)


def project(cells: list[dict[Cell, np.ndarray]], loss: torch.nn.Module) -> list[dict[Cell, np.ndarray]]:
    """The cells' vectors after the 1x1x1 convolution of a loss."""
    convolution = loss.projector.module
    weight = convolution.weight.detach().double().numpy()[:, :, 0, 0, 0]
    bias = convolution.bias.detach().double().numpy()
    return [{cell: weight @ vector + bias for cell, vector in case.items()} for case in cells]
