"""Networks as TorchScript and ONNX, and how far these are from the network."""

from __future__ import annotations

import io
import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from monai.data import load_net_with_metadata, save_net_with_metadata
from monai.networks.nets import BasicUNet
from monai.networks.nets.basic_unet import UpCat
from monai.networks.utils import convert_to_onnx, convert_to_torchscript
from torch import Tensor, nn

from dckd_ext.export.predict import KEY
from dckd_ext.networks import HRNet3D

__all__ = ["SIZES", "differences", "read_torchscript", "size_step", "write_onnx", "write_torchscript"]

# edges of odd and even length, longer and shorter than the windows; the first number is the batch
SIZES = ((1, 32, 48, 32), (2, 48, 32, 64), (1, 33, 51, 35), (1, 17, 40, 29), (2, 61, 23, 47))
_SEED = 0


def size_step(network: nn.Module, roi_size: Sequence[int]) -> list[int]:
    """Return what the ONNX network's edges are multiples of; TorchScript takes what the network does.

    A trace keeps the branches that it met. BasicUNet and HRNet3D are traced without one; other networks are
    taken to fit their windows alone.

    Args:
        network: to be exported.
        roi_size: size of the windows in voxels.
    """
    any_size = isinstance(network, (BasicUNet, HRNet3D))
    return [1] * 3 if any_size else [int(edge) for edge in roi_size]


def write_torchscript(network: nn.Module, file: Path, metadata: Mapping[str, Any]) -> None:
    """Script a network, for any size and batch that it takes, with metadata as MONAI's `ckpt_export` does.

    Args:
        network: in eval mode afterwards.
        file: its name ends in ".ts".
        metadata: plain values.
    """
    with _quiet():
        scripted = convert_to_torchscript(network)
    content = io.BytesIO()  # for a file on a full disk, torch would end the process
    save_net_with_metadata(scripted, content, meta_values=metadata)
    file.write_bytes(content.getvalue())


def write_onnx(
    network: nn.Module, file: Path, channels: int, roi_size: Sequence[int], settings: Mapping[str, Any]
) -> None:
    """Trace a network into ONNX with dynamic batch and spatial size; input ``image``, output ``pred``.

    Instance norms are written as two passes of short sums, since ONNX Runtime and OpenVINO add up their own
    in one long sum in float32, which is off by up to a tenth of the largest logit at 96 x 128 x 96.

    Args:
        network: in eval mode afterwards.
        file: to write.
        channels: of the image.
        roi_size: size of the traced image; other sizes are multiples of `size_step`.
        settings: become the value, in JSON, of the metadata key "dckd", if they have a format.
    """
    import onnx

    axes = {0: "batch", 2: "x", 3: "y", 4: "z"}
    with _quiet(), _without_branches(network), _exact_norms(network):
        model = convert_to_onnx(
            network,
            [torch.zeros(1, channels, *roi_size)],
            input_names=["image"],
            output_names=["pred"],
            dynamic_axes={"image": axes, "pred": axes},
            use_trace=True,
            dynamo=False,  # the newer exporter fixes the sizes
            do_constant_folding=False,  # equal weights become one, which folding then loses; runtimes fold
        )
    if "format" in settings:
        entry = model.metadata_props.add()
        entry.key, entry.value = KEY, json.dumps(settings)
    onnx.checker.check_model(model)
    onnx.save(model, str(file))


def read_torchscript(file: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Load a network and its metadata.

    Raises:
        ValueError: if it cannot be read.
    """
    try:
        with _quiet():
            network, metadata, _ = load_net_with_metadata(str(file), torch.device("cpu"))
    except RuntimeError as error:
        raise ValueError(f"{file}: cannot be read as TorchScript: {str(error).splitlines()[0]}") from error
    return network, metadata


def differences(
    network: nn.Module,
    run: Callable[[Tensor], Tensor],
    channels: int,
    step: Sequence[int] = (1, 1, 1),
    sizes: Sequence[Sequence[int]] = SIZES,
) -> list[dict[str, Any]]:
    """Compare a network with its exported form on noise, of odd sizes too.

    Args:
        network: gives the expected logits.
        run: the exported form, from images to logits, ``BCDHW``.
        channels: of the images.
        step: images are padded to multiples of it by repeating their edges, for both, and logits cropped.
        sizes: B, D, H, W of each comparison.

    Returns:
        For each size: ``size``, ``padded``, ``max_difference`` of logits, ``max_logit``, both as absolute
        values, and ``classes_differing``, a share of voxels.
    """
    generator = torch.Generator().manual_seed(_SEED)
    network.eval()
    rows = []
    for batch, *size in sizes:
        padded = [math.ceil(edge / multiple) * multiple for edge, multiple in zip(size, step, strict=True)]
        image = torch.randn(batch, channels, *size, generator=generator)
        gaps = [gap for edge, to in zip(size[::-1], padded[::-1], strict=True) for gap in (0, to - edge)]
        image = F.pad(image, gaps, mode="replicate")
        x, y, z = size
        with torch.inference_mode():
            expected, found = (logits[..., :x, :y, :z] for logits in (network(image), run(image)))
        rows.append(
            {
                "size": [batch, *size],
                "padded": padded,
                "max_difference": float((found - expected).abs().max()),
                "max_logit": float(expected.abs().max()),
                "classes_differing": float(np.mean((found.argmax(1) != expected.argmax(1)).numpy())),
            }
        )
    return rows


@contextmanager
def _without_branches(network: nn.Module) -> Iterator[None]:
    """Let BasicUNet pad odd maps without a branch, which a trace would fix."""
    ups = [module for module in network.modules() if isinstance(module, UpCat) and module.is_pad]
    with _forward(ups, _up_and_concatenate):
        yield


@contextmanager
def _exact_norms(network: nn.Module) -> Iterator[None]:
    """Let instance norms add up along one axis after the other: no sum is longer than an edge."""
    norms = [each for each in network.modules() if isinstance(each, nn.InstanceNorm3d)]
    with _forward([norm for norm in norms if not norm.track_running_stats], _instance_norm):
        yield


@contextmanager
def _forward(modules: Sequence[nn.Module], forward: Callable[..., Tensor]) -> Iterator[None]:
    for module in modules:
        vars(module)["forward"] = MethodType(forward, module)
    try:
        yield
    finally:
        for module in modules:
            del vars(module)["forward"]  # the class has it again


def _instance_norm(module: nn.InstanceNorm3d, image: Tensor) -> Tensor:
    """`InstanceNorm3d.forward`; mean and variance are taken one after the other."""
    centred = image - _mean(image)
    scale = torch.rsqrt(_mean(centred * centred) + module.eps)
    if not module.affine:
        return centred * scale
    weight, bias = (each.view(1, -1, 1, 1, 1) for each in (module.weight, module.bias))
    return centred * (scale * weight) + bias


def _mean(image: Tensor) -> Tensor:
    """Mean over space. By sums, since OpenVINO merges means of one axis after the other into one."""
    for axis in (2, 3, 4):
        image = image.sum(axis, keepdim=True) / image.shape[axis]
    return image


def _up_and_concatenate(module: UpCat, image: Tensor, skip: Tensor) -> Tensor:
    """`UpCat.forward`, with a padding of 0 where the map needs none."""
    image = module.upsample(image)
    gaps = [gap for axis in (-1, -2, -3) for gap in (0, skip.shape[axis] - image.shape[axis])]
    return module.convs(torch.cat([skip, F.pad(image, gaps, mode="replicate")], dim=1))


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # TorchScript is deprecated in torch, without a successor for ONNX here
        yield
