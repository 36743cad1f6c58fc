"""Exported networks in a bundle: they have to be those of its weights and of its config."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["export_problems"]

_SCRIPT, _ONNX, _MODULE = "models/model.ts", "models/model.onnx", "predict.py"


def export_problems(root: Path) -> Iterator[str]:
    """Yield what is wrong with what `dckd export` wrote into a bundle; a bundle needs none of it.

    Networks have to record the settings that an export would record now, the SHA-256 of `models/model.pt`
    among them, and `predict.py` has to be this package's. It is of no use without the ONNX file.
    """
    cure = f"run `dckd export {root}`, or remove it"
    present = [name for name in (_SCRIPT, _ONNX, _MODULE) if (root / name).is_file()]
    if not present or not (root / "models" / "model.pt").is_file():
        return  # missing weights are named by the rules for files
    if importlib.util.find_spec("onnxruntime") is None:
        yield f"{', '.join(present)}: cannot be checked without onnxruntime (pip install 'dckd-ext[export]')"
        return
    from dckd_ext.export import bundle_settings, predict, predict_source, read_torchscript

    if _MODULE in present:
        if (root / _MODULE).read_text(encoding="utf-8") != predict_source():
            yield f"{_MODULE}: differs from the one of the installed package: {cure}"
        if _ONNX not in present:
            yield f"{_MODULE}: there is no {_ONNX} for it: {cure}"
    try:
        expected = bundle_settings(root)
    except Exception as error:  # configs are code
        yield f"{', '.join(present)}: cannot be compared with the inference config: {error}"
        return
    for name, read in (
        (_SCRIPT, lambda file: read_torchscript(file)[1].get(predict.KEY, {})),
        (_ONNX, predict.read_settings),
    ):
        if name in present:
            try:
                differing = _differing(expected, read(root / name))
            except ValueError as error:
                yield f"{name}: {error}"
                continue
            if differing:
                yield f"{name}: exported with another {', '.join(differing)} than the bundle has now: {cure}"


def _differing(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    return [key for key, value in expected.items() if found.get(key) != value]
