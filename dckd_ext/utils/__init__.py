"""What has no room of its own: whole files, tables, the cause of an error."""

from dckd_ext.utils.errors import first_line, root_cause
from dckd_ext.utils.files import written_whole
from dckd_ext.utils.tables import read_table, write_table

__all__ = ["first_line", "read_table", "root_cause", "write_table", "written_whole"]
