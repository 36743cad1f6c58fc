"""nnU-Net's results folders as MONAI bundles."""

from dckd_ext.nnunet.bundle import folder_config, folder_network, write_bundle
from dckd_ext.nnunet.folder import ResultsFolder, is_results_folder, read_results_folder

__all__ = [
    "ResultsFolder",
    "folder_config",
    "folder_network",
    "is_results_folder",
    "read_results_folder",
    "write_bundle",
]
