"""What a GPU gives, in one run: trainings, steps, whole volumes, CUDA graphs, TensorRT (`make bench-cuda`).

    python -m benchmarks.cuda --output runs/bench
    python -m benchmarks.cuda --device cpu --small      # everything, on a few voxels: a dry run

Each part is done by itself; one that fails is told with its error and costs no other.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import nn

from benchmarks.bundle_cost import STUDENTS, steps
from tests.conftest import bundle, make_msd

WHOLE, EIGHTH = (433, 124, 421), (64, 48, 64)  # voxels of 0.4 mm; the second for a dry run
PLAIN = "hippocampus_unet_student_segmentation"


def main() -> None:
    """Measure, print and write cuda.json; the exit code is 1 when a part failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="few voxels and rounds: a dry run")
    parser.add_argument("--output", type=Path, default=Path("runs/bench"), help="folder of the results")
    args = parser.parse_args()
    found: dict[str, Any] = {"device": _name(args.device), "torch": torch.__version__}
    with tempfile.TemporaryDirectory() as folder:
        for name, part in PARTS.items():
            try:
                found[name] = part(args.device, args.small, Path(folder))
            except Exception as error:
                found[name] = f"failed: {type(error).__name__}: {error}"
            print(f"{name}: {found[name]}", flush=True)
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "cuda.json").write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(any("failed" in str(value) for value in found.values()))


def trainings(device: str, small: bool, folder: Path) -> dict[str, float]:
    """Seconds of short trainings: bfloat16, float16 with its gradient scaler, and one process of a group."""
    data = make_msd(folder / "data", 5)
    options = {
        "dataset_dir": data,
        "split_file": data / "splits.json",
        "epochs": 1 if small else 2,
        "val_interval": 1,
        "patch_size": "[32,16,16]",
        "device": f"$torch.device('{device}')",
    }
    seconds = {}
    # float16 needs CUDA; the process group is nccl there and gloo elsewhere
    for name in ["bfloat16", *(["float16"] if device != "cpu" else []), "group"]:
        out = {"checkpoint": folder / name / "model.pt", "output_dir": folder / name}
        given = {**options, **out, "autocast": "bfloat16" if name == "group" else name}
        start = time.perf_counter()
        _train(given, name == "group")
        seconds[name] = time.perf_counter() - start
    return seconds


def _train(options: dict[str, Any], group: bool) -> None:
    root = bundle(PLAIN.removeprefix("hippocampus_"))
    train = f"{root}/configs/train.yaml"
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1"] if group else []
    files = f"['{train}','{root}/configs/multi_gpu_train.yaml']" if group else train
    given = {key: value for key, value in options.items() if not (group and key == "device")}
    command = [sys.executable, *launch, "-m", "monai.bundle", "run", "training", "--config_file", files]
    command += ["--bundle_root", str(root)]
    command += [text for key, value in given.items() for text in (f"--{key}", str(value))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])


def distilled_step(device: str, small: bool, folder: Path) -> dict[str, float]:
    """A distilled step, by the teacher's forward pass and a plain step together: 1 is as much."""
    ratios = {}
    for student in STUDENTS[:1] if small else STUDENTS:
        times = steps(student, "hippocampus", device, 1 if small else 20, folder)
        parts = median(times["teacher_forward"]) + median(times["plain_step"])
        ratios[student] = median(times["distillation"]) / parts
    return ratios


def whole_volume(device: str, small: bool, folder: Path) -> dict[str, float]:
    """Seconds of the network over a whole ABUS volume, by the bundle's inferer, and the highest GB."""
    parser = _inference(device, small)
    network = parser.get_parsed_content("network").eval()
    inferer = parser.get_parsed_content("inferer")
    image = torch.randn(1, 1, *(EIGHTH if small else WHOLE), device=device)

    def run() -> None:
        with torch.inference_mode():
            inferer(image, network)

    found = {"seconds": _seconds(device, run, 1 if small else 5)}
    if device != "cpu":
        found["gb"] = torch.cuda.max_memory_allocated() * 1e-9
    return found


def cuda_graph(device: str, small: bool, folder: Path) -> dict[str, float] | str:
    """Milliseconds of a window as it is, and replayed as a CUDA graph."""
    network, window = _window(device, small)
    plain = _seconds(device, lambda: network(window), 2 if small else 20)
    if device == "cpu":
        return {"plain_ms": 1e3 * plain}
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        network(window)
    return {"plain_ms": 1e3 * plain, "graph_ms": 1e3 * _seconds(device, graph.replay, 20)}


def tensorrt(device: str, small: bool, folder: Path) -> dict[str, float] | str:
    """Milliseconds of a window compiled by TensorRT, where torch_tensorrt is installed."""
    try:
        import torch_tensorrt
    except ImportError:
        return "torch_tensorrt is not installed"
    network, window = _window(device, small)
    compiled = torch_tensorrt.compile(network, inputs=[window], enabled_precisions={torch.float16})
    return {"ms": 1e3 * _seconds(device, lambda: compiled(window), 20)}


PARTS: dict[str, Callable[[str, bool, Path], Any]] = {
    "trainings_s": trainings,
    "distilled_step": distilled_step,
    "whole_volume": whole_volume,
    "cuda_graph": cuda_graph,
    "tensorrt": tensorrt,
}


def _inference(device: str, small: bool) -> ConfigParser:
    root = bundle("unet_student_segmentation", "abus")
    parser = ConfigParser()
    parser.read_config(str(root / "configs" / "inference.yaml"))
    parser.update({"bundle_root": str(root), "device": f"$torch.device('{device}')"})
    parser.update({"autocast": "float32" if device == "cpu" else "bfloat16"})
    if small:
        parser.update({"patch_size": [32, 32, 32]})
    return parser


def _window(device: str, small: bool) -> tuple[nn.Module, torch.Tensor]:
    parser = _inference(device, small)
    network = parser.get_parsed_content("network").eval().requires_grad_(False)
    return network, torch.randn(1, 1, *parser.get_parsed_content("patch_size"), device=device)


def _seconds(device: str, work: Callable[[], Any], rounds: int) -> float:
    times = []
    for _ in range(rounds + 1):  # the first one warms up
        start = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return median(times[1:])


def _name(device: str) -> str:
    return "cpu" if device == "cpu" else torch.cuda.get_device_name()


if __name__ == "__main__":
    main()
