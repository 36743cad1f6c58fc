"""Teachers that are no bundle: a TorchScript file, an ONNX file, a function of a Python module."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import torch
from monai.data import load_net_with_metadata
from torch import Tensor, nn

from dckd_ext.utils.errors import first_line

__all__ = ["OnnxNetwork", "is_factory", "network_of_factory", "plain_network", "script_metadata"]

_FACTORY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_ENDINGS = (".ts", ".onnx")


def is_factory(name: str) -> bool:
    """Tell whether this is ``module:function``, and no file.

    Examples:
        >>> is_factory("mine.networks:unet"), is_factory("networks/unet.ts")
        (True, False)
    """
    return _FACTORY.fullmatch(name) is not None and not Path(name).exists()


def plain_network(file: Path) -> nn.Module:
    """Read a network from a TorchScript (.ts) or ONNX (.onnx) file. It gives no features.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read, or is of another kind.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file}: there is no such bundle or file")
    if file.suffix == ".onnx":
        return OnnxNetwork(file)
    if file.suffix != ".ts":
        raise ValueError(
            f"{file}: expected a bundle's folder, module:function, or a file that ends in "
            f"{' or '.join(_ENDINGS)}"
        )
    return _script(file)[0]


def script_metadata(file: Path) -> dict[str, Any]:
    """Return the metadata in a TorchScript file, as MONAI's `ckpt_export` writes it, or nothing."""
    return _script(file)[1] if file.suffix == ".ts" else {}


def _script(file: Path) -> tuple[nn.Module, dict[str, Any]]:
    if not file.is_file():
        raise FileNotFoundError(f"{file}: there is no such file")
    try:
        network, metadata, _ = load_net_with_metadata(str(file), torch.device("cpu"))
    except Exception as error:  # torch's own types
        raise ValueError(f"{file}: cannot be read as TorchScript: {first_line(error)}") from error
    return network, metadata


def network_of_factory(name: str) -> nn.Module:
    """Call ``module:function``, which returns a network. This runs the module's code.

    Raises:
        ValueError: if there is no such module or function, or it does not return a network.
    """
    module, _, function = name.partition(":")
    sys.path.insert(0, "")
    try:
        network = getattr(importlib.import_module(module), function)()
    except Exception as error:  # whatever the module raises
        raise ValueError(f"{name} should return a network: {first_line(error)}") from error
    finally:
        sys.path.remove("")
    if not isinstance(network, nn.Module):
        raise ValueError(f"{name} should return a network (torch.nn.Module), found {type(network).__name__}")
    return network


class OnnxNetwork(nn.Module):
    """A network in an ONNX file, for its answers alone: nothing goes back through it.

    Args:
        file: with one input, ``BCDHW``, and the logits as the first output.

    Raises:
        ValueError: if onnxruntime is not there, or cannot read the file.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        try:
            import onnxruntime
        except ImportError as error:
            raise ValueError(f"{file}: an ONNX teacher needs onnxruntime: pip install onnxruntime") from error
        try:
            self.session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own types
            raise ValueError(f"{file}: cannot be read as an ONNX network: {first_line(error)}") from error
        self.input = self.session.get_inputs()[0].name
        self.register_buffer("weights", torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.uint8))

    def forward(self, image: Tensor) -> Tensor:
        """Answer on the CPU; the logits come back to the image's device."""
        found = self.session.run(None, {self.input: image.detach().float().cpu().numpy()})[0]
        return torch.from_numpy(found).to(image.device)
