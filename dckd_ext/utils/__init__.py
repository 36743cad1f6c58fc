"""What has no room of its own: whole files, folders of one run, documents, tables, texts of errors."""

from dckd_ext.utils.documents import read_mapping
from dckd_ext.utils.earlier import set_aside
from dckd_ext.utils.errors import first_line, root_cause
from dckd_ext.utils.files import written_whole
from dckd_ext.utils.folders import FolderInUseError, claim_folder, claimed, release_folder, staged
from dckd_ext.utils.tables import read_table, write_table

__all__ = [
    "FolderInUseError",
    "claim_folder",
    "claimed",
    "first_line",
    "read_mapping",
    "read_table",
    "release_folder",
    "root_cause",
    "set_aside",
    "staged",
    "write_table",
    "written_whole",
]
