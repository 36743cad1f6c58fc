"""Exported networks against their bundles on real volumes.

    python experiments/export_parity.py DATA [--cases 20] [--out docs/results/hippocampus/export_parity.json]

DATA is Task04_Hippocampus of the Medical Segmentation Decathlon. For every bundle: the greatest difference
between its network's logits and those of TorchScript and ONNX, on noise of five sizes and on whole volumes;
and Dice between the masks of the bundle's inference config and of `dckd predict`.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from monai.bundle import create_workflow

from dckd_ext.bundle import student_network
from dckd_ext.data import msd_datalist
from dckd_ext.export import export_bundle, predict
from dckd_ext.export.networks import read_torchscript
from dckd_ext.networks import load_weights
from dckd_ext.utils.files import written_whole

BUNDLES = Path(__file__).parents[1] / "bundles"
KINDS = ("unet_student", "hrnet_student", "teacher")


def main() -> None:
    """Compare every bundle and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", help="Task04_Hippocampus")
    parser.add_argument("--cases", type=int, default=20, help="of the validation fold 0")
    parser.add_argument("--out", type=Path, default=Path("docs/results/hippocampus/export_parity.json"))
    args = parser.parse_args()
    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    splits = BUNDLES / "hippocampus_unet_student_segmentation" / "configs" / "splits.json"
    cases = msd_datalist(args.data, "validation", str(splits), 0)[: args.cases]
    images = [Path(case["image"]) for case in cases]
    results = {kind: compare(BUNDLES / f"hippocampus_{kind}_segmentation", images) for kind in KINDS}
    with written_whole(args.out) as beside:
        beside.write_text(json.dumps({"cases": len(images), "bundles": results}, indent=1) + "\n")
    print(args.out.read_text())


def compare(bundle: Path, images: list[Path]) -> dict[str, Any]:
    """Compare one bundle."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        report = export_bundle(bundle, out)
        start = time.process_time()
        _run_bundle(bundle, images, out / "bundle")
        bundle_seconds = time.process_time() - start
        model = out / "models" / "model.onnx"
        start = time.process_time()
        failed = predict.predict(images, out / "exported", model, threads=1)
        seconds = time.process_time() - start
        if failed:
            raise RuntimeError(f"predict failed for {failed}")
        names = sorted(file.name for file in (out / "bundle").iterdir())
        folders = (out / "bundle", out / "exported")
        masks = [[np.asarray(nibabel.load(folder / name).dataobj) for folder in folders] for name in names]
        return {
            "max_logit_difference": {
                name: {
                    "noise": max(row["max_difference"] for row in report["compared"][name]),
                    "volumes": max(_on_volumes(bundle, out, name, images)),
                }
                for name in ("model.ts", "model.onnx")
            },
            "masks": len(masks),
            "voxels": sum(one.size for one, _ in masks),
            "voxels_differing": int(sum((one != two).sum() for one, two in masks)),
            "min_dice": min(_dice(one, two, number) for one, two in masks for number in (1, 2)),
            "cpu_seconds": {"bundle": bundle_seconds, "predict": seconds},
        }


def _run_bundle(bundle: Path, images: list[Path], out: Path) -> None:
    flow = create_workflow(
        config_file=str(bundle / "configs" / "inference.yaml"),
        workflow_type="inference",
        bundle_root=str(bundle),
        output_dir=str(out),
        device="cpu",
        **{"dataset#data": [{"image": str(image)} for image in images]},
    )
    flow.run()


def _on_volumes(bundle: Path, out: Path, name: str, images: list[Path]) -> list[float]:
    """Greatest difference on each whole volume, padded to a size that ONNX takes."""
    network = student_network(bundle)
    load_weights(network, bundle / "models" / "model.pt")
    network.float().eval()
    onnx, settings = predict.load_model(out / "models" / "model.onnx", 1)
    script, _ = read_torchscript(out / "models" / "model.ts")
    run = script if name == "model.ts" else lambda image: torch.from_numpy(onnx(image.numpy()))
    return [
        _difference(network, run, predict.prepare(image, settings)[0], settings["size_step"])
        for image in images
    ]


def _difference(network: Any, run: Any, voxels: np.ndarray, step: list[int]) -> float:
    gaps = [-edge % multiple for edge, multiple in zip(voxels.shape[1:], step, strict=True)]
    image = torch.from_numpy(np.pad(voxels, [(0, 0), *((0, gap) for gap in gaps)], mode="edge")[None])
    with torch.inference_mode():
        return float((run(image) - network(image)).abs().max())


def _dice(one: np.ndarray, two: np.ndarray, number: int) -> float:
    both = np.count_nonzero(one == number) + np.count_nonzero(two == number)
    return 2 * np.count_nonzero((one == number) & (two == number)) / both if both else 1.0


if __name__ == "__main__":
    main()
