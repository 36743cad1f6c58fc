"""Studies: arms x seeds x students x folds from one file, with everything equal but the arm."""

from .plan import Arm, RunSpec, Study, read_study
from .pool import PatchPool, write_pool
from .runner import run_study
from .summary import write_summary

__all__ = ["Arm", "PatchPool", "RunSpec", "Study", "read_study", "run_study", "write_pool", "write_summary"]
