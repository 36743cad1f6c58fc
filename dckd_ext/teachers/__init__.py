"""What can teach: ensembles, teachers that have not seen the case, and the store of their answers."""

from dckd_ext.teachers.answers import Answer, AnswerStore
from dckd_ext.teachers.ensemble import Ensemble
from dckd_ext.teachers.folds import HeldOutTeachers

__all__ = ["Answer", "AnswerStore", "Ensemble", "HeldOutTeachers"]
