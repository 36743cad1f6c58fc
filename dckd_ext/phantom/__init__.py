"""Synthetic ABUS volumes: for trying things out and for tests, never for claims.

`anatomy`, `lesions` and `breast` say which tissue is where, `acoustics` and `artefacts` what the scanner
makes of it, `volume` puts a volume together and `dataset` a folder of them.
"""

from dckd_ext.phantom.dataset import write_phantoms
from dckd_ext.phantom.volume import Lesion, Phantom, make_phantom

__all__ = ["Lesion", "Phantom", "make_phantom", "write_phantoms"]
