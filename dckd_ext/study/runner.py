"""Runs a study: each run in a process of its own, finished ones never again, one line a run in a CSV."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from dckd_ext.data.folders import case_list, folder_layout
from dckd_ext.study.digests import UNPROVED, run_digests
from dckd_ext.study.plan import RunSpec, Study
from dckd_ext.study.split import write_small_split
from dckd_ext.utils.children import Children
from dckd_ext.utils.files import written_whole
from dckd_ext.utils.folders import claimed
from dckd_ext.utils.processor import fast_dtype
from dckd_ext.utils.tables import read_table, write_table

__all__ = ["COLUMNS", "TABLE", "run_study"]

TABLE = "runs.csv"
COLUMNS = (
    *("run", "student", "arm", "seed", "fold", "config", "teacher"),
    *("dice_mean", "hd95_mean", "cases", "scores", "steps"),
    *("train_seconds", "step_seconds", "loader_seconds", "peak_mb", "device", "threads", "autocast"),
)
_logger = logging.getLogger(__name__)


def run_study(
    study: Study,
    dataset_dir: str | Path,
    out: str | Path,
    jobs: int = 1,
    devices: Sequence[str] = (),
) -> list[RunSpec]:
    """Do the runs of a study that are not done yet.

    A study that was stopped continues: finished runs have a line in ``runs.csv``, a run that was interrupted
    goes on after its last epoch. A run that fails does not stop the others. The processes of the runs end
    when this one does.

    Args:
        study: what to run.
        dataset_dir: folder of the data.
        out: folder of the results: ``runs.csv``, ``scores/RUN.csv`` with the scores of every case,
            ``splits/``, ``pools/``, and ``work/``, with logs, weights and patches, which may be deleted.
        jobs: runs at the same time.
        devices: such as ``cuda:0``, handed out in turn; none: as the config has it.

    Returns:
        The runs that failed; their log says why.

    Raises:
        FileNotFoundError: when ``dataset_dir`` has no layout that the bundles take, or the teacher of a run
            to do no weights.
        ValueError: when ``runs.csv`` has a run of another configuration or teacher under the same name, or
            the study asks for a split of data that come split.
        OSError: when ``out`` cannot be written to, or another process has it.
    """
    _check_split(study, dataset_dir)
    runner = _Runner(study, Path(dataset_dir).resolve(), Path(out).resolve(), tuple(devices))
    _check_teachers(study, runner.open_runs())
    with claimed(out):
        return runner.do_all(jobs)


@dataclass
class _Runner:
    study: Study
    dataset_dir: Path
    out: Path
    devices: tuple[str, ...]

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self.pool_locks: dict[str, threading.Lock] = {}
        self.children = Children()

    def do_all(self, jobs: int) -> list[RunSpec]:
        """Do the runs without a line in the table; return those that failed."""
        todo, total = self.open_runs(), len(self.study.runs())
        _logger.info("%s: %d of %d runs to do", self.study.name, len(todo), total)
        if unproved := [run for run, line in self.lines().items() if not self.proves(line)]:
            _logger.warning(
                "%s: these runs are taken as done, though their digests are of an older rule that only their "
                "teachers' weights could prove: %s",
                *(self.out / TABLE, ", ".join(unproved)),
            )
        with ThreadPoolExecutor(jobs) as pool:
            try:
                done = list(pool.map(self.do, range(len(todo)), todo))
            except (KeyboardInterrupt, SystemExit):
                self.children.end()
                finished = total - len(self.open_runs())
                _logger.warning("ended: %d of %d runs are done, the same command continues", finished, total)
                raise
        return [spec for spec, succeeded in zip(todo, done, strict=True) if not succeeded]

    def open_runs(self) -> list[RunSpec]:
        """List runs without a line in the table."""
        done = self.lines()
        for line in done.values():
            self.proves(line)
        return [spec for spec in self.study.runs() if spec.name not in done]

    def lines(self) -> dict[str, dict[str, str]]:
        """Return the lines of this study's runs, by the name of the run."""
        names = {spec.name for spec in self.study.runs()}
        rows = read_table(self.out / TABLE, ("run", "config"))
        return {row["run"]: row for row in rows if row["run"] in names}

    @cached_property
    def digests(self) -> dict[str, dict[str, str]]:
        """Digests of every run, by its name."""
        return run_digests(self.study)

    def proves(self, row: Mapping[str, str]) -> bool:
        """Say whether a line's digests are those of its run now; False if nobody can tell.

        Raises:
            ValueError: if they are others.
        """
        now = self.digests[row["run"]]
        if row.get("teacher") == UNPROVED and "teacher" not in now:
            return False  # nor can another run have this teacher
        for column, digest in now.items():
            if row.get(column) != digest:
                what = {"config": "configuration", "teacher": "teacher"}[column]
                raise ValueError(
                    f"{self.out / TABLE}: {row['run']} was run with another {what} ({row.get(column)}, now "
                    f"{digest}): give another --out, or delete its line"
                )
        return True

    def do(self, number: int, spec: RunSpec) -> bool:
        """Do one run and add its line; False if it failed."""
        device = self.devices[number % len(self.devices)] if self.devices else ""
        job = self.job(spec, device)
        if self.study.draws:
            job["pool"] = self.pool(spec, device)
            if not job["pool"]:
                return False
        result = self.start(job)
        if result is None:
            return False
        scores = self.out / "scores" / f"{spec.name}.csv"
        with written_whole(scores) as beside:
            beside.write_text(Path(result["scores"]).read_text(encoding="utf-8"), encoding="utf-8")
        autocast = str(job["options"].get("autocast", ""))
        self.add_line(spec, {**result, "scores": f"scores/{scores.name}"}, scores, autocast)
        return True

    def pool(self, spec: RunSpec, device: str) -> str:
        """Draw the pool that all arms of a seed and fold share, once; empty if that failed."""
        name = f"pool-fold{spec.fold}-seed{spec.seed}"
        with self.lock:
            lock = self.pool_locks.setdefault(name, threading.Lock())
        with lock:
            folder = self.out / "work" / name
            # options of arms have no say in the data
            job = self.job(spec, device)
            options = {"held_out": job["options"]["held_out"], **self.study.options, "val_interval": 1}
            options = _precise(options)
            job |= {"kind": "pool", "folder": str(folder), "overlays": [], "options": options}
            job |= {"draws": self.study.draws}
            record = self.out / "pools" / f"{name}.json"
            if not (folder / "pool.json").is_file() or not record.is_file():
                result = self.start(job)
                if result is None:
                    return ""
                with written_whole(record) as beside:
                    beside.write_text(json.dumps(result, indent=4), encoding="utf-8")
            return str(folder)

    def job(self, spec: RunSpec, device: str) -> dict[str, Any]:
        """Say what the process of a run is told."""
        arm = self.study.arms[spec.arm]
        weights = self.study.teacher_weights.get(spec.fold)
        split_file, fold = self.split(spec)
        given = _comes_split(self.dataset_dir)
        # a small split is without the folds held out
        held_out = [] if self.study.train_cases else list(self.study.held_out)
        return {
            "kind": "run",
            "workflow": str(self.study.workflow),
            "teacher": str(self.study.teacher),
            "student": str(self.study.students[spec.student]),
            "teacher_weights": str(weights) if weights else None,
            "overlays": [str(file) for file in arm.overlays],
            "options": _precise({"held_out": held_out, **self.study.options, **arm.options}),
            "evaluate": _precise({**({"split": "validation"} if given else {}), **self.study.evaluate}),
            "dataset_dir": str(self.dataset_dir),
            "split_file": split_file,
            "fold": fold,
            "seed": spec.seed,
            "folder": str(self.out / "work" / spec.name),
            "device": device,
        }

    def split(self, spec: RunSpec) -> tuple[str, int]:
        """Split file and the number of the fold in it."""
        source = self.whole_split()
        if self.study.train_cases is None:
            return str(source), spec.fold
        target = self.out / "splits" / f"fold{spec.fold}-seed{spec.seed}.json"
        with self.lock:  # runs of a seed share it
            if not source.is_file():
                case_list(str(self.dataset_dir), "all", str(source))  # makes one
            write_small_split(
                source, target, spec.fold, self.study.train_cases, spec.seed, self.study.held_out
            )
        return str(target), 0

    def whole_split(self) -> Path:
        """Return the study's split file, or the one that the workflow's train config names."""
        if self.study.split_file is not None:
            return self.study.split_file
        parser = ConfigParser()
        parser.read_config(str(self.study.workflow / "configs" / "train.yaml"))
        parser.update({"bundle_root": str(self.study.workflow), "dataset_dir": str(self.dataset_dir)})
        return Path(parser.get_parsed_content("split_file"))

    def start(self, job: Mapping[str, Any]) -> dict[str, Any] | None:
        """Run a job in a process of its own; its result, or None if it failed."""
        folder = Path(job["folder"])
        file, log = folder / "job.json", folder / "log.txt"
        folder.mkdir(parents=True, exist_ok=True)
        with written_whole(file) as beside:
            beside.write_text(json.dumps(job, indent=4), encoding="utf-8")
        with open(log, "a", encoding="utf-8") as output:
            command = [sys.executable, "-m", "dckd_ext.study.run", str(file), "--end-with-parent"]
            code = self.children.run(command, output)
        if code is None:
            return None
        if code:
            last = (log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or [""])[-1]
            _logger.error("%s: failed (exit %d), see %s: %s", folder.name, code, log, last)
            return None
        return dict(json.loads((folder / "result.json").read_text(encoding="utf-8")))

    def add_line(self, spec: RunSpec, result: Mapping[str, Any], scores: Path, autocast: str) -> None:
        """Add the line of a finished run to the table."""
        rows = read_table(scores)
        line = {
            **{"run": spec.name, "student": spec.student, "arm": spec.arm},
            **{"seed": spec.seed, "fold": spec.fold, **self.digests[spec.name]},
            **{name: _mean(rows, name) for name in ("dice_mean", "hd95_mean")},
            **{"cases": len(rows), **result},
            "autocast": autocast,
        }
        _logger.info("%s: mean Dice %s", spec.name, line["dice_mean"])
        table = self.out / TABLE
        with self.lock:
            write_table(table, COLUMNS, [*read_table(table), line])


