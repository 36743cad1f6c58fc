"""A bundle's network in the forms that run without this package."""

from __future__ import annotations

import os
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import onnxruntime  # noqa: F401  its lack is told before anything is done
import torch
from torch import Tensor, nn

from dckd_ext.bundle import is_distillation, load_bundle_config, student_network
from dckd_ext.export import predict
from dckd_ext.export.networks import differences, read_torchscript, size_step, write_onnx, write_torchscript
from dckd_ext.export.predict import KEY
from dckd_ext.export.settings import bundle_settings
from dckd_ext.export.standalone import predict_source
from dckd_ext.networks import load_weights
from dckd_ext.utils.folders import staged

__all__ = ["FILES", "TOLERANCE", "export_bundle"]

FILES = ("models/model.ts", "models/model.onnx", "predict.py")
"""What is exported, by path inside the bundle."""
TOLERANCE = 1e-4
"""Of logits, as a share of the largest one: float32 adds up in another order in another runtime."""


def export_bundle(bundle: str | PathLike[str], out: str | PathLike[str] | None = None) -> dict[str, Any]:
    """Write a bundle's network as TorchScript and ONNX, with `predict.py`, which needs the ONNX file alone.

    Both networks are compared with the bundle's own at five sizes before any file takes its place. This runs
    the bundle's code.

    Args:
        bundle: folder of a bundle with weights.
        out: folder that gets `FILES`; by default the bundle's own.

    Returns:
        The files (``files``), and the rows of `differences` of each network by its file's name.

    Raises:
        FileNotFoundError: if the folder, its config, metadata or weights are missing.
        ValueError: if `dckd_ext.export.predict` cannot do what the inference config says, the weights are not
            those of the network or not finite, or an exported network gives other logits. Nothing is written
            then.
        OSError: if the folder cannot be written to, or another process has it.
    """
    root = Path(bundle).expanduser().resolve()
    if is_distillation(root):
        raise ValueError(f"{root.name} has no weights of its own: export the student bundle that it trains")
    network = student_network(root)
    load_weights(network, root / "models" / "model.pt")
    network.float().eval()
    settings = bundle_settings(root)
    roi_size, channels = settings["window"]["roi_size"], settings["channels"]
    step = size_step(network, roi_size)
    settings["size_step"] = step
    target = Path(out).expanduser().resolve() if out else root
    with staged(target) as stage:
        files = {name: stage / Path(name).name for name in FILES}
        script, onnx, module = files.values()
        write_torchscript(network, script, {**load_bundle_config(root)["_meta_"], KEY: settings})
        write_onnx(network, onnx, channels, roi_size, settings)
        module.write_text(predict_source(), encoding="utf-8")
        report = {
            script.name: _compared(script, network, read_torchscript(script)[0], channels),
            onnx.name: _compared(onnx, network, _onnx_network(onnx), channels, step),
        }
        for name, file in files.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, target / name)
    return {"files": [target / name for name in FILES], **report}


def _onnx_network(file: Path) -> Callable[[Tensor], Tensor]:
    run, _ = predict.load_model(file, runtime="onnxruntime")
    return lambda image: torch.from_numpy(run(image.numpy()))


def _compared(
    file: Path, network: nn.Module, run: Callable[[Tensor], Tensor], channels: int, step: Any = (1, 1, 1)
) -> list[dict[str, Any]]:
    rows = differences(network, run, channels, step)
    for row in rows:
        most = TOLERANCE * max(1.0, row["max_logit"])
        if not row["max_difference"] <= most:
            raise ValueError(
                f"nothing is written: logits of {file.name} at the size {row['size']} differ from those of "
                f"the bundle's network by {row['max_difference']:.2g}, expected at most {most:.2g}"
            )
    return rows
