"""CPU seconds of each network in each runtime (from the root; networks are exported first).

    python -m benchmarks.runtimes --output runs/bench [--data Task04_Hippocampus]

A window is one call of the network; a volume is `dckd_ext.export.predict.segment` on speckle of hippocampus
size, window by window. Repetitions of all runtimes are interleaved, medians shown. Seconds are of the CPU,
so that other work on the machine counts little. With --data: mean Dice against the labels of the validation
fold 0 too, and int8, calibrated on training volumes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch

from dckd_ext.bundle import student_network
from dckd_ext.data import msd_datalist
from dckd_ext.export import export_bundle, predict, read_torchscript
from dckd_ext.networks import load_weights

BUNDLES = Path(__file__).parents[1] / "bundles"
NETWORKS = ("teacher", "unet_student", "hrnet_student")
VOLUME = (36, 50, 35)  # voxels, a middling hippocampus of Task04
Network = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    """Measure, print and write runtimes.json and runtimes.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/bench"), help="folder of the results")
    parser.add_argument("--data", help="Task04_Hippocampus: Dice too, and int8")
    parser.add_argument("--cases", type=int, default=20, help="volumes for Dice")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        rows = list(measure(args, Path(folder)))
    summary = {
        "threads": args.threads,
        "repeats": args.repeats,
        "volume": VOLUME,
        "cases": args.cases if args.data else 0,
        "load": os.getloadavg()[0],
        "rows": rows,
    }
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "runtimes.json").write_text(json.dumps(summary, indent=1) + "\n")
    (args.output / "runtimes.md").write_text(as_markdown(summary))
    print(as_markdown(summary))


def measure(args: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """Seconds, and Dice if there is data, of every network in every runtime."""
    built: dict[tuple[str, str], tuple[Network, dict[str, Any]]] = {}
    for name in args.networks:
        bundle = BUNDLES / f"hippocampus_{name}_segmentation"
        export_bundle(bundle, folder / name)
        for runtime, network, settings in runtimes(bundle, folder / name, args):
            built[name, runtime] = network, settings
    volume = folder / "volume.nii.gz"
    speckle = np.random.default_rng(0).rayleigh(30, VOLUME).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(speckle, np.eye(4)), volume)
    window = np.random.default_rng(0).normal(size=(1, 1, 32, 48, 32)).astype(np.float32)
    times: dict[tuple[str, str], list[tuple[float, float]]] = {key: [] for key in built}
    for repeat in range(args.repeats + 1):
        for key, (network, settings) in built.items():
            once = (_cpu_seconds(network, window), _cpu_seconds(predict.segment, volume, network, settings))
            if repeat:  # the first one warms up
                times[key].append(once)
    for (name, runtime), pairs in times.items():
        seconds = [statistics.median(column) for column in zip(*pairs, strict=True)]
        row = {"network": name, "runtime": runtime, "window": seconds[0], "volume": seconds[1]}
        yield row | ({"dice": _dice(args, *built[name, runtime])} if args.data else {})


def runtimes(
    bundle: Path, exported: Path, args: argparse.Namespace
) -> Iterator[tuple[str, Network, dict[str, Any]]]:
    """Every runtime's name, and its network from windows to logits."""
    file = exported / "models" / "model.onnx"
    onnx, settings = predict.load_model(file, args.threads)
    network = student_network(bundle)
    load_weights(network, bundle / "models" / "model.pt")
    network.float().eval()
    yield "torch", _torch(network), settings
    yield "torch bfloat16", _torch(network, bfloat16=True), settings
    yield "TorchScript", _torch(read_torchscript(exported / "models" / "model.ts")[0]), settings
    yield "ONNX Runtime", onnx, settings
    for precision in ("f32", "bf16"):  # bf16 is OpenVINO's own choice where the CPU has it
        yield f"OpenVINO {precision}", _openvino(file, precision, args.threads), settings
    if args.data:
        quantised = _int8(file, args.data, settings)
        yield "ONNX Runtime int8", predict.load_model(quantised, args.threads)[0], settings


def _torch(network: Any, bfloat16: bool = False) -> Network:
    def run(windows: np.ndarray) -> np.ndarray:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            logits: np.ndarray = network(torch.from_numpy(windows)).float().numpy()
            return logits

    return run


def _openvino(file: Path, precision: str, threads: int) -> Network:
    import openvino

    options = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
    model = openvino.Core().compile_model(str(file), "CPU", options)
    return lambda windows: np.array(model(windows)[0])


def _int8(file: Path, data: str, settings: dict[str, Any]) -> Path:
    """Quantise statically (QDQ, weights by channel), calibrated on windows of 20 training volumes."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    images = [Path(case["image"]) for case in _cases(data, "training")[:20]]
    x, y, z = settings["window"]["roi_size"]
    windows = []
    for image in images:
        voxels = predict.prepare(image, settings)[0]
        gaps = [(0, max(roi - edge, 0)) for edge, roi in zip(voxels.shape[1:], (x, y, z), strict=True)]
        windows.append(np.pad(voxels, [(0, 0), *gaps], mode="edge")[None, :, :x, :y, :z])

    class Windows(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(windows)

        def get_next(self) -> dict[str, np.ndarray] | None:
            window = next(self.left, None)
            return None if window is None else {"image": window}

    out = file.with_name("int8.onnx")
    quantize_static(str(file), str(out), Windows(), quant_format=QuantFormat.QDQ, per_channel=True)
    _copy_metadata(file, out)
    return out


def _copy_metadata(source: Path, target: Path) -> None:
    import onnx

    network = onnx.load(str(target))
    del network.metadata_props[:]
    network.metadata_props.extend(onnx.load(str(source)).metadata_props)
    onnx.save(network, str(target))


def _cases(data: str, section: str) -> list[dict[str, Any]]:
    splits = BUNDLES / "hippocampus_unet_student_segmentation" / "configs" / "splits.json"
    return list(msd_datalist(data, section, str(splits), 0))


def _dice(args: argparse.Namespace, network: Network, settings: dict[str, Any]) -> float:
    """Mean over cases and foreground classes."""
    values = []
    for case in _cases(args.data, "validation")[: args.cases]:
        mask, _ = predict.segment(Path(case["image"]), network, settings)
        label = np.asarray(nibabel.load(case["label"]).dataobj)
        for number in range(1, len(settings["classes"])):
            found, true = mask == number, label == number
            values.append(2 * np.count_nonzero(found & true) / (found.sum() + true.sum()))
    return float(np.mean(values))


def _cpu_seconds(work: Callable[..., Any], *arguments: Any) -> float:
    start = time.process_time()
    work(*arguments)
    return time.process_time() - start


def as_markdown(summary: dict[str, Any]) -> str:
    """The rows as a table, with the times of torch in float32 as the unit of the last column."""
    unit = {row["network"]: row["window"] for row in summary["rows"] if row["runtime"] == "torch"}
    size = " x ".join(map(str, summary["volume"]))
    lines = [
        f"CPU seconds, medians of {summary['repeats']}, {summary['threads']} thread(s): a window of "
        f"32 x 48 x 32, a volume of {size}; load of the machine {summary['load']:.1f}.",
        "",
        "| network | runtime | ms a window | s a volume | torch / this | Dice |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in summary["rows"]:
        dice = f"{row['dice']:.4f}" if "dice" in row else "-"
        lines.append(
            f"| {row['network']} | {row['runtime']} | {1000 * row['window']:.1f} | {row['volume']:.2f} "
            f"| {unit[row['network']] / row['window']:.2f} | {dice} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
