"""`dckd taps BUNDLE`: where features of a bundle's network can be taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dckd_ext.cli.values import Integers

if TYPE_CHECKING:
    from dckd_ext.networks.taps import TapInfo

__all__ = ["taps"]

_MOST = 128  # voxels an edge of the window that the taps are tried with
_SIZE_KEYS = (
    "roi_size",
    "patch_size",
    "inferer#roi_size",
    "_meta_#network_data_format#inputs#image#spatial_shape",
)


def taps(bundle: str, *, roi_size: Integers | None = None) -> None:
    """Print the taps of a bundle's network: name, module type and output shape; the suggested one is marked.

    This runs the code of the bundle: use one that you trust (docs/security.md).

    Args:
        bundle: folder of the bundle.
        roi_size: size of the image in voxels, one number or one an axis; by default the bundle's own.

    Raises:
        ValueError: if the network cannot take this size, or the bundle states none.
    """
    from dckd_ext.bundle import in_channels, student_network
    from dckd_ext.networks import check_roi_size, list_taps, suggest_tap

    network = student_network(bundle)
    channels = in_channels(bundle)
    size = (
        _tried(_bundle_size(bundle)) if roi_size is None else [*roi_size] * (3 if len(roi_size) == 1 else 1)
    )
    check_roi_size(network, size)
    rows = list_taps(network, channels, size)
    try:
        suggested = suggest_tap(network, channels, size) or ""
    except ValueError:
        suggested = ""
    print(f"{type(network).__name__} on {channels} x {' x '.join(map(str, size))}; * suggested tap")
    print(_table(rows, suggested))


def _tried(size: list[int]) -> list[int]:
    """Return the bundle's window, or a smaller one where its maps would take gigabytes; says so."""
    smaller = [min(edge, _MOST) for edge in size]
    if smaller != size:
        edges = (" x ".join(map(str, each)) for each in (smaller, size))
        print("a window of {} in the place of the bundle's {}; --roi_size asks for another".format(*edges))
    return smaller


def _bundle_size(bundle: str) -> list[int]:
    from dckd_ext.bundle import load_bundle_config

    parser = load_bundle_config(bundle)
    for key in _SIZE_KEYS:
        value = parser.get_parsed_content(key) if key in parser else None
        if isinstance(value, (list, tuple)) and all(isinstance(edge, int) for edge in value):
            return list(value)
    raise ValueError(f"{bundle} states no size as numbers in {list(_SIZE_KEYS)}: pass --roi_size D,H,W")


def _table(rows: Sequence[TapInfo], suggested: str) -> str:
    cells = [(row.name, row.module, " x ".join(map(str, row.shape[1:]))) for row in rows]
    name, module = (max(len(row[column]) for row in cells) for column in (0, 1))
    return "\n".join(
        f"{'*' if row[0] == suggested else ' '} {row[0]:{name}}  {row[1]:{module}}  {row[2]}" for row in cells
    )
