"""Whether a teacher and a student fit, and which class of the one is which of the other."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from dckd_ext.bundle.config import StrPath
from dckd_ext.bundle.description import Description, describe
from dckd_ext.networks.class_maps import ClassMap, plain_class_map

__all__ = ["check_compatible", "class_map", "label_values"]

Pairs = list[tuple[int, list[int]]]


def check_compatible(
    teacher_bundle: StrPath | Sequence[StrPath],
    student_bundle: StrPath,
    label_map: Mapping[Any, Any] | None = None,
    teacher_config: Mapping[str, Any] | None = None,
    regions: bool | None = None,
) -> None:
    """Check that a teacher can teach a student: equal input channels, and classes that fit (`class_map`).

    Args:
        teacher_bundle: folder of the teacher's bundle, or of several; or see `describe`.
        student_bundle: folder of the student's bundle.
        label_map: see `class_map`.
        teacher_config: values for keys of the teacher's config.
        regions: whether the training is one of regions that may overlap; None: not known.

    Raises:
        ValueError: if they do not fit; where a label map would help, the message holds it.
    """
    if not isinstance(teacher_bundle, str) and isinstance(teacher_bundle, Sequence):
        for bundle in teacher_bundle:
            try:
                check_compatible(bundle, student_bundle, label_map, teacher_config, regions)
            except ValueError as error:
                raise ValueError(f"teacher_bundle {bundle}: {error}") from None
        return
    teacher, student = describe(teacher_bundle, teacher_config), describe(student_bundle)
    if regions is not None and student.regions != regions:
        kind = "regions that may overlap" if student.regions else "classes that exclude each other"
        how = "add configs/regions.yaml to" if student.regions else "leave configs/regions.yaml out of"
        raise ValueError(f"The student has {kind}, {student.classes}: {how} --config_file")
    if teacher.channels is not None and teacher.channels != student.channels:
        raise ValueError(
            f"The teacher takes images of {teacher.channels} channels, the student of {student.channels}"
        )
    _class_map(teacher, student, label_map)


def class_map(
    teacher_bundle: StrPath,
    student_bundle: StrPath,
    label_map: Mapping[Any, Any] | None = None,
    teacher_config: Mapping[str, Any] | None = None,
) -> ClassMap | None:
    """Return what turns the teacher's answers into the student's classes; None where they are the same.

    With a label map every student class must be reached, and a class that both name (in any case) must go to
    its namesake; other names are taken as meant. Exclusive classes of the teacher that it does not name are
    background. Where the teacher's classes are regions that may overlap and the student's exclude each other,
    it has to name the regions in the order in which a later one wins.

    Args:
        teacher_bundle: folder of the teacher's bundle; or see `describe`.
        student_bundle: folder of the student's bundle.
        label_map: the student's class of a teacher's class, by numbers or names; a list of them where the
            student's are regions that may overlap.
        teacher_config: values for keys of the teacher's config.

    Raises:
        ValueError: if the classes do not fit; where only the order differs, or the student has some of the
            teacher's classes, the message holds the label map to pass.
    """
    return _class_map(describe(teacher_bundle, teacher_config), describe(student_bundle), label_map)


def label_values(regions: Mapping[Any, Sequence[int]], class_names: Mapping[int, str]) -> list[list[int]]:
    """Return the label's values of every region, in the order of a student's classes.

    Args:
        regions: values by the region's name or number.
        class_names: of the student's bundle.

    Raises:
        ValueError: if a region is unknown or missing, or its values are not whole numbers above 0.

    Examples:
        >>> label_values({"core": [2], "whole": [1, 2]}, {0: "whole", 1: "core"})
        [[1, 2], [2]]
    """
    found = {_number(key, dict(class_names), "student", "regions"): values for key, values in regions.items()}
    if missing := [name for index, name in class_names.items() if index not in found]:
        raise ValueError(f"regions: {missing} have no values of the label, found {dict(regions)}")
    for values in found.values():
        if (
            not isinstance(values, list | tuple)
            or not values
            or not all(_positive(value) for value in values)
        ):
            raise ValueError(f"regions: found {values!r}, expected whole numbers above 0, such as [1, 2]")
    return [list(found[index]) for index in sorted(found)]


def _positive(value: Any) -> bool:
    return type(value) is int and value > 0


def _class_map(
    teacher: Description, student: Description, label_map: Mapping[Any, Any] | None
) -> ClassMap | None:
    wanted = student.classes or {}
    both = f"teacher {teacher.classes}, student {wanted}"
    if teacher.classes is None:
        return _unnamed(student, label_map)
    if label_map is None:
        return _same_names(teacher, student, both)
    pairs = [
        (_number(key, teacher.classes, "teacher"), _numbers(value, wanted))
        for key, value in label_map.items()
    ]
    if not student.regions:
        pairs = _exclusive(teacher, pairs, both)
    reached = {target for _, targets in pairs for target in targets}
    if teacher.regions and not student.regions:
        reached.add(0)
    if reached != set(wanted):
        raise ValueError(f"label_map {dict(label_map)} should reach every student class: {both}")
    _check_namesakes(label_map, pairs, teacher.classes, wanted, both)
    return ClassMap(pairs, len(teacher.classes), len(wanted), teacher.regions, student.regions)


def _unnamed(student: Description, label_map: Mapping[Any, Any] | None) -> ClassMap:
    """Map classes of which nothing tells the names; as many as the student's, or as the map names."""
    wanted = student.classes or {}
    if student.regions:
        raise ValueError(f"Nothing tells the teacher's classes, so it cannot teach regions: student {wanted}")
    try:
        return plain_class_map({index: index for index in wanted} if label_map is None else label_map)
    except (ValueError, TypeError):
        raise ValueError(
            f"label_map {label_map} should give the number of a student class for every number of a teacher "
            f"class, since nothing tells the names of this teacher's: student {wanted}"
        ) from None


