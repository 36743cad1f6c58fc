"""What can teach: teachers, ensembles, those that have not seen the case; the store of their answers."""

from dckd_ext.teachers.answers import Answer, AnswerStore
from dckd_ext.teachers.cases import taught_cases
from dckd_ext.teachers.ensemble import Ensemble
from dckd_ext.teachers.folds import HeldOutTeachers
from dckd_ext.teachers.reading import answering, read_teachers
from dckd_ext.teachers.sight import OwnSight, own_sight

__all__ = [
    "Answer",
    "AnswerStore",
    "Ensemble",
    "HeldOutTeachers",
    "OwnSight",
    "answering",
    "own_sight",
    "read_teachers",
    "taught_cases",
]
