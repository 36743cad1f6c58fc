"""Releases of bundles: packed by `pack_bundles`, checked by `violations`, brought back by `fetch_bundle`."""

from dckd_ext.distribution.fetch import Fetched, fetch_bundle
from dckd_ext.distribution.release import Packed, pack_bundles
from dckd_ext.distribution.rules import violations
from dckd_ext.distribution.sources import RELEASE_URL

__all__ = ["RELEASE_URL", "Fetched", "Packed", "fetch_bundle", "pack_bundles", "violations"]
