"""nnU-Net's results folders as MONAI bundles."""

from dckd_ext.nnunet.bundle import chosen_folds, folder_config, folder_metadata, load_fold, write_bundle
from dckd_ext.nnunet.folder import ResultsFolder, check_held_out, is_results_folder, read_results_folder

__all__ = [
    "ResultsFolder",
    "check_held_out",
    "chosen_folds",
    "folder_config",
    "folder_metadata",
    "is_results_folder",
    "load_fold",
    "read_results_folder",
    "write_bundle",
]
