"""Case by case, so that one bad file does not cost the others."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from os import PathLike
from pathlib import Path
from typing import Any

from ignite.engine import Events
from monai.data import DataLoader, Dataset
from monai.engines import Evaluator
from torch.utils.data import Subset

from dckd_ext.engines.windows import windows_told
from dckd_ext.utils.errors import root_cause
from dckd_ext.utils.folders import claimed

__all__ = ["run_each_case"]

_logger = logging.getLogger(__name__)


def run_each_case(
    evaluator: Evaluator, dataset: Dataset, output_dir: str | PathLike[str] | None = None
) -> None:
    """Run an evaluator on every case of a dataset by itself; go on after a case that fails.

    The results of a case are freed before the next is read, which matters for volumes of hundreds of
    megabytes. Handlers of the evaluator see a run a case. Ctrl-C ends it, and the cases before stay done.

    Args:
        evaluator: its data loader is replaced by one of a single case at a time.
        dataset: cases with the key ``image``, a path.
        output_dir: where results go; no other run can write there meanwhile (`dckd_ext.utils.claimed`).

    Raises:
        RuntimeError: at the end, when cases failed; it lists each with its error.
        OSError: before the first case, when ``output_dir`` cannot be written to or another run has it.
        Exception: at once, whatever goes wrong before the first case is read, such as wrong weights.
    """
    with claimed(output_dir) if output_dir is not None else nullcontext():
        _run_all(evaluator, dataset)


def _run_all(evaluator: Evaluator, dataset: Dataset) -> None:
    started: list[bool] = []
    errors: list[BaseException] = []
    failed: dict[str, BaseException] = {}
    number = 0
    # with a handler for errors the engine ends its run in order and can be run again
    noting = evaluator.add_event_handler(Events.EXCEPTION_RAISED, errors.append)
    reading = evaluator.add_event_handler(Events.GET_BATCH_STARTED, lambda: started.append(True))
    with noting, reading:
        try:
            for number, case in enumerate(dataset.data):
                with windows_told(evaluator, f"volume {number + 1} of {len(dataset.data)}"):
                    _run_one(evaluator, dataset, number)
                if errors and not (started and isinstance(errors[0], Exception)):
                    raise errors[0]
                if errors:
                    failed[case["image"]] = root_cause(errors[0])
                    _logger.error("%s: failed: %s", case["image"], failed[case["image"]])
                errors.clear()
        except KeyboardInterrupt:
            done = number - len(failed)
            _logger.warning("interrupted: %d of %d cases are done", done, len(dataset.data))
            raise
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