def _same_names(teacher: Description, student: Description, both: str) -> ClassMap | None:
    names, wanted = teacher.classes or {}, student.classes or {}
    of_name = {_plain(name): index for index, name in wanted.items()}
    namesakes = {index: of_name[_plain(name)] for index, name in names.items() if _plain(name) in of_name}
    if teacher.regions and not student.regions:
        example = {names[index]: wanted[namesakes.get(index, min(1, len(wanted) - 1))] for index in names}
        raise ValueError(
            f"The teacher's classes are regions that may overlap, the student's exclude each other: {both}. "
            f"Pass label_map with the regions in the order in which a later one wins, such as {example}"
        )
    if len(names) == len(wanted) and namesakes == {index: index for index in wanted}:
        same = [(index, [index]) for index in names]
        return ClassMap(same, len(names), len(wanted), teacher.regions, True) if student.regions else None
    if len(names) == len(wanted) == len(set(namesakes.values())):
        raise ValueError(f"The classes come in another order: {both}. Pass label_map={namesakes}")
    foreground = set(wanted) if student.regions else set(wanted) - {0}
    if foreground <= set(namesakes.values()):
        some = {names[index]: wanted[target] for index, target in namesakes.items() if target in foreground}
        raise ValueError(f"The student has some of the teacher's classes: {both}. Pass label_map={some}")
    raise ValueError(f"The classes differ: {both}. Pass a label_map, or choose another teacher")


def _exclusive(teacher: Description, pairs: Pairs, both: str) -> Pairs:
    """Complete the pairs for classes of the student that exclude each other."""
    if several := [source for source, targets in pairs if len(targets) != 1]:
        raise ValueError(
            f"label_map gives several classes for {several}, but they exclude each other: {both}"
        )
    if teacher.regions:
        return [pair for pair in pairs if pair[1] != [0]]
    named = {source for source, _ in pairs}
    return pairs + [(index, [0]) for index in teacher.classes or {} if index not in named]


def _check_namesakes(
    label_map: Mapping[Any, Any], pairs: Pairs, names: dict[int, str], wanted: dict[int, str], both: str
) -> None:
    of_name = {_plain(name): index for index, name in wanted.items()}
    wrong = {
        names[source]: ", ".join(wanted[target] for target in targets)
        for source, targets in pairs[: len(label_map)]
        if of_name.get(_plain(names[source]), targets[0]) not in targets
    }
    if wrong:
        raise ValueError(f"label_map {dict(label_map)} mixes up classes of the same name ({wrong}): {both}")


def _numbers(value: Any, names: dict[int, str]) -> list[int]:
    values = value if isinstance(value, list | tuple) else [value]
    return [_number(each, names, "student") for each in values]


def _number(value: Any, names: dict[int, str], whose: str, option: str = "label_map") -> int:
    """Return the number of a class that is given by number or name."""
    text = _plain(str(value))
    number = int(text) if text.isdecimal() else None
    found = [index for index, name in names.items() if _plain(name) == text] or (
        [number] if number in names else []
    )
    if len(found) != 1:
        near = difflib.get_close_matches(text, map(_plain, names.values()), n=3) or [*names.values()][:5]
        raise ValueError(
            f"{option} names the {whose} class {value!r}, expected one of 0 to {len(names) - 1} or a name "
            f"such as {near}"
        )
    return found[0]


def _plain(name: str) -> str:
    return name.strip().casefold()
