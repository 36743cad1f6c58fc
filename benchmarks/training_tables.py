"""Tables of what distillation costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

TITLES = {
    "losses": "Contrastive and ranking term, forward and backward. Highest memory: `allocated_gb` by torch's "
    "count, `resident_gb` of the process.",
    "loss_ratios": "Times slower, and times the memory, than the package's own (`sampled`).",
    "loss_growth": "Exponent over the number of references: 1 is linear, 2 quadratic.",
    "steps": "Median seconds of a distillation step, and of a teacher's forward pass and a plain step; the "
    "median ratio of the first to the sum of the others, with its 95 % interval.",
    "taught": "Median seconds of a step with its batch, by plain training and from stored answers, "
    "and the median of the ratios of all rounds, with its 95 % interval.",
    "loader": "Seconds a step in `next(iterator)` of the loader, the first of an epoch with the iterator's "
    "start, and their share of the whole.",
    "inference": "Seconds a volume of 36 x 50 x 35 voxels by the sliding window of inference.yaml.",
}


def as_markdown(summary: Mapping[str, Any]) -> str:
    """The summary as tables: a part of it that was not measured is left out."""
    settings = ", ".join(f"{key} {value}" for key, value in summary["settings"].items())
    parts = [f"{settings}."]
    for name, title in TITLES.items():
        if summary.get(name):
            parts += [title, _table(summary[name])]
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    head = list(dict.fromkeys(key for row in rows for key in row))
    lines = [head, ["---"] * len(head), *([_cell(row.get(key)) for key in head] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
