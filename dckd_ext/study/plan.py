"""What a study file says, and the runs that follow from it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import product
from pathlib import Path
from typing import Any

from dckd_ext.utils.documents import read_mapping

__all__ = ["RESERVED", "Arm", "RunSpec", "Study", "read_study"]

RESERVED = (
    *("bundle_root", "student_bundle", "teacher_bundle", "teacher_weights", "dataset_dir", "split_file"),
    *("fold", "held_out", "seed", "split", "checkpoint", "output_dir", "scores", "resume"),
)
"""What a study sets for every run, so that all train and score on the same cases: no options of its own."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}")


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Args:
        name: as shown.
        overlays: config files over the distillation bundle's train.yaml, in order.
        options: values over these, by config id.
    """

    name: str
    overlays: tuple[Path, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunSpec:
    """One training and its evaluation."""

    student: str
    arm: str
    seed: int
    fold: int

    @property
    def name(self) -> str:
        """Unique in a study, and the name of the run's folder."""
        return f"{self.student}-{self.arm}-fold{self.fold}-seed{self.seed}"


@dataclass(frozen=True)
class Study:
    """A study.

    Args:
        name: as shown.
        workflow: distillation bundle whose train.yaml every arm runs.
        teacher: its bundle.
        students: student bundles by name.
        arms: by name.
        seeds: of first weights, order, augmentation and, with ``train_cases``, choice of cases.
        folds: each is validated on once.
        teacher_weights: weights of the teacher for each fold, which must not have seen that fold; by default
            the bundle's for every fold.
        split_file: folds for training and scoring alike; by default what the workflow's train config names.
        held_out: folds that take no part, for choosing hyper-parameters.
        train_cases: train on so many cases only, another draw for each seed; null: all.
        draws: precompute so many augmented patches a training case, with the teacher's answers, and train all
            arms on these (`PatchPool`); null: augment and ask the teacher at every step.
        options: values over the train config for every arm, by config id.
        evaluate: values over the evaluation config, by config id.
        baselines: arms that the tables compare every arm with.
    """

    name: str
    workflow: Path
    teacher: Path
    students: Mapping[str, Path]
    arms: Mapping[str, Arm]
    seeds: Sequence[int]
    folds: Sequence[int] = (0,)
    teacher_weights: Mapping[int, Path] = field(default_factory=dict)
    split_file: Path | None = None
    held_out: Sequence[int] = ()
    train_cases: int | None = None
    draws: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    evaluate: Mapping[str, Any] = field(default_factory=dict)
    baselines: Sequence[str] = ()

    def runs(self) -> list[RunSpec]:
        """List all runs; those that share a pool of patches stand together; all arms of a seed come early."""
        return [
            RunSpec(student, arm, seed, fold)
            for fold, seed, student, arm in product(self.folds, self.seeds, self.students, self.arms)
        ]


def read_study(file: str | Path) -> Study:
    """Read a study from YAML; paths in it are relative to the file.

    An arm is a list of overlay files, or ``{overlays: [...], options: {...}}``. The option ``autocast: auto``
    is bfloat16 where the processor or CUDA computes in it fast, else float32; a run's line says what it was.
    See experiments/studies for examples.

    Raises:
        FileNotFoundError: for the study, or a path in it, that does not exist; the teachers' weights are
            looked for when they are needed.
        ValueError: when a key is missing, unknown or of the wrong kind, or options set what the study sets.
    """
    file = Path(file)
    content = read_mapping(file)
    known = {each.name for each in fields(Study)}
    required = {"name", "workflow", "teacher", "students", "arms", "seeds"}
    if unknown := sorted(map(str, set(content) - known)):
        raise ValueError(f"{file}: unknown keys {unknown}, expected some of {sorted(known)}")
    if missing := sorted(required - set(content)):
        raise ValueError(f"{file}: lacks the keys {missing}")
    _check_kinds(file, content)
    _check_names(file, content)
    _check_lists(file, content)
    paths = _Paths(file)
    content["workflow"] = paths.existing(content["workflow"], "workflow")
    content["teacher"] = paths.existing(content["teacher"], "teacher")
    content["students"] = {
        name: paths.existing(path, f"students#{name}") for name, path in content["students"].items()
    }
    weights = content.get("teacher_weights") or {}
    content["teacher_weights"] = {fold: paths.absolute(path) for fold, path in weights.items()}
    if content.get("split_file") is not None:
        content["split_file"] = paths.existing(content["split_file"], "split_file")
    content["arms"] = {name: _arm(name, arm, paths) for name, arm in content["arms"].items()}
    _check_options(file, "options", content.get("options", {}))
    _check_options(file, "evaluate", content.get("evaluate", {}))
    if strange := [name for name in content.get("baselines", []) if name not in content["arms"]]:
        raise ValueError(f"{file}: baselines {strange} are not among the arms {sorted(content['arms'])}")
    return Study(**content)


