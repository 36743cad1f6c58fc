"""Which teacher answers which case: the one that held its fold out, or all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike

from torch import nn

from dckd_ext.data.splits import read_split
from dckd_ext.teachers.ensemble import Ensemble
from dckd_ext.utils.errors import listed

__all__ = ["HeldOutTeachers"]


class HeldOutTeachers:
    """Answer every case by a teacher that has not seen it (cross-fitting).

    A case of a fold is answered by the teacher that held this fold out, any other case, an unlabelled one as
    a rule, by all of them. On cases that it was trained on a teacher repeats the labels, so that there is
    nothing to learn from it (our decision; the term is that of double machine learning).

    Args:
        teachers: by the fold that each held out.
        split_file: names the cases of each fold.
        mirrored_axes: see `Ensemble`.

    Raises:
        ValueError: when there is no teacher, the split has no such fold, or (on a call) a case's fold has no
            teacher.
    """

    def __init__(
        self,
        teachers: Mapping[int, nn.Module],
        split_file: str | PathLike[str],
        mirrored_axes: Sequence[int] = (),
    ) -> None:
        folds = read_split(split_file)["folds"]
        if unknown := sorted(fold for fold in teachers if not 0 <= int(fold) < len(folds)):
            raise ValueError(
                f"teacher_weights names the folds {unknown}, {split_file} has 0 to {len(folds) - 1}"
            )
        self.split_file = split_file
        self.fold_of = {name: fold for fold, names in enumerate(folds) for name in names}
        self.all = Ensemble(list(teachers.values()), mirrored_axes)
        self.of_fold = {int(fold): Ensemble([each], mirrored_axes) for fold, each in teachers.items()}

    def __call__(self, case: str) -> nn.Module:
        """Return the teacher of a case, by its name."""
        if case not in self.fold_of:
            return self.all
        fold = self.fold_of[case]
        if fold not in self.of_fold:
            raise ValueError(
                f"there is no teacher that held out fold {fold}, of which {case} is ({self.split_file}); "
                f"teacher_weights has the folds {sorted(self.of_fold)}. Train it with --fold {fold}"
            )
        return self.of_fold[fold]

    def check(self, cases: Sequence[str]) -> None:
        """Raise a ValueError that names every fold of these cases without a teacher."""
        folds = {self.fold_of[case] for case in cases if case in self.fold_of}
        if missing := sorted(folds - self.of_fold.keys()):
            weights = listed([f"fold {fold}" for fold in missing])
            raise ValueError(
                f"no teacher's weights for {weights}: to answer every case by a teacher that held its fold "
                f"out, teacher_weights needs the folds {sorted(folds)}, found {sorted(self.of_fold)}"
            )
