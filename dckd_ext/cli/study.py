"""`dckd study FILE`: the same training in several arms, seeds, students and folds."""

from __future__ import annotations

import logging
from pathlib import Path

from dckd_ext.cli.values import Integer, Texts

__all__ = ["study"]


def study(
    file: str,
    *,
    dataset_dir: str | None = None,
    out: str | None = None,
    jobs: Integer = 1,
    devices: Texts = (),
    summary_only: bool = False,
) -> None:
    """Do the runs of a study that are not done yet, and sum up in study.md those that are.

    This runs the code of the bundles that the study names: use those that you trust (docs/security.md).
    Studies may share a folder, and with it the runs that they have in common; the tables are of this study's
    runs alone.

    Args:
        file: the study, see experiments/studies.
        dataset_dir: folder of the data.
        out: folder of the results, runs/NAME by default; with the same folder a study continues.
        jobs: runs at the same time. On a CPU set OMP_NUM_THREADS so that all have a core.
        devices: such as cuda:0,cuda:1, handed out in turn.
        summary_only: no runs, only the tables and curves of those that are done.

    Raises:
        ValueError: when the study or the folder is not as it should be; at the end, when runs failed.
        OSError: when the folder cannot be written to, or another process has it.
    """
    from dckd_ext.study import read_study, run_study, write_summary

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if jobs < 1:
        raise ValueError(f"jobs: found {jobs}, expected a whole number above 0")
    plan = read_study(file)
    folder = Path(out or f"runs/{plan.name}")
    failed = []
    if not summary_only:
        if not dataset_dir or not Path(dataset_dir).is_dir():
            raise ValueError(f"dataset_dir {dataset_dir!r} is no folder: give --dataset_dir")
        failed = run_study(plan, dataset_dir, folder, jobs, devices)
    text = write_summary(folder, plan.name, plan.baselines, {spec.name for spec in plan.runs()})
    print(text.read_text(encoding="utf-8"))
    print(f"summary: {text.resolve()}")
    if failed:
        raise ValueError(f"{len(failed)} runs failed: {', '.join(spec.name for spec in failed)}")
