"""This build beside an older one and beside peers, in one run, as ratios (from the root; `make bench-base`).

    python -m benchmarks.against_base --output runs/bench

Each build is a process of its own with one thread; they take turns, in changing order, and medians are shown.
The processor's seconds are what counts, since other work on the machine changes them little. The older build
is taken from the history of the repository; without it only the peers are measured. Volumes are speckle of
the size of a hippocampus volume: time does not depend on them.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from benchmarks.worker import COPIES

ROOT = Path(__file__).parents[1]
BASE = "3ebd2a7"
VOLUME = (36, 50, 35)  # voxels, a middling hippocampus of Task04
NETWORKS = ("teacher", "unet_student", "hrnet_student")
TASKS = ("bundle run", "predict", "training step")
PEER, OURS = "MONAI's sliding window", "bundle's inferer"


def main() -> None:
    """Measure, print and write against_base.json and against_base.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/bench"), help="folder of the results")
    parser.add_argument("--base", default=BASE, help="commit of the older build")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trees = {"new": ROOT}
        if base_tree(args.base, Path(folder) / "base"):
            trees["base"] = Path(folder) / "base"
        else:
            print(f"there is no commit {args.base} in the history: peers alone are measured", file=sys.stderr)
        rows = [
            row
            for name in args.networks
            for row in measured(trees, name, args.tasks, args.rounds, Path(folder))
        ]
    summary = {
        "processor": processor_name(),
        "base": args.base,
        "rounds": args.rounds,
        "load": os.getloadavg()[0],
        "rows": rows,
    }
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "against_base.json").write_text(json.dumps(summary, indent=1) + "\n")
    (args.output / "against_base.md").write_text(as_markdown(summary))
    print(as_markdown(summary))


def base_tree(commit: str, folder: Path) -> bool:
    """Unpack the files of a commit; False where the history does not have it."""
    command = ["git", "-C", str(ROOT), "archive", "--format=tar", commit]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        return False
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return True


def measured(
    trees: Mapping[str, Path], network: str, tasks: Sequence[str], rounds: int, folder: Path
) -> list[dict[str, Any]]:
    """Seconds of every task in every build, in turns."""
    rows = []
    pairs = [(task, [(build, trees[build], task) for build in trees]) for task in tasks if len(trees) > 1]
    if network != "teacher":
        pairs.append(("peer", [("new", ROOT, OURS), ("peer", ROOT, PEER)]))
    else:
        pairs = [pair for pair in pairs if pair[0] == "predict"]
    for task, sides in pairs:
        workers = {side: _Worker(tree, folder, what, network) for side, tree, what in sides}
        times: dict[str, list[dict[str, float]]] = {side: [] for side in workers}
        for number in range(rounds + 1):
            for side in list(workers) if number % 2 else reversed(list(workers)):
                times[side].append(workers[side].once())
        found = {}
        for side, worker in workers.items():
            middle = {
                key: statistics.median(once[key] for once in times[side][1:]) for key in ("processor", "wall")
            }
            found[side] = {**middle, "kernels": worker.about}
            worker.end()
        rows.append({"network": network, "task": task, "sides": found})
    return rows


class _Worker:
    """A process that has a task ready."""

    def __init__(self, tree: Path, folder: Path, task: str, network: str) -> None:
        own = folder / f"{tree.name}-{task.replace(' ', '_')}-{network}"
        write_volumes(own / "volumes")
        environment = {
            **os.environ,
            "PYTHONPATH": str(tree),
            "OMP_NUM_THREADS": "1",
            "PYTHONWARNINGS": "ignore",
            "DCKD_BENCH_VOLUME": json.dumps(VOLUME),
        }
        command = [sys.executable, str(ROOT / "benchmarks" / "worker.py"), str(tree), str(own), task, network]
        self.log = (own / "log").open("w+")
        self.process = subprocess.Popen(
            command,
            env=environment,
            cwd=own,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
        )
        self.about = self._answer()

    def once(self) -> dict[str, float]:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer: dict[str, float] = self._answer()
        return answer

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        self.log.close()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.log.seek(0)
            raise RuntimeError(f"a worker failed: {self.log.read()[-2000:]}")
        return json.loads(line)


def write_volumes(folder: Path) -> None:
    """Write the same volume under several names."""
    folder.mkdir(parents=True, exist_ok=True)
    speckle = np.random.default_rng(0).rayleigh(30, VOLUME).astype(np.float32)
    for number in range(COPIES):
        nibabel.save(nibabel.Nifti1Image(speckle, np.eye(4)), folder / f"{number}.nii.gz")


def processor_name() -> str:
    """Name of the processor, and what of AVX512 and AMX it has."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in lines.items()}
    has = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in fields.get("flags", "")]
    return f"{fields.get('model name', platform.machine())} ({', '.join(has)})"


def as_markdown(summary: Mapping[str, Any]) -> str:
    """A table of ratios."""
    lines = [
        f"One thread, {summary['processor']}, load {summary['load']:.1f}; medians of {summary['rounds']} "
        f"rounds in turns; base: {summary['base']}.",
        "",
        "| network | what | against | CPU s, now | CPU s, then | ratio | ratio by the clock | kernels |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in summary["rows"]:
        new = row["sides"]["new"]
        other = next(side for side in row["sides"] if side != "new")
        old = row["sides"][other]
        ratios = [old[key] / new[key] for key in ("processor", "wall")]
        name = {"base": "base", "peer": PEER}[other]
        what = "windows in memory" if row["task"] == "peer" else row["task"]
        kernels = f"{_text(new['kernels'])}; before: {_text(old['kernels'])}"
        lines.append(
            f"| {row['network']} | {what} | {name} | {new['processor']:.3f} | {old['processor']:.3f} | "
            f"{ratios[0]:.2f} | {ratios[1]:.2f} | {kernels} |"
        )
    by_network = {row["network"]: row["sides"]["new"] for row in summary["rows"] if row["task"] == "predict"}
    if "teacher" in by_network:
        lines.append("")
        for name, found in by_network.items():
            if name != "teacher":
                ratio = by_network["teacher"]["processor"] / found["processor"]
                lines.append(f"`dckd predict`, teacher / {name}: {ratio:.1f} times the processor's seconds.")
    return "\n".join(lines) + "\n"


def _text(kernels: Any) -> str:
    if isinstance(kernels, str):
        return kernels
    return ", ".join(f"{name} {count}" for name, count in sorted(kernels.items())) or "none"


if __name__ == "__main__":
    main()