def _precise(options: Mapping[str, Any]) -> dict[str, Any]:
    """Say which precision ``autocast: auto`` is here."""
    return {**options, "autocast": fast_dtype()} if options.get("autocast") == "auto" else dict(options)


def _comes_split(dataset_dir: str | Path) -> bool:
    return folder_layout(str(dataset_dir)) == "tdsc"


def _check_split(study: Study, dataset_dir: str | Path) -> None:
    asked: dict[str, Any] = {"folds": list(study.folds), "held_out": list(study.held_out)}
    asked |= {"train_cases": study.train_cases, "split_file": study.split_file and str(study.split_file)}
    allowed = {"folds": [0], "held_out": [], "train_cases": None, "split_file": None}
    if _comes_split(dataset_dir) and asked != allowed:
        raise ValueError(
            f"{dataset_dir} comes split into Train, Validation and Test, so {study.name} can have neither "
            f"folds but [0] nor held_out, train_cases or split_file, found {asked}"
        )


def _check_teachers(study: Study, todo: Sequence[RunSpec]) -> None:
    for fold in {spec.fold: None for spec in todo}:
        weights = study.teacher_weights.get(fold)
        if weights and not weights.is_file():
            raise FileNotFoundError(
                f"{study.name}: teacher_weights#{fold} names {weights}, which does not exist"
            )


def _mean(rows: Sequence[Mapping[str, Any]], column: str) -> float:
    return round(sum(float(row[column]) for row in rows) / len(rows), 5)
