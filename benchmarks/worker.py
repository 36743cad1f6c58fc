"""One build in a process of its own, for `benchmarks.against_base`: does a task when told, says what it took.

    PYTHONPATH=TREE python worker.py TREE FOLDER TASK NETWORK

TREE is a checkout of this or an older commit. For every line on the standard input the task is done once, and
a line of JSON answers: seconds of the processor and of the clock, for each volume, window or step.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

COPIES = 5  # volumes of a run of `dckd predict`; what a run of one takes is its start
PATCH, BATCH = (32, 48, 32), 2  # of a training step


def main() -> None:
    """Make the task ready, say so with what computes, and do it when told."""
    tree, folder, task, name = sys.argv[1:]
    sys.path[:1] = []  # the folder of this file
    answers, sys.stdout = sys.stdout, sys.stderr
    bundle = Path(tree) / "bundles" / f"hippocampus_{name}_segmentation"
    work, about = TASKS[task](bundle, Path(folder))
    print(json.dumps(about), file=answers, flush=True)
    for _ in sys.stdin:
        print(json.dumps(work()), file=answers, flush=True)


def bundle_run(bundle: Path, folder: Path) -> tuple[Callable[[], dict[str, float]], Any]:
    """A volume through the inference workflow of the bundle, from the file to the mask, after its start."""
    from monai.bundle import create_workflow

    flow = create_workflow(
        config_file=str(bundle / "configs" / "inference.yaml"),
        workflow_type="infer",
        bundle_root=str(bundle),
        dataset_dir=str(folder / "volumes" / "0.nii.gz"),
        output_dir=str(folder / "masks"),
        device="cpu",
        autocast="float32",
        sw_batch_size=1,
    )

    def once() -> dict[str, float]:
        return _seconds(flow.run)

    return once, _kernels(flow.run)


def predict_run(bundle: Path, folder: Path) -> tuple[Callable[[], dict[str, float]], Any]:
    """A volume by `dckd predict`, from the file to the mask, after its start."""
    from dckd_ext.export import export_bundle

    try:
        from dckd_ext.export import predict
    except ImportError:  # until 27 November 2026
        from dckd_ext import predict  # type: ignore[attr-defined, no-redef]
    export_bundle(bundle, folder / "exported")
    model = folder / "exported" / "models" / "model.onnx"
    network, _ = predict.load_model(model, 1)
    volumes = sorted((folder / "volumes").iterdir())

    def once() -> dict[str, float]:
        few, many = (
            _seconds(lambda n=n: _predicted(predict, volumes[:n], folder, model)) for n in (1, COPIES)
        )
        return {key: (many[key] - few[key]) / (COPIES - 1) for key in many}

    return once, getattr(network, "runtime", "ONNX Runtime")


def _predicted(predict: Any, volumes: list[Path], folder: Path, model: Path) -> None:
    out = folder / "predicted"
    shutil.rmtree(out, ignore_errors=True)
    if failed := predict.predict(volumes, out, model, 1):
        raise RuntimeError(str(failed))


def training_step(bundle: Path, folder: Path) -> tuple[Callable[[], dict[str, float]], Any]:
    """A step of plain training, by the inferer of the bundle, with Dice and cross-entropy and Adam."""
    import torch
    from monai.bundle import ConfigParser
    from monai.losses import DiceCELoss

    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "train.yaml"))
    parser.update({"bundle_root": str(bundle), "device": "$torch.device('cpu')", "autocast": "float32"})
    network = parser.get_parsed_content("network").train()
    inferer = parser.get_parsed_content("train#inferer")
    loss = DiceCELoss(to_onehot_y=True, softmax=True)
    optimizer = torch.optim.Adam(network.parameters(), 1e-4)
    image = torch.randn(BATCH, 1, *PATCH)
    label = (torch.rand(BATCH, 1, *PATCH) > 0.8).long()

    def step() -> None:
        optimizer.zero_grad()
        loss(inferer(image, network), label).backward()
        optimizer.step()

    return lambda: _seconds(step), _kernels(step)


def sliding_window(bundle: Path, folder: Path) -> tuple[Callable[[], dict[str, float]], Any]:
    """MONAI's own SlidingWindowInferer at the settings of the bundle, on the volume in memory: a peer."""
    return _sliding(bundle, "inferer#inferer")


def own_window(bundle: Path, folder: Path) -> tuple[Callable[[], dict[str, float]], Any]:
    """The bundle's inferer on the same volume in memory, to hold against the peer."""
    return _sliding(bundle, "inferer")


def _sliding(bundle: Path, key: str) -> tuple[Callable[[], dict[str, float]], Any]:
    import torch
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.yaml"))
    parser.update({"bundle_root": str(bundle), "device": "$torch.device('cpu')"})
    parser.update({"autocast": "float32", "sw_batch_size": 1})
    network, inferer = parser.get_parsed_content("network").eval(), parser.get_parsed_content(key)
    image = torch.randn(1, 1, *json.loads(os.environ["DCKD_BENCH_VOLUME"]))

    def run() -> None:
        with torch.inference_mode():
            inferer(image, network)

    return lambda: _seconds(run), _kernels(run)


TASKS = {
    "bundle run": bundle_run,
    "predict": predict_run,
    "training step": training_step,
    "MONAI's sliding window": sliding_window,
    "bundle's inferer": own_window,
}


def _seconds(work: Callable[[], Any]) -> dict[str, float]:
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return {"processor": time.process_time() - processor, "wall": time.perf_counter() - wall}


def _kernels(work: Callable[[], Any]) -> dict[str, int]:
    """How often which kernel of 3D convolutions was called."""
    from torch.profiler import ProfilerActivity, profile

    work()  # warms up
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        work()
    names = {"aten::slow_conv3d_forward": "slow_conv3d", "aten::mkldnn_convolution": "oneDNN"}
    return dict(_counted(seen.key_averages(), names))


def _counted(events: Any, names: dict[str, str]) -> Iterator[tuple[str, int]]:
    for event in events:
        if event.key in names:
            yield names[event.key], event.count


if __name__ == "__main__":
    main()
