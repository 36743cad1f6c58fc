"""What distillation costs: its loss, a step, waiting for data, and inference (part of `make bench`).

    python -m benchmarks.training --output runs/bench

Writes training.json and training.md. One thread by default; every memory is taken in a process of its own.
CUDA is measured too where there is any.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import bootstrap

from benchmarks import bundle_cost, loss_cost
from benchmarks.formulations import FORMULATIONS
from benchmarks.training_tables import as_markdown

PARTS = ("losses", "steps", "taught", "loader", "inference")


def main() -> None:
    """Measure what the command line asks for; write training.json and training.md."""
    args = _arguments()
    torch.set_num_threads(args.threads)
    if args.memory_of:
        print(json.dumps(loss_cost.memory(args.memory_of, args.references[0], args.devices[0])))
        return
    args.output.mkdir(parents=True, exist_ok=True)
    if "cuda" not in args.devices:
        print("No CUDA here, or not asked for: CPU alone.", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        cases = {part: list(_MEASURES[part](args, Path(folder))) for part in args.parts}
    summary = {"settings": _settings(args), **cases}
    if "losses" in cases:
        summary |= {f"loss_{key}": rows for key, rows in loss_cost.summarise(cases["losses"]).items()}
    (args.output / "training.json").write_text(json.dumps(summary, indent=1) + "\n")
    (args.output / "training.md").write_text(as_markdown(summary))
    print(as_markdown(summary))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--devices", nargs="+", choices=["cpu", "cuda"], default=list(loss_cost.DEVICES))
    parser.add_argument("--references", type=int, nargs="+", default=list(loss_cost.REFERENCES))
    parser.add_argument("--families", nargs="+", choices=["hippocampus", "abus"], default=["hippocampus"])
    parser.add_argument("--rounds", type=int, default=30, help="repetitions of each time")
    parser.add_argument("--cases", type=int, default=40, help="volumes behind the loader")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1], help="of the loader")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("runs/bench"), help="folder of the results")
    parser.add_argument(
        "--memory-of", choices=FORMULATIONS, help=argparse.SUPPRESS
    )  # in a process of its own
    args = parser.parse_args()
    if min(args.rounds, args.cases, args.threads, *args.references) < 1 or min(args.workers) < 0:
        parser.error("--rounds, --cases, --threads and --references must be positive, --workers not negative")
    if "cuda" in args.devices and not torch.cuda.is_available():
        parser.error("--devices cuda, but torch finds no CUDA")
    return args


def _losses(args: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    for device in args.devices:
        for references in args.references:
            times = loss_cost.seconds(references, device, args.rounds)
            for formulation, seconds in times.items():
                gb = _memory(args, formulation, references, device)
                yield _logged(loss_cost.case_of(formulation, references, device, seconds, gb))


def _memory(args: argparse.Namespace, formulation: str, references: int, device: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.training", "--memory-of", formulation]
    command += ["--references", str(references), "--devices", device, "--threads", str(args.threads)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _steps(args: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    for device in args.devices:
        for family in args.families:
            for student in bundle_cost.STUDENTS:
                times = bundle_cost.steps(student, family, device, args.rounds, folder)
                medians = {name: statistics.median(seconds) for name, seconds in times.items()}
                ratio = _ratio(times)
                yield _logged(
                    {"device": device, "student": f"{family} {student}", **medians, **ratio, **_load()}
                )


def _taught(args: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    for device in args.devices:
        for student in bundle_cost.STUDENTS:
            times = bundle_cost.taught_steps(student, device, args.rounds, folder)
            plain = times.pop("plain")
            for name, seconds in times.items():
                medians = {"plain_s": statistics.median(plain), "step_s": statistics.median(seconds)}
                ratio = _interval(np.divide(seconds, plain))
                yield _logged(
                    {"device": device, "student": student, "arm": name, **medians, **ratio, **_load()}
                )


def _ratio(times: dict[str, list[float]]) -> dict[str, float]:
    """Median of the rounds' ratios, and its 95 % interval by bootstrap."""
    parts = np.add(times["teacher_forward"], times["plain_step"])
    return _interval(np.array(times["distillation"]) / parts)


def _interval(ratios: np.ndarray) -> dict[str, float]:
    middle = {"ratio": float(np.median(ratios))}
    if len(ratios) < 3:
        return {**middle, "ratio_low": float(ratios.min()), "ratio_high": float(ratios.max())}
    interval = bootstrap((ratios,), np.median, method="percentile", random_state=0).confidence_interval
    return {**middle, "ratio_low": float(interval.low), "ratio_high": float(interval.high)}


def _loader(args: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    epochs = max(args.rounds // 10, 1)
    for device in args.devices:
        for student in bundle_cost.STUDENTS:
            for workers in args.workers:
                wait = bundle_cost.loader_wait(student, device, folder, args.cases, epochs, workers)
                yield _logged({"device": device, "student": student, "workers": workers, **wait, **_load()})


def _inference(args: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    for device in args.devices:
        kinds = ("teacher", *bundle_cost.STUDENTS)
        seconds = {kind: bundle_cost.inference(kind, device, max(args.rounds // 6, 1)) for kind in kinds}
        for kind, times in seconds.items():
            times_faster = statistics.median(seconds["teacher"]) / statistics.median(times)
            case = {
                "seconds": statistics.median(times),
                "least_seconds": min(times),
                "times_faster": times_faster,
            }
            yield _logged({"device": device, "network": kind, **case, **_load()})


_MEASURES = {
    "losses": _losses,
    "steps": _steps,
    "taught": _taught,
    "loader": _loader,
    "inference": _inference,
}


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    gpu = {"gpu": torch.cuda.get_device_name()} if "cuda" in args.devices else {}
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "torch": torch.__version__, **gpu}
    return {"threads": args.threads, "rounds": args.rounds, **machine}


def _load() -> dict[str, float]:
    return {"load": os.getloadavg()[0]}


def _logged(case: dict[str, Any]) -> dict[str, Any]:
    print(json.dumps(case), file=sys.stderr, flush=True)
    return case


if __name__ == "__main__":
    main()
