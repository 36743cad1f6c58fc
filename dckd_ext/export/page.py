"""A folder that segments volumes in the visitor's browser: the page of `make web` with one network."""

from __future__ import annotations

import json
import shutil
from importlib.resources import as_file, files
from math import ceil, prod
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from dckd_ext.bundle import load_bundle_config
from dckd_ext.export import predict
from dckd_ext.export.bundle import TOLERANCE
from dckd_ext.utils.folders import staged

__all__ = ["PAGE", "check_page", "export_page"]

PAGE = "page"
"""Folder in this room that `make web` writes from `web/`; packages made afterwards hold it."""

_CHECKED = 32  # voxels an edge of the window that the page compares, at most
_LOGITS = 500  # that it compares, about


def check_page() -> None:
    """See to it that the page has been built.

    Raises:
        FileNotFoundError: otherwise; says how.
    """
    folder = files("dckd_ext.export") / PAGE
    if not (folder / "index.html").is_file():
        raise FileNotFoundError(
            f"the page is not built, there is no {folder}/index.html: run `make web` in the repository (it "
            "needs Node.js 20 or newer with npm), and install the package from there if it is used elsewhere"
        )


def export_page(bundle: str | PathLike[str], out: str | PathLike[str]) -> Path:
    """Write the page for an exported bundle, for any web server or file host.

    It holds no data and needs none from elsewhere. It does to a volume what `predict` does. When it starts it
    compares logits of a known window with those that are computed here, so that a graphics driver that
    computes otherwise is not used.

    Args:
        bundle: folder of a bundle, for its name, task and intended use.
        out: folder with `models/model.onnx`, as `export_bundle` writes it; gets the folder `web`.

    Returns:
        The folder of the page.

    Raises:
        FileNotFoundError: when the page has not been built, or the network is missing.
        ValueError: as `predict.load_model`.
        OSError: if the folder cannot be written to, or another process has it.
    """
    check_page()
    target = Path(out).expanduser().resolve()
    model = target / "models" / "model.onnx"
    network, settings = predict.load_model(model, runtime="onnxruntime")
    if settings["format"] != predict.FORMAT:
        raise ValueError(
            f"{model}: the page does not know its windows or what comes after its network: predict does"
        )
    meta = load_bundle_config(Path(bundle).expanduser().resolve())["_meta_"]
    texts = {
        key: str(meta.get(key, "")) for key in ("name", "version", "task", "intended_use", "data_source")
    }
    about = {
        **texts,
        "settings": settings,
        "cpu_nodes": _cpu_nodes(model),
        "check": _check(network, settings),
    }
    with staged(target) as stage:
        with as_file(files("dckd_ext.export") / PAGE) as folder:
            shutil.copytree(folder, stage / "web")
        (stage / "web" / "network").mkdir()
        shutil.copyfile(model, stage / "web" / "network" / "model.onnx")
        text = json.dumps(about, ensure_ascii=False, indent=1)
        (stage / "web" / "network" / "bundle.json").write_text(text, encoding="utf-8")
        shutil.rmtree(target / "web", ignore_errors=True)
        (stage / "web").replace(target / "web")
    return target / "web"


def _cpu_nodes(model: Path) -> list[str]:
    """Return the names of transposed 3D convolutions: onnxruntime-web takes them on a GPU and then fails."""
    import onnx

    graph = onnx.load(str(model)).graph
    volumes = {weights.name for weights in graph.initializer if len(weights.dims) == 5}
    return [node.name for node in graph.node if node.op_type == "ConvTranspose" and node.input[1] in volumes]


def _check(network: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """Return some logits of the network at a window of noise that the page makes in the same way."""
    roi, steps = settings["window"]["roi_size"], settings["size_step"]
    edges = [ceil(min(edge, _CHECKED) / step) * step for edge, step in zip(roi, steps, strict=True)]
    shape = [1, settings["channels"], *edges]
    logits = network(_noise(prod(shape)).reshape(shape)).ravel()
    stride = max(1, logits.size // _LOGITS)
    return {
        "shape": shape,
        "stride": stride,
        "logits": [round(float(value), 6) for value in logits[::stride]],
        "tolerance": TOLERANCE * max(1.0, float(np.abs(logits).max())),
    }


def _noise(count: int) -> np.ndarray:
    """Return numbers from -1 to 1 by the linear congruential generator of Numerical Recipes, float32."""
    states, state = np.empty(count), 1
    for place in range(count):
        state = (state * 1664525 + 1013904223) % 2**32
        states[place] = state
    return (states / 2**31 - 1).astype(np.float32)
