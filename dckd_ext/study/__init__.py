"""Studies: arms x seeds x students x folds from one file, with everything equal but the arm."""

from dckd_ext.study.plan import Arm, RunSpec, Study, read_study
from dckd_ext.study.pool import PatchPool, write_pool
from dckd_ext.study.runner import run_study
from dckd_ext.study.summary import write_summary

__all__ = ["Arm", "PatchPool", "RunSpec", "Study", "read_study", "run_study", "write_pool", "write_summary"]
