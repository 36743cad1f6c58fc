"""Seconds and memory of segmenting whole ABUS volumes with each network (`make bench`, from the root).

The steps are those of the ABUS bundles' inference.yaml. Volumes are speckle and weights are random: time
depends on neither. Everything runs in processes of its own.
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

from benchmarks.tables import as_markdown, summarise

NATIVE_SIZE = (865, 682, 354)
BUNDLES = Path(__file__).parents[1] / "bundles"
NETWORKS = {
    "teacher": "abus_teacher_segmentation",
    "unet": "abus_unet_student_segmentation",
    "hrnet": "abus_hrnet_student_segmentation",
}
STEPS = ("read", "resample", "normalise", "network", "back", "write")
STEP_OF = {
    "ReadVolumed": "read",
    "EnsureChannelFirstd": "read",
    "CheckVolumed": "read",
    "ResampleVolumed": "resample",
    "ScaleIntensityRangePercentilesd": "normalise",
    "NormalizeIntensityd": "normalise",
    "AsDiscreted": "back",
    "Invertd": "back",
    "SaveMaskd": "write",
}


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
    command = [sys.executable, "-m", "benchmarks.whole_volume"]
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

    config = _config(args)
    window = torch.zeros(1, 1, *config.get_parsed_content("patch_size"))
    torch.onnx.export(
        _network(config), (window,), _onnx_file(args), dynamo=False, input_names=["image"], verbose=False
    )


def segment(args: argparse.Namespace) -> dict[str, Any]:
    """Segment the volume by the steps of the bundle's inference.yaml; seconds of each, and memory."""
    import torch
    from monai.data import decollate_batch

    config = _config(args)
    network = _network(config)
    baseline = _peak_gb()
    seconds = dict.fromkeys(STEPS, 0.0)
    windows: list[float] = []
    predictor = _timed_calls(_predictor(args, network), windows)
    inferer = config.get_parsed_content("inferer")

    def infer(item: dict[str, Any]) -> dict[str, Any]:
        with torch.inference_mode():
            return {**item, "pred": decollate_batch(inferer(item["image"][None], predictor))[0]}

    before, after = (
        config.get_parsed_content(name).transforms for name in ("preprocessing", "postprocessing")
    )
    item: dict[str, Any] = {"image": str(args.volume)}
    for work in (*before, infer, *after):
        start = time.perf_counter()
        item = work(item)
        seconds[STEP_OF.get(type(work).__name__, "network")] += time.perf_counter() - start
    voxels = item["pred"].numel()
    return {
        "size": args.sizes[0],
        "network": args.networks[0],
        "voxels": voxels,
        "working": list(item["image"].shape[1:]),
        "windows": len(windows),
        "window_seconds": statistics.median(windows),
        "seconds": {**seconds, "total": sum(seconds.values())},
        "peak_gb": _peak_gb() - baseline,
        "budget_gb": 1 + 4e-9 * voxels,
        "load": os.getloadavg()[0],
    }


_TASKS: dict[str, Callable[[argparse.Namespace], Any]] = {
    "make": make_volume,
    "export": export,
    "segment": segment,
}


def _config(args: argparse.Namespace) -> Any:
    """The bundle's inference.yaml for one volume."""
    from monai.bundle import ConfigParser

    bundle = BUNDLES / NETWORKS[args.networks[0]]
    config = ConfigParser()
    config.read_config(str(bundle / "configs" / "inference.yaml"))
    config.update({"bundle_root": str(bundle), "autocast": args.dtype, "device": "cpu"})
    config.update({"dataset_dir": str(args.volume), "output_dir": str(args.volume.parent)})
    return config


def _network(config: Any) -> Any:
    import torch

    torch.manual_seed(0)
    return config.get_parsed_content("network_def").eval()


def _predictor(args: argparse.Namespace, network: Any) -> Callable:
    """From a window to its logits."""
    if args.runtime == "torch":
        return network
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = onnxruntime.InferenceSession(_onnx_file(args), options, providers=["CPUExecutionProvider"])
    return lambda window: torch.from_numpy(session.run(None, {"image": window.numpy()})[0])


def _onnx_file(args: argparse.Namespace) -> Path:
    return args.volume.with_name(f"{args.networks[0]}.onnx")


def _timed_calls(work: Callable, seconds: list[float]) -> Callable:
    def timed(argument: Any, *rest: Any, **options: Any) -> Any:
        start = time.perf_counter()
        result = work(argument, *rest, **options)
        seconds.append(time.perf_counter() - start)
        return result

    return timed


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024e-9


if __name__ == "__main__":
    main()
