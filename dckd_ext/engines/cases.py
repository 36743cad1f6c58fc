"""Case by case, so that one bad file does not cost the others."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ignite.engine import Events
from monai.data import DataLoader, Dataset
from monai.engines import Evaluator
from torch.utils.data import Subset

from dckd_ext.utils.errors import root_cause

__all__ = ["run_each_case"]

_logger = logging.getLogger(__name__)


def run_each_case(evaluator: Evaluator, dataset: Dataset) -> None:
    """Run an evaluator on every case of a dataset by itself; go on after a case that fails.

    The results of a case are freed before the next is read, which matters for volumes of hundreds of
    megabytes. Handlers of the evaluator see a run a case.

    Args:
        evaluator: its data loader is replaced by one of a single case at a time.
        dataset: cases with the key ``image``, a path.

    Raises:
        RuntimeError: at the end, when cases failed; it lists each with its error.
        Exception: at once, whatever goes wrong before the first case is read, such as wrong weights.
    """
    started: list[bool] = []
    errors: list[Exception] = []
    failed: dict[str, BaseException] = {}
    # with a handler for errors the engine ends its run in order and can be run again
    noting = evaluator.add_event_handler(Events.EXCEPTION_RAISED, errors.append)
    reading = evaluator.add_event_handler(Events.GET_BATCH_STARTED, lambda: started.append(True))
    with noting, reading:
        for number, case in enumerate(dataset.data):
            _run_one(evaluator, dataset, number)
            if errors and not started:
                raise errors[0]
            if errors:
                failed[case["image"]] = root_cause(errors[0])
                _logger.error("%s: failed: %s", case["image"], failed[case["image"]])
            errors.clear()
    if failed:
        summary = _summary(failed, len(dataset.data))
        _logger.error(summary)  # MONAI hides the text of an error behind one of its own
        raise RuntimeError(summary) from next(iter(failed.values()))


def _run_one(evaluator: Evaluator, dataset: Dataset, number: int) -> None:
    state: Any = evaluator.state
    evaluator.data_loader = DataLoader(Subset(dataset, [number]), batch_size=1)
    state.epoch_length = 1
    evaluator.run()
    state.batch = state.output = None


def _summary(failed: dict[str, BaseException], count: int) -> str:
    lines = [f"  {Path(name).name}: {type(error).__name__}: {error}" for name, error in failed.items()]
    return "\n".join([f"{len(failed)} of {count} cases failed, the others are done:", *lines])
