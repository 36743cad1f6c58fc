"""An ONNX file in OpenVINO or ONNX Runtime, on the CPU, in float32 unless asked."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from dckd_ext.export.memory import window_bytes

__all__ = ["PRECISIONS", "RUNTIMES", "Network", "cache_folder", "load_network", "onnx_metadata"]

RUNTIMES = ("auto", "onnxruntime", "openvino")
"""What can run a network; "auto" takes OpenVINO where it is installed, since it is the faster one."""
PRECISIONS = ("float32", "bfloat16")
"""What a network computes in; bfloat16 with OpenVINO alone."""

_CACHE_MB = 512  # of compiled networks in the user's cache folder; the oldest go first


class Network:
    """A network in a runtime.

    Attributes:
        run: from windows, float32, ``BCXYZ``, to logits of the same size.
        runtime: name and version, precision and number of threads, to be printed.
    """

    def __init__(self, run: Callable[[np.ndarray], np.ndarray], runtime: str) -> None:
        self.run, self.runtime = run, runtime
        self._bytes: float | None = None

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        """Return the logits of windows."""
        return self.run(windows)

    def ready(self, shape: tuple[int, ...]) -> None:
        """Compile for windows of a shape where the runtime does that."""
        if isinstance(self.run, _OpenVINO):
            self.run.request(shape)

    def bytes_a_voxel(self, channels: int, roi: Sequence[int], step: Sequence[int]) -> float:
        """Return the memory that a window takes, seen once with one of half the edges."""
        if self._bytes is None:
            half = [max(s, edge // 2 // s * s) for edge, s in zip(roi, step, strict=True)]
            self._bytes = window_bytes(self, channels, half)
        return self._bytes


def load_network(file: Path, threads: int = 0, runtime: str = "auto", precision: str = "float32") -> Network:
    """Load a network.

    Args:
        file: ONNX, with one input and one output.
        threads: at most; 0 is one a core.
        runtime: one of `RUNTIMES`.
        precision: one of `PRECISIONS`.

    Raises:
        FileNotFoundError: when there is no such file.
        ModuleNotFoundError: when the runtime is not installed, or for "auto" none is.
        ValueError: when the file cannot be read, or for another option.
    """
    if not file.is_file():
        raise FileNotFoundError(f"there is no network at {file}: make it with `dckd export BUNDLE`")
    if threads < 0:
        raise ValueError(f"threads: expected 0 (one a core) or more, found {threads}")
    for name, value, known in (("runtime", runtime, RUNTIMES), ("precision", precision, PRECISIONS)):
        if value not in known:
            raise ValueError(f"{name}: expected {', '.join(known)}, found {value!r}")
    onnx_metadata(file)  # whose errors are shorter than those of the runtimes
    if runtime == "auto":
        runtime = _installed()
    if runtime == "openvino":
        return _by_openvino(file, threads, precision)
    if precision != "float32":
        raise ValueError(f"precision: ONNX Runtime computes in float32, found {precision}: use openvino")
    return _by_onnxruntime(file, threads)


def onnx_metadata(file: Path) -> dict[str, str]:
    """Read the metadata of an ONNX file, without any runtime.

    Raises:
        ValueError: when it is no ONNX file.
    """
    content = memoryview(file.read_bytes())
    try:
        pairs = [dict(_fields(value)) for field, value in _fields(content) if field == 14]
        return {bytes(pair[1]).decode(): bytes(pair.get(2, b"")).decode() for pair in pairs}
    except (IndexError, KeyError, ValueError, TypeError) as error:
        raise ValueError(f"{file}: cannot be read as an ONNX network: {error}") from None


def cache_folder() -> Path | None:
    """Return the user's folder of compiled networks, made if needed; None where there can be none."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    with suppress(OSError, RuntimeError):  # a user without a home
        folder = Path(base).expanduser() / "dckd" / "openvino"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    return None


def _installed() -> str:
    for name in ("openvino", "onnxruntime"):
        with suppress(ImportError):
            __import__(name)
            return name
    text = "neither openvino nor onnxruntime is installed: pip install openvino"
    raise ModuleNotFoundError(text, name="onnxruntime")


def _by_onnxruntime(file: Path, threads: int) -> Network:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own types
        raise ValueError(f"{file}: cannot be read as an ONNX network: {error}") from error
    name = session.get_inputs()[0].name
    text = _described(f"ONNX Runtime {onnxruntime.__version__}", "float32", threads)
    return Network(lambda windows: session.run(None, {name: windows})[0], text)


def _by_openvino(file: Path, threads: int, precision: str) -> Network:
    import openvino

    core = openvino.Core()
    if precision == "bfloat16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise ValueError("precision: this processor does not compute in bfloat16: use float32")
    options: dict[str, Any] = {
        # by itself OpenVINO takes bfloat16 or float16 where the processor has them
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    folder = cache_folder()
    if folder is not None:
        _bound(folder)
        options["CACHE_DIR"] = str(folder)
    network = _OpenVINO(core, file, options)
    version = openvino.__version__.partition("-")[0]
    return Network(network, _described(f"OpenVINO {version}", precision, threads))


class _OpenVINO:
    """Compiles once for each shape of windows: OpenVINO fuses more operations when it knows their shapes."""

    def __init__(self, core: Any, file: Path, options: Mapping[str, Any]) -> None:
        self.core, self.file, self.options = core, file, options
        self.requests: dict[tuple[int, ...], Any] = {}
        self._read()

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        logits: np.ndarray = self.request(windows.shape).infer({0: windows}, share_inputs=True)[0]
        return logits

    def request(self, shape: tuple[int, ...]) -> Any:
        if shape not in self.requests:
            self.requests = {shape: self._compiled(shape).create_infer_request()}  # the one before is freed
        return self.requests[shape]

    def _read(self) -> Any:
        try:
            return self.core.read_model(str(self.file))
        except RuntimeError as error:
            text = " ".join(str(error).split())
            raise ValueError(f"{self.file}: cannot be read as an ONNX network: {text}") from None

    def _compiled(self, shape: tuple[int, ...]) -> Any:
        model = self._read()
        try:
            model.reshape(list(shape))
            return self.core.compile_model(model, "CPU", self.options)
        except RuntimeError as error:
            text = " ".join(str(error).split())
            raise ValueError(f"{self.file}: does not take windows of the shape {shape}: {text}") from None


def _described(name: str, precision: str, threads: int) -> str:
    return f"{name}, {precision}, {threads or 'all'} thread{'' if threads == 1 else 's'}"


def _bound(folder: Path) -> None:
    """Remove the oldest files until there is room."""
    with suppress(OSError):  # another process may remove them too
        files = sorted((f for f in folder.iterdir() if f.is_file()), key=lambda f: f.stat().st_mtime)
        size = sum(each.stat().st_size for each in files)
        for file in files:
            if size <= _CACHE_MB * 2**20:
                break
            size -= file.stat().st_size
            file.unlink()


def _fields(message: memoryview) -> list[tuple[int, Any]]:
    """Return number and value of the fields of a message of Protocol Buffers; texts and messages as bytes."""
    fields: list[tuple[int, Any]] = []
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == 0:
            number, place = _varint(message, place)
            fields.append((key >> 3, number))
            continue
        if kind == 2:
            size, place = _varint(message, place)
        else:
            size = {1: 8, 5: 4}[kind]
        if place + size > len(message):
            raise ValueError(f"its field {key >> 3} does not end")
        fields.append((key >> 3, message[place : place + size]))
        place += size
    return fields


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
