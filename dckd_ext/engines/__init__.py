"""What MONAI's engines lack around a run: a look at the teacher, case by case, the end of a process group."""

from dckd_ext.engines.batches import PrepareTaughtBatch
from dckd_ext.engines.cases import run_each_case
from dckd_ext.engines.process_group import leave_process_group
from dckd_ext.engines.teacher import check_teacher

__all__ = [
    "PrepareTaughtBatch",
    "check_teacher",
    "leave_process_group",
    "run_each_case",
]
