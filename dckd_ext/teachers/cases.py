"""The cases of a distillation, after the teachers have answered."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

from dckd_ext.teachers.answers import AnswerStore
from dckd_ext.utils.errors import listed, root_cause

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
    named in a warning and left out. With torchrun each process asks for its share. The cases keep the keys
    that all of them have.

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
        problems = _unprepared(unlabelled, preprocessing)
    else:
        asked = [*labelled, *unlabelled] if answer_labelled else unlabelled
        store.check([case["case"] for case in asked])
        problems = _asked_by_all(store, asked, preprocessing)
    if problems:
        told = [f"{name} ({problem})" for name, problem in problems.items()]
        _logger.warning("%d volumes without labels left out: %s", len(told), listed(told))
    left = [case for case in unlabelled if case["case"] not in problems]
    if unlabelled:
        _logger.info("%d of %d volumes without labels teach", len(left), len(unlabelled))
    if not labelled and not left:
        raise ValueError(f"no case is left to learn from, of {len(unlabelled)} volumes without labels")
    return _with_shared_keys([*labelled, *left])


def _with_shared_keys(cases: Sequence[Case]) -> list[Case]:
    """Leave out what only some cases have, as the kind of a lesion: a batch needs a value of every sample."""
    shared = set[str].intersection(*map(set, cases))
    return [{key: value for key, value in case.items() if key in shared} for case in cases]


def _unprepared(cases: Sequence[Case], preprocessing: Callable[[Any], Any]) -> dict[str, str]:
    """Return which of the cases cannot be prepared, by name, and why."""
    problems = {}
    for case in cases:
        try:
            preprocessing(dict(case))
        except (ValueError, OSError, RuntimeError) as error:
            problems[case["case"]] = str(root_cause(error))
    return problems


def _asked_by_all(
    store: AnswerStore, cases: Sequence[Case], preprocessing: Callable[[Any], Any]
) -> dict[str, str]:
    """Let each process of torchrun ask for its share, then for what the others have not done yet."""
    rank, processes = (int(os.environ.get(name, least)) for name, least in (("RANK", 0), ("WORLD_SIZE", 1)))
    if processes > 1:
        store.write(cases[rank::processes], preprocessing)
    return store.write(cases, preprocessing)
