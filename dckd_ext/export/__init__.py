"""Networks of bundles as TorchScript and ONNX, and `predict`, which segments with them without torch.

The names are loaded when they are used, since `dckd_ext.export.predict` has to start without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dckd_ext.export.bundle import export_bundle
    from dckd_ext.export.networks import differences, read_torchscript, write_onnx, write_torchscript
    from dckd_ext.export.page import check_page, export_page
    from dckd_ext.export.settings import bundle_settings
    from dckd_ext.export.standalone import predict_source
    from dckd_ext.export.training_volumes import record_training_volumes

__all__ = [
    "bundle_settings",
    "check_page",
    "differences",
    "export_bundle",
    "export_page",
    "predict_source",
    "read_torchscript",
    "record_training_volumes",
    "write_onnx",
    "write_torchscript",
]
_HOMES = {
    "export_bundle": "bundle",
    "bundle_settings": "settings",
    "predict_source": "standalone",
    "check_page": "page",
    "export_page": "page",
    "record_training_volumes": "training_volumes",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'networks')}"), name)
