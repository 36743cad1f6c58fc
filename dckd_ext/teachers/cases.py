"""The cases of a distillation, after the teachers have answered."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch

from dckd_ext.teachers.answers import AnswerStore
from dckd_ext.utils.errors import listed

__all__ = ["taught_cases"]

Case = dict[str, Any]
_logger = logging.getLogger(__name__)


def taught_cases(
    labelled: Sequence[Case],
    unlabelled: Sequence[Case],
    store: AnswerStore | None,
    preprocessing: Callable[[Any], Any],
    answer_labelled: bool = True,
) -> list[Case]:
    """Have the answers of the teachers stored, and return the cases that can be learnt from.

    An unlabelled volume that cannot be prepared, or in which the teacher finds nothing but background, is
    named in a warning and left out. On several processes the first one asks, the others wait.

    Args:
        labelled: cases with ``label``.
        unlabelled: cases without.
        store: of the answers, or None: the teacher is asked at every step.
        preprocessing: of the training, before it augments.
        answer_labelled: whether the labelled cases get answers as well.

    Raises:
        ValueError: when a labelled case cannot be prepared or has no teacher that held its fold out, or no
            case is left.
    """
    if store is None:
        return [*labelled, *unlabelled]
    if answer_labelled:
        store.check([case["case"] for case in labelled])
    with _first_process_first():
        if answer_labelled:
            store.write(labelled, preprocessing)
        problems = store.write(unlabelled, preprocessing, skip_broken=True)
    if problems:
        told = [f"{name} ({problem})" for name, problem in problems.items()]
        _logger.warning("%d volumes without labels left out: %s", len(told), listed(told))
    left = [case for case in unlabelled if case["case"] not in problems]
    if unlabelled:
        _logger.info("%d of %d volumes without labels teach", len(left), len(unlabelled))
    if not labelled and not left:
        raise ValueError(f"no case is left to learn from, of {len(unlabelled)} volumes without labels")
    return [*labelled, *left]


class _first_process_first:  # noqa: N801 (a context manager, named as a function)
    """Let the first process of a group through the block before the others."""

    def __enter__(self) -> None:
        self.group = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.first = not self.group or torch.distributed.get_rank() == 0
        if not self.first:
            torch.distributed.barrier()

    def __exit__(self, *error: object) -> None:
        if self.group and self.first:
            torch.distributed.barrier()
