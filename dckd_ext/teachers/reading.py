"""One teacher or several, read from their bundles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from dckd_ext.bundle import class_map, teacher_network
from dckd_ext.bundle.config import StrPath
from dckd_ext.networks import Teacher
from dckd_ext.nnunet import check_held_out, chosen_folds, is_results_folder, read_results_folder
from dckd_ext.teachers.ensemble import Ensemble
from dckd_ext.teachers.folds import HeldOutTeachers

__all__ = ["answering", "read_teachers"]

TEACH = ("all", "held_out")


def read_teachers(
    bundles: StrPath | Sequence[StrPath],
    weights: StrPath | Sequence[StrPath] | Mapping[int, StrPath] | None = None,
    label_map: Mapping[Any, Any] | None = None,
    mirrored_axes: Sequence[int] = (),
    student_bundle: StrPath | None = None,
    config: Mapping[str, Any] | None = None,
) -> Teacher | Ensemble:
    """Read the teachers of a distillation.

    Args:
        bundles: folder of the teacher's bundle, or of several; or what else `teacher_network` takes. Of
            a results
            folder of nnU-Net all folds teach.
        weights: of one bundle a file, several, or one for each fold, ``{fold: file}``, whose teacher held
            that fold out. None: those that each bundle's own config reads.
        label_map: see `class_map`; without a student's bundle, see `Teacher`.
        mirrored_axes: see `Ensemble`.
        student_bundle: folder of the bundle whose classes they have to answer with.
        config: values for keys of the teachers' configs, see `load_bundle_config`.

    Returns:
        The teacher, or the ensemble where there are several or axes to mirror; its members are in the order
        of bundles or weights.

    Raises:
        FileNotFoundError: if a folder or file is missing.
        ValueError: if weights are not those of the network, or are given for several bundles.
    """
    folders = [bundles] if isinstance(bundles, str) or not isinstance(bundles, Sequence) else list(bundles)
    weights = _weights_by_fold(folders, weights)
    files: list[Any] = _files(weights)
    if len(folders) > 1 and weights is not None:
        raise ValueError(
            f"teacher_weights goes with one teacher_bundle, found {len(folders)}. "
            "Several bundles teach with their own weights"
        )
    pairs = (
        [(folder, None) for folder in folders] if weights is None else [(folders[0], file) for file in files]
    )
    members = []
    for folder, file in pairs:
        try:
            member = teacher_network(folder, file, label_map if student_bundle is None else None, config)
            if student_bundle is not None:
                member.class_map = class_map(folder, student_bundle, label_map, config)
        except ValueError as error:
            raise ValueError(
                f"teacher_bundle {folder}: {error}" if len(folders) > 1 else str(error)
            ) from error
        members.append(member)
    return Ensemble(members, mirrored_axes) if len(members) > 1 or mirrored_axes else members[0]


def _weights_by_fold(bundles: Sequence[Any], weights: Any) -> Any:
    """Return the weights that are given, or those of the folds where nnU-Net has trained the only teacher."""
    if weights is not None or len(bundles) != 1 or not is_results_folder(bundles[0]):
        return weights
    return dict(chosen_folds(read_results_folder(bundles[0])))


def answering(
    teacher: Teacher | Ensemble,
    teach: str,
    weights: Any,
    split_file: StrPath,
    mirrored_axes: Sequence[int] = (),
    bundles: StrPath | Sequence[StrPath] = (),
) -> Any:
    """Say which teacher answers a case, by the case's name.

    Args:
        teacher: of `read_teachers`.
        teach: "all": this one, whatever the case; "held_out": see `HeldOutTeachers`.
        weights: those that the teacher was read with; ``{fold: file}`` for "held_out".
        split_file: see `HeldOutTeachers`.
        mirrored_axes: see `Ensemble`.
        bundles: those that the teacher was read from; a results folder of nnU-Net has weights by fold,
            and names
            the cases that each fold held out.

    Raises:
        ValueError: for another ``teach``, for "held_out" without weights by fold or with another split than
            nnU-Net's, and for a student of regions that may overlap.
    """
    if teach not in TEACH:
        raise ValueError(f"teach must be one of {', '.join(TEACH)}, found {teach!r}")
    if teach == "all":
        return _Always(teacher)
    if teacher.regions:
        raise ValueError("teach: held_out does not teach a student of regions that may overlap")
    folders = [bundles] if isinstance(bundles, str) or not isinstance(bundles, Sequence) else list(bundles)
    weights = _weights_by_fold(folders, weights)
    if not isinstance(weights, Mapping) or "all" in weights:
        raise ValueError(
            "teach: held_out needs teacher_weights by the fold that each teacher held out, as "
            f"{{0: fold0.pt, 1: fold1.pt}}, found {weights!r}"
        )
    if len(folders) == 1 and is_results_folder(folders[0]):
        check_held_out(folders[0], split_file, list(map(int, weights)))
    members = teacher.members if isinstance(teacher, Ensemble) else [teacher]
    chosen = HeldOutTeachers(dict(zip(map(int, weights), members, strict=True)), split_file, mirrored_axes)
    if isinstance(teacher, Ensemble):
        teacher.of_case = chosen  # for features that are not kept
    return chosen


class _Always:
    def __init__(self, teacher: Teacher | Ensemble) -> None:
        self.teacher = teacher

    def __call__(self, case: str) -> nn.Module:
        if self.teacher.regions:
            raise ValueError(
                "answers of regions that may overlap are not kept: a student of regions is taught with "
                "--answers live and no unlabelled_dir"
            )
        return self.teacher

    def check(self, cases: Sequence[str]) -> None: ...


def _files(weights: Any) -> list[Any]:
    if isinstance(weights, Mapping):
        return list(weights.values())
    return list(weights) if isinstance(weights, Sequence) and not isinstance(weights, str) else [weights]
