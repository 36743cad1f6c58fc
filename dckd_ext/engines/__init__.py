"""What MONAI's engines lack around a run: cases one by one, the end of a process group."""

from dckd_ext.engines.cases import run_each_case
from dckd_ext.engines.process_group import leave_process_group

__all__ = [
    "leave_process_group",
    "run_each_case",
]
