"""Seconds and memory of segmenting whole ABUS volumes with each network (`make bench`, from the root).

Volumes are speckle and weights are random: time depends on neither. Everything runs in processes of its own.
Memory is the highest resident set above that after the imports, to be held against 1 GB + 4 bytes a voxel.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.tables import as_markdown, summarise

NATIVE_SIZE = (865, 682, 354)
WORKING_SPACING = 0.4
WINDOW = (96, 128, 96)
OVERLAP = 0.25
UNET = {"_target_": "BasicUNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 2}
HRNET = {"_target_": "dckd_ext.networks.HRNet3D", "in_channels": 1, "out_channels": 2}
NETWORKS: dict[str, dict[str, Any]] = {
    "teacher": {**UNET, "features": [32, 64, 128, 256, 440, 32]},
    "unet": {**UNET, "features": [8, 16, 32, 64, 112, 8]},
    "hrnet": HRNET,
}
STEPS = ("read", "resample", "normalise", "network", "back", "write")


def main() -> None:
    """Do what the command line asks for; write results.json and results.md."""
    args = _arguments()
    if args.task:
        print(json.dumps(_TASKS[args.task](args)))
        return
    args.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        results = list(_results(args, Path(folder)))
    settings = {key: getattr(args, key) for key in ("dtype", "runtime", "threads")}
    summary = {"settings": settings, "networks": NETWORKS, "results": results, **summarise(results)}
    (args.output / "results.json").write_text(json.dumps(summary, indent=1) + "\n")
    (args.output / "results.md").write_text(as_markdown(summary))
    print(as_markdown(summary))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--sizes", type=float, nargs="+", default=[1 / 8, 1 / 4, 1 / 2, 1], help="of a volume"
    )
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--runtime", choices=["torch", "onnxruntime"], default="torch")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, default=Path("runs/bench"), help="folder of the results")
    parser.add_argument("--task", choices=_TASKS, help=argparse.SUPPRESS)  # in a process of its own
    parser.add_argument("--volume", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.runtime == "onnxruntime" and args.dtype != "float32":
        parser.error("--runtime onnxruntime takes --dtype float32 only")
    if min(args.sizes) <= 0 or args.threads < 1:
        parser.error("--sizes and --threads must be positive")
    return args


def _results(args: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    for size in args.sizes:
        volume = folder / "DATA_000.nrrd"
        _run("make", args, size, args.networks[0], volume)
        for network in args.networks:
            if args.runtime == "onnxruntime" and size == args.sizes[0]:
                _run("export", args, size, network, volume)
            result = _run("segment", args, size, network, volume)
            print(json.dumps(result), file=sys.stderr, flush=True)
            yield result


def _run(task: str, args: argparse.Namespace, size: float, network: str, volume: Path) -> Any:
    """A task in a new process. This one stays small, since a process starts with the peak of its parent."""
    options = {"task": task, "sizes": size, "networks": network, "volume": volume}
    options |= {"dtype": args.dtype, "runtime": args.runtime, "threads": args.threads}
    command = [sys.executable, "-m", "tests.benchmarks.whole_volume"]
    command += [str(part) for key in options for part in (f"--{key}", options[key])]
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def make_volume(args: argparse.Namespace) -> None:
    """Write speckle as the open ABUS set is stored: gzip NRRD, uint8.

    Lateral and sweep are cut alike. The depth stays: it is a single window, which a part of it costs too.
    """
    import nrrd
    import numpy as np

    lateral, depth, sweep = NATIVE_SIZE
    cut = args.sizes[0] ** 0.5
    shape = (round(lateral * cut), depth, round(sweep * cut))
    slices = np.random.default_rng(0).rayleigh(30, size=(*shape[:2], 8)).clip(0, 255).astype(np.uint8)
    volume = np.empty(shape, np.uint8, order="F")
    for index in range(shape[2]):  # new noise for every slice would take long
        volume[..., index] = np.roll(slices[..., index % 8], 37 * index, axis=0)
    nrrd.write(str(args.volume), volume, compression_level=1)


def export(args: argparse.Namespace) -> None:
    """Write the network as ONNX for windows of one shape."""
    import torch

    window = torch.zeros(1, 1, *WINDOW)
    torch.onnx.export(
        _network(args), (window,), _onnx_file(args), dynamo=False, input_names=["image"], verbose=False
    )


def segment(args: argparse.Namespace) -> dict[str, Any]:
    """Segment the volume by the transforms of the bundles; seconds of every step, and memory."""
    import torch
    from monai.data import decollate_batch
    from monai.inferers import SlidingWindowInferer
    from monai.transforms import (
        AsDiscreted,
        Compose,
        EnsureChannelFirstd,
        Invertd,
        NormalizeIntensityd,
        SaveImaged,
        ScaleIntensityRangePercentilesd,
    )

    from dckd_ext import data
    from dckd_ext.inferers import AutocastInferer

    baseline = _peak_gb()
    seconds: dict[str, list[float]] = {step: [] for step in (*STEPS, "window")}
    read = Compose(
        [
            data.ReadVolumed("image", placeholder_spacing=data.ABUS_SPACING, dtype=None),
            EnsureChannelFirstd("image"),
            data.CheckVolumed(),
        ]
    )
    resample = Compose(data.ResampleVolumed("image", WORKING_SPACING))
    normalise = Compose(
        [
            ScaleIntensityRangePercentilesd("image", 0.5, 99.5, 0.0, 1.0, clip=True),
            NormalizeIntensityd("image"),
        ]
    )
    sliding = SlidingWindowInferer(WINDOW, 1, OVERLAP, mode="gaussian", padding_mode="replicate")
    inferer = AutocastInferer(sliding, args.dtype)
    predictor = _timed(_predictor(args), seconds["window"])

    def infer(item: dict[str, Any]) -> dict[str, Any]:
        with torch.inference_mode():
            return {**item, "pred": decollate_batch(inferer(item["image"][None], predictor))[0]}

    back = Compose(
        [
            AsDiscreted("pred", argmax=True, dtype=torch.uint8),
            Invertd("pred", Compose([*read.transforms, *resample.transforms]), orig_keys="image"),
        ]
    )
    write = SaveImaged(
        "pred",
        output_dir=args.volume.parent,
        output_dtype=torch.uint8,
        resample=False,
        separate_folder=False,
        writer=data.WholeNibabelWriter,
        print_log=False,
    )
    item: dict[str, Any] = {"image": args.volume}
    for step, work in zip(STEPS, (read, resample, normalise, infer, back, write), strict=True):
        item = _timed(work, seconds[step])(item)
    times = {step: sum(seconds[step]) for step in STEPS}
    voxels = item["pred"].numel()
    return {
        "size": args.sizes[0],
        "network": args.networks[0],
        "voxels": voxels,
        "working": list(item["image"].shape[1:]),
        "windows": len(seconds["window"]),
        "window_seconds": statistics.median(seconds["window"]),
        "seconds": {**times, "total": sum(times.values())},
        "peak_gb": _peak_gb() - baseline,
        "budget_gb": 1 + 4e-9 * voxels,
        "load": os.getloadavg()[0],
    }


_TASKS: dict[str, Callable[[argparse.Namespace], Any]] = {
    "make": make_volume,
    "export": export,
    "segment": segment,
}


def _network(args: argparse.Namespace) -> Any:
    import torch
    from monai.bundle import ConfigParser

    torch.manual_seed(0)
    return ConfigParser({"network": NETWORKS[args.networks[0]]}).get_parsed_content("network").eval()


def _predictor(args: argparse.Namespace) -> Callable:
    """From a window to its logits."""
    if args.runtime == "torch":
        return _network(args)
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = onnxruntime.InferenceSession(_onnx_file(args), options, providers=["CPUExecutionProvider"])
    return lambda window: torch.from_numpy(session.run(None, {"image": window.numpy()})[0])


def _onnx_file(args: argparse.Namespace) -> Path:
    return args.volume.with_name(f"{args.networks[0]}.onnx")


def _timed(work: Callable, seconds: list[float]) -> Callable:
    def timed(argument: Any) -> Any:
        start = time.perf_counter()
        result = work(argument)
        seconds.append(time.perf_counter() - start)
        return result

    return timed


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024e-9


if __name__ == "__main__":
    main()