def _check_kinds(file: Path, content: Mapping[str, Any]) -> None:
    for key in ("name", "workflow", "teacher", *({"split_file"} & content.keys())):
        if not isinstance(content[key], str) or not content[key]:
            raise ValueError(f"{file}: {key!r} should be a text, found {content[key]!r}")
    for key in ("students", "arms"):
        found = content[key]
        if not isinstance(found, dict) or not found or not all(isinstance(name, str) for name in found):
            raise ValueError(f"{file}: {key!r} should map names to files, found {found!r}")
    for name, path in content["students"].items():
        if not isinstance(path, str):
            raise ValueError(f"{file}: 'students#{name}' should be a path, found {path!r}")
    for key in ("options", "evaluate"):
        if not _is_mapping(content.get(key, {}), str):
            raise ValueError(f"{file}: {key!r} should map config ids to values, found {content[key]!r}")
    if not _is_mapping(content.get("teacher_weights") or {}, int):
        found = content["teacher_weights"]
        raise ValueError(f"{file}: 'teacher_weights' should map numbers of folds to files, found {found!r}")
    if not isinstance(content.get("baselines", []), list):
        raise ValueError(f"{file}: 'baselines' should be a list of arms, found {content['baselines']!r}")


def _check_options(file: Path, place: str, options: Mapping[str, Any]) -> None:
    if taken := [key for key in options if key.partition("#")[0].partition("::")[0] in RESERVED]:
        keys = "students, seeds, folds, held_out, teacher_weights, split_file"
        raise ValueError(
            f"{file}: {place!r} sets {taken[0]!r}, which the study itself sets for every run: expected its "
            f"keys ({keys}) or options of `dckd study` in its place"
        )


def _check_names(file: Path, content: Mapping[str, Any]) -> None:
    """Refuse names that could not be parts of the names of files, or would be those of other runs."""
    for key, names in (
        ("name", [content["name"]]),
        ("students", content["students"]),
        ("arms", content["arms"]),
    ):
        if strange := [name for name in names if not _NAME.fullmatch(name)]:
            raise ValueError(
                f"{file}: {key!r} has {strange[0]!r}, expected letters, digits and . _ + - after a letter or "
                "digit, at most 64: it becomes a part of the names of files"
            )
    pairs: dict[str, str] = {}
    for student, arm in product(content["students"], content["arms"]):
        name = f"{student}-{arm}".casefold()  # some file systems know no case
        if name in pairs:
            raise ValueError(
                f"{file}: arm {arm!r} of student {student!r} would have the name of {pairs[name]}: {name}"
            )
        pairs[name] = f"arm {arm!r} of student {student!r}"


def _is_mapping(value: Any, keys: type) -> bool:
    return isinstance(value, dict) and all(type(key) is keys for key in value)


def _check_lists(file: Path, content: Mapping[str, Any]) -> None:
    for key in ("seeds", "folds", "held_out"):
        numbers = content.get(key, [0])
        if (
            not isinstance(numbers, list)
            or not (numbers or key == "held_out")
            or not all(type(n) is int and n >= 0 for n in numbers)
        ):
            raise ValueError(
                f"{file}: {key!r} should be a list of whole numbers from 0 on, found {numbers!r}"
            )
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"{file}: {key!r} names a number twice: {numbers}")
    if both := sorted(set(content.get("held_out", [])) & set(content.get("folds", [0]))):
        raise ValueError(f"{file}: the folds {both} are both held out and validated on")
    for key in ("train_cases", "draws"):
        number = content.get(key)
        if number is not None and not (type(number) is int and number > 0):
            raise ValueError(f"{file}: {key!r} should be a whole number above 0 or null, found {number!r}")


def _arm(name: str, content: Any, paths: _Paths) -> Arm:
    content = content if isinstance(content, dict) else {"overlays": content}
    if unknown := sorted(set(content) - {"overlays", "options"}):
        raise ValueError(f"{paths.file}: arm {name!r} has unknown keys {unknown}, expected overlays, options")
    overlays = content.get("overlays") or []
    overlays = [overlays] if isinstance(overlays, str) else overlays
    options = content.get("options") or {}
    if not isinstance(overlays, list) or not _is_mapping(options, str):
        raise ValueError(
            f"{paths.file}: arm {name!r} should be a list of overlays, or overlays (a list) and options "
            f"(config ids with values), found {content}"
        )
    _check_options(paths.file, f"arms#{name}#options", options)
    files = tuple(paths.existing(overlay, f"arms#{name}") for overlay in overlays)
    return Arm(name, files, options)


@dataclass(frozen=True)
class _Paths:
    file: Path

    def absolute(self, path: Any) -> Path:
        return (self.file.parent / Path(str(path)).expanduser()).resolve()

    def existing(self, path: Any, key: str) -> Path:
        found = self.absolute(path)
        if not found.exists():
            raise FileNotFoundError(f"{self.file}: {key} names {found}, which does not exist")
        return found
