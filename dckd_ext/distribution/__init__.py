"""Releases of bundles: packed by `pack_bundles`, checked by `violations`, brought back by `fetch_bundle`."""

from .fetch import Fetched, fetch_bundle
from .release import Packed, pack_bundles
from .rules import violations
from .sources import RELEASE_URL

__all__ = ["RELEASE_URL", "Fetched", "Packed", "fetch_bundle", "pack_bundles", "violations"]
