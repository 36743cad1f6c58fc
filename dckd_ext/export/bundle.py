"""A bundle's network in the forms that run without this package."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import onnxruntime  # noqa: F401  its lack is told before anything is done
import torch
from torch import Tensor, nn

from dckd_ext.bundle import in_channels, is_distillation, load_bundle_config, student_network
from dckd_ext.bundle.config import evaluated
from dckd_ext.bundle.networks import weights_file
from dckd_ext.export.networks import (
    SIZES,
    differences,
    read_torchscript,
    size_step,
    write_onnx,
    write_torchscript,
)
from dckd_ext.export.predict import KEY
from dckd_ext.export.runtimes import load_network
from dckd_ext.export.settings import bundle_settings
from dckd_ext.export.standalone import predict_source
from dckd_ext.networks import load_weights
from dckd_ext.networks.cost import dry_run
from dckd_ext.networks.sizes import multiples
from dckd_ext.networks.wrappers import first_map
from dckd_ext.utils.errors import first_line
from dckd_ext.utils.folders import staged

__all__ = ["FILES", "TOLERANCE", "export_bundle"]

FILES = ("models/model.ts", "models/model.onnx", "predict.py")
"""What is exported, by path inside the bundle."""
_SIZES = (
    *("inferer#inferer#roi_size", "inferer#roi_size"),
    "_meta_#network_data_format#inputs#image#spatial_shape",
)
TOLERANCE = 1e-4
"""Of logits, as a share of the largest one: float32 adds up in another order in another runtime."""


def export_bundle(
    bundle: str | PathLike[str], out: str | PathLike[str] | None = None, network_only: bool = False
) -> dict[str, Any]:
    """Write a bundle's network as TorchScript and ONNX, with `predict.py`, which needs the ONNX file alone.

    Both networks are compared with the bundle's own at several sizes before any file takes its place. A
    network that cannot be scripted has no TorchScript file. Where `dckd_ext.export.predict` cannot do what
    the inference config says, the networks alone are written. This runs the bundle's code.

    Args:
        bundle: folder of a bundle with weights.
        out: folder that gets `FILES`; by default the bundle's own.
        network_only: write the networks without `predict.py`, whatever the inference config does.

    Returns:
        The files (``files``), why others are not there by their names (``left_out``), and the rows of
        `differences` of each network by its file's name (``compared``).

    Raises:
        FileNotFoundError: if the folder, its config, metadata or weights are missing.
        ValueError: if the weights are not those of the network or not finite, or an exported network gives
            other logits. Nothing is written then.
        OSError: if the folder cannot be written to, or another process has it.
    """
    root = Path(bundle).expanduser().resolve()
    if is_distillation(root):
        raise ValueError(f"{root.name} has no weights of its own: export the student bundle that it trains")
    network = student_network(root)
    load_weights(network, weights_file(root))
    network.float().eval()
    settings, left_out = _settings(root, network_only)
    channels, roi_size = in_channels(root), _window_size(root, settings)
    network = _of_one_map(network, channels, roi_size)
    windows = settings.get("window", True) is not None
    step = (None if windows else multiples(network)) or size_step(network, roi_size)
    settings["size_step"] = step
    target = Path(out).expanduser().resolve() if out else root
    with staged(target) as stage:
        script, onnx, module = (stage / Path(name).name for name in FILES)
        report = {}
        try:
            write_torchscript(network, script, {**load_bundle_config(root)["_meta_"], KEY: settings})
            report[script.name] = _compared(
                script, network, read_torchscript(script)[0], channels, roi_size, step
            )
        except Exception as error:  # torch's own types
            if script.is_file():
                raise
            left_out[script.name] = f"torch cannot script {type(network).__name__}: {first_line(error)}"
        write_onnx(network, onnx, channels, roi_size, settings)
        report[onnx.name] = _compared(onnx, network, _onnx_network(onnx), channels, roi_size, step)
        if module.name not in left_out:
            module.write_text(predict_source(), encoding="utf-8")
        written = [name for name in FILES if (stage / Path(name).name).is_file()]
        for name in FILES:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            if name in written:
                os.replace(stage / Path(name).name, target / name)
            else:
                (target / name).unlink(missing_ok=True)  # of an earlier network
    return {"files": [target / name for name in written], "left_out": left_out, "compared": report}


def _settings(root: Path, network_only: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the settings of predict, or none and why."""
    if network_only:
        return {}, {"predict.py": "network_only"}
    try:
        return bundle_settings(root), {}
    except ValueError as error:
        return {}, {"predict.py": str(error)}


def _window_size(root: Path, settings: dict[str, Any]) -> list[int]:
    """Return the size of the windows, or a size that the metadata or the inferer names."""
    if window := settings.get("window"):
        return list(window["roi_size"])
    config = load_bundle_config(root)
    for key in _SIZES:
        size = evaluated(config, key) if key in config else None
        if isinstance(size, list | tuple) and len(size) == 3 and all(isinstance(edge, int) for edge in size):
            return list(size)
    raise ValueError(
        f"{root}: names no size of windows as three numbers, in inferer#roi_size or its metadata"
    )


def _of_one_map(network: nn.Module, channels: int, roi_size: Sequence[int]) -> nn.Module:
    """Return the network, or one that gives the first of its several maps."""
    output = dry_run(network, roi_size, channels)
    first_map(output, torch.empty(1, channels, *roi_size), "network")
    if isinstance(output, Tensor):
        return network
    return _FirstMap(network, next(iter(output)) if isinstance(output, dict) else 0).eval()


class _FirstMap(nn.Module):
    def __init__(self, network: nn.Module, key: Any) -> None:
        super().__init__()
        self.network, self.key = network, key

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image)[self.key]


def _onnx_network(file: Path) -> Callable[[Tensor], Tensor]:
    run = load_network(file, runtime="onnxruntime")
    return lambda image: torch.from_numpy(run(image.numpy()))


def _compared(
    file: Path,
    network: nn.Module,
    run: Callable[[Tensor], Tensor],
    channels: int,
    roi_size: Sequence[int],
    step: Sequence[int],
) -> list[dict[str, Any]]:
    """Compare at several sizes, or with one window and two where the network takes windows alone."""
    alone = list(step) == list(roi_size)
    rows = differences(network, run, channels, step, [(1, *roi_size), (2, *roi_size)] if alone else SIZES)
    for row in rows:
        most = TOLERANCE * max(1.0, row["max_logit"])
        if not row["max_difference"] <= most:
            raise ValueError(
                f"nothing is written: logits of {file.name} at the size {row['size']} differ from those of "
                f"the bundle's network by {row['max_difference']:.2g}, expected at most {most:.2g}"
            )
    return rows
