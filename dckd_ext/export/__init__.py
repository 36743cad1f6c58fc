"""Networks of bundles as TorchScript and ONNX, with what `dckd_ext.predict` has to know about them."""

from .bundle import export_bundle
from .networks import differences, read_torchscript, write_onnx, write_torchscript
from .settings import bundle_settings

__all__ = [
    "bundle_settings",
    "differences",
    "export_bundle",
    "read_torchscript",
    "write_onnx",
    "write_torchscript",
]
