"""Features of a network by submodule name."""

from __future__ import annotations

import difflib
import logging
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NamedTuple

import torch
import torch.nn as nn
from torch.utils.hooks import RemovableHandle

from dckd_ext.networks.cost import dry_run
from dckd_ext.networks.wrappers import first_tensor, unwrap

__all__ = ["Tap", "TapInfo", "list_taps", "suggest_tap", "tap_channels"]


_logger = logging.getLogger(__name__)


class Tap:
    """Records what a submodule gives, inside a `with` block and nowhere else.

    The network is neither changed nor does it keep the features: the hook goes with the end of the block.
    Names are those of the network inside (Distributed)DataParallel and `Teacher`. Forward hooks by module
    path after torchdistill; the rest is ours.

    Examples:
        >>> import torch
        >>> from dckd_ext.networks import HRNet3D
        >>> network = HRNet3D(1, 3, channels=2, blocks=1)
        >>> with Tap(network, "neck") as tap:
        ...     logits = network(torch.zeros(1, 1, 16, 24, 16))
        >>> list(tap.output.shape)
        [1, 14, 8, 12, 8]
    """

    def __init__(self, network: nn.Module, name: str) -> None:
        """Find the submodule.

        Args:
            network: may be wrapped.
            name: dotted path, as in `named_modules()`.

        Raises:
            ValueError: if there is no such submodule; the message lists the nearest names.
        """
        if isinstance(unwrap(network), torch.jit.ScriptModule):
            raise ValueError(f"{_kind(network)} gives no features: expected no tap, found {name!r}")
        self.name = name
        self._module = _find(unwrap(network), name)
        self._output: torch.Tensor | None = None
        self._hook: RemovableHandle | None = None

    def __enter__(self) -> Tap:
        self._output = None
        self._hook = self._module.register_forward_hook(self._record)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    @property
    def output(self) -> torch.Tensor:
        """Output of the submodule at its last call; of a list or tuple, the first tensor.

        Raises:
            RuntimeError: if the submodule was not called inside the block.
        """
        if self._output is None:
            raise RuntimeError(
                f"The tap '{self.name}' recorded nothing: its module was not called in the block"
            )
        return self._output

    def _record(self, module: nn.Module, inputs: object, output: object) -> None:
        self._output = first_tensor(output)


class TapInfo(NamedTuple):
    """One row of the list of taps."""

    name: str
    module: str
    shape: tuple[int, ...]


def list_taps(network: nn.Module, in_channels: int, roi_size: Sequence[int]) -> list[TapInfo]:
    """List the submodules that a network calls, in the order in which they finish.

    Args:
        network: may be wrapped; it is run once on a blank image.
        in_channels: channels of the image.
        roi_size: size of the image in voxels.

    Returns:
        Name, module type and output shape (batch 1) of every submodule that gives a tensor.
    """
    rows: dict[str, TapInfo] = {}

    def record(name: str, module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        rows[name] = TapInfo(name, type(module).__name__, tuple(output.shape))

    _watch(network, in_channels, roi_size, record)
    return list(rows.values())


def tap_channels(
    network: nn.Module, name: str | Sequence[str] | None, in_channels: int, roi_size: Sequence[int]
) -> Any:
    """Count the channels of a tap by one run on a blank image; of several taps, of each; of none, 0.

    Args:
        network: may be wrapped.
        name: dotted path of the submodule, or several, or None.
        in_channels: channels of the image.
        roi_size: size of the image in voxels.

    Raises:
        ValueError: if there is no such submodule.
    """
    if name is None:
        return 0
    if not isinstance(name, str):
        return [tap_channels(network, each, in_channels, roi_size) for each in name]
    with Tap(network, name) as tap:
        dry_run(network, roi_size, in_channels)
    return tap.output.shape[1]


def suggest_tap(network: nn.Module, in_channels: int, roi_size: Sequence[int]) -> str | None:
    """Name the last feature map before the classifier.

    The classifier is the last convolution that turns features into as many maps as the network gives. Of
    several submodules with this output the shortest path is named, as it is the most stable.

    Args:
        network: may be wrapped; it is run once on a blank image.
        in_channels: channels of the image.
        roi_size: size of the image in voxels.

    Returns:
        The name; None for a network that gives no features, scripted or of an ONNX file, with a warning.

    Raises:
        ValueError: if no submodule gives this map.
    """
    if _is_closed(network):
        _logger.warning("%s gives no features: its logits alone teach", _kind(network))
        return None
    finished: list[tuple[str, weakref.ref[torch.Tensor]]] = []
    features: dict[int, list[str]] = {}

    def record(name: str, module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        if _may_classify(module):
            source = first_tensor(inputs)
            features[output.shape[1]] = [other for other, made in finished if made() is source]
        finished.append((name, weakref.ref(output)))

    logits = _watch(network, in_channels, roi_size, record)
    calls = Counter(name for name, _ in finished)
    names = [name for name in features.get(logits.shape[1], []) if calls[name] == 1]
    if not names:
        raise ValueError(
            f"No submodule of {type(unwrap(network)).__name__} gives just the map that its classifier takes; "
            "choose a tap from the list of `dckd taps BUNDLE`"
        )
    return min(names, key=lambda name: name.count("."))


def _watch(
    network: nn.Module,
    in_channels: int,
    roi_size: Sequence[int],
    record: Callable[[str, nn.Module, object, torch.Tensor], None],
) -> torch.Tensor:
    """Run once and pass every submodule's name, inputs and output (where it is a tensor) on."""
    inner = unwrap(network)

    def hook_of(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            try:
                tensor = first_tensor(output)
            except TypeError:
                return
            record(name, module, inputs, tensor)

        return hook

    hooks = [module.register_forward_hook(hook_of(name)) for name, module in inner.named_modules() if name]
    try:
        return first_tensor(dry_run(inner, roi_size, in_channels))
    finally:
        for hook in hooks:
            hook.remove()


def _kind(network: nn.Module) -> str:
    inner = unwrap(network)
    scripted = isinstance(inner, torch.jit.ScriptModule)
    return "a TorchScript network" if scripted else f"{type(inner).__name__}, which has no submodules,"


def _is_closed(network: nn.Module) -> bool:
    """Tell whether no hook would be called inside a network."""
    inner = unwrap(network)
    return isinstance(inner, torch.jit.ScriptModule) or next(inner.children(), None) is None


def _may_classify(module: nn.Module) -> bool:
    """Tell whether a module is a convolution that may turn features into logits.

    MONAI's UNet smooths its logits by a further convolution of as many channels: not a classifier, unless
    the kernel is 1.
    """
    if not isinstance(module, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        return False
    return module.in_channels != module.out_channels or max(module.kernel_size) == 1


def _find(network: nn.Module, name: str) -> nn.Module:
    modules = {path: module for path, module in network.named_modules(remove_duplicate=False) if path}
    if name in modules:
        return modules[name]
    nearest = difflib.get_close_matches(name, modules, n=5) or [path for path, _ in network.named_children()]
    raise ValueError(
        f"{type(network).__name__} has no submodule '{name}'; the nearest are {nearest}. "
        "`dckd taps BUNDLE` lists them all"
    )
