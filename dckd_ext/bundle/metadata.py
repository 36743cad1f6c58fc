"""What a bundle's metadata says of its classes and channels, and whether two bundles fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dckd_ext.bundle.config import StrPath, bundle_root, metadata_file
from dckd_ext.utils.documents import read_mapping

__all__ = ["check_compatible", "class_names", "in_channels"]


def class_names(bundle: StrPath) -> dict[int, str]:
    """Read the names of a bundle's classes, background included, from its metadata.

    Args:
        bundle: folder of the bundle.

    Raises:
        FileNotFoundError: if the folder or its metadata is missing.
        ValueError: if the metadata has no `channel_def` for the output `pred`, not one from class 0 on, or
            one that disagrees with its `num_channels`.
    """
    key = "network_data_format#outputs#pred#channel_def"
    names = {int(index): str(name) for index, name in _metadata(bundle, key).items()}
    if sorted(names) != list(range(len(names))):
        raise ValueError(f"'{key}' of {bundle} should name the classes 0, 1, ... without a gap, got {names}")
    channels = _metadata(bundle, "network_data_format#outputs#pred").get("num_channels", len(names))
    if channels != len(names):
        raise ValueError(f"'{key}' of {bundle} names {len(names)} classes, but 'num_channels' is {channels}")
    return dict(sorted(names.items()))


def in_channels(bundle: StrPath) -> int:
    """Read the channels of a bundle's input `image` from its metadata.

    Args:
        bundle: folder of the bundle.

    Raises:
        FileNotFoundError: if the folder or its metadata is missing.
        ValueError: if the metadata has no `num_channels` for the input `image`.
    """
    return int(_metadata(bundle, "network_data_format#inputs#image#num_channels"))


def check_compatible(
    teacher_bundle: StrPath | Sequence[StrPath],
    student_bundle: StrPath,
    label_map: Mapping[int, int] | None = None,
) -> None:
    """Check that a teacher can teach a student: equal input channels, the same classes in the same order.

    With a label map every teacher class must go to a student class, every student class must be reached, and
    a class that both name (in any case) must go to its namesake; other names are taken as meant.

    Args:
        teacher_bundle: folder of the teacher's bundle, or of several.
        student_bundle: folder of the student's bundle.
        label_map: student class of every teacher class.

    Raises:
        ValueError: if they do not fit; where only the order differs, the message holds the label map to pass.
    """
    if not isinstance(teacher_bundle, str) and isinstance(teacher_bundle, Sequence):
        for bundle in teacher_bundle:
            try:
                check_compatible(bundle, student_bundle, label_map)
            except ValueError as error:
                raise ValueError(f"teacher_bundle {bundle}: {error}") from None
        return
    channels = in_channels(teacher_bundle), in_channels(student_bundle)
    if channels[0] != channels[1]:
        raise ValueError(f"The teacher takes images of {channels[0]} channels, the student of {channels[1]}")
    teacher, student = class_names(teacher_bundle), class_names(student_bundle)
    both = f"teacher {teacher}, student {student}"
    of_name = {_plain(name): index for index, name in student.items()}
    namesakes = {index: of_name[_plain(name)] for index, name in teacher.items() if _plain(name) in of_name}
    if label_map is None:
        if len(teacher) == len(student) and namesakes == {index: index for index in student}:
            return
        if len(teacher) == len(student) == len(set(namesakes.values())):
            raise ValueError(f"The classes come in another order: {both}. Pass label_map={namesakes}")
        raise ValueError(f"The classes differ: {both}. Pass a label_map, or choose another teacher")
    label_map = {int(index): int(target) for index, target in label_map.items()}
    if set(label_map) != set(teacher) or set(label_map.values()) != set(student):
        raise ValueError(
            f"label_map {label_map} should name every teacher class and reach every student class: {both}"
        )
    wrong = {
        teacher[index]: student[label_map[index]]
        for index in namesakes
        if label_map[index] != namesakes[index]
    }
    if wrong:
        raise ValueError(f"label_map {label_map} mixes up classes of the same name ({wrong}): {both}")


def _metadata(bundle: StrPath, key: str) -> Any:
    file = metadata_file(bundle_root(bundle))
    value: Any = read_mapping(file)
    for part in key.split("#"):
        if not isinstance(value, dict) or part not in value:
            found = sorted(value) if isinstance(value, dict) else value
            raise ValueError(f"{file} has no key '{key}': in place of '{part}' there is {found}")
        value = value[part]
    return value


def _plain(name: str) -> str:
    return name.strip().casefold()
