"""`dckd study FILE`: the same training in several arms, seeds, students and folds."""

from __future__ import annotations

import logging
from pathlib import Path

from dckd_ext.study import read_study, run_study


def study(file: str, dataset_dir: str, out: str, jobs: int = 1, devices: str | tuple[str, ...] = ()) -> None:
    """Do the runs of a study that are not done yet.

    Args:
        file: the study, see experiments/studies.
        dataset_dir: folder of the data.
        out: folder of the results; with the same folder a study continues.
        jobs: runs at the same time. On a CPU set OMP_NUM_THREADS so that all have a core.
        devices: such as cuda:0,cuda:1, handed out in turn.

    Raises:
        RuntimeError: at the end, when runs failed.
        ValueError: when the study or the folder is not as it should be.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    named = devices.split(",") if isinstance(devices, str) else tuple(devices)
    plan = read_study(str(file))
    failed = run_study(plan, str(dataset_dir), str(out), jobs, named)
    if failed:
        raise RuntimeError(f"{len(failed)} runs failed: {', '.join(spec.name for spec in failed)}")
    print(f"done: {Path(out).resolve() / 'runs.csv'}")
