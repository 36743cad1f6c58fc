"""Training and inference of a bundle prepare a volume alike: their transforms, argument by argument."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from monai.bundle import ConfigComponent, ConfigExpression, ReferenceResolver

from dckd_ext.lint.config import Config, Finding, join, shown, walk
from dckd_ext.lint.expressions import parse, references, referred

__all__ = ["preprocessing_differences"]

_PADDING = "SpatialPadd"  # to the patch
_STORAGE = "EnsureTyped"  # the type that values are kept in, which may be another float
_FLOATS = ("None", "float", "half", "double")
_OF_LABELS = {"keys", "allow_missing_keys", "label_key", "num_classes"}
_NOT_COMPARED = {*ConfigComponent.non_arg_keys, *_OF_LABELS} - {"_disabled_"}
_NOTHING = "nothing"


def preprocessing_differences(training: Config, inference: Config) -> Iterator[Finding]:
    """Yield what the train config does to a volume, or at which size, and the inference config does not.

    Validation has to do what inference does, training to begin with it. Left out are keys, what concerns
    labels alone, padding to the patch, and the floating type that values are kept in. References count by
    what they refer to.

    Args:
        training: config with ``validate#preprocessing``, ``train#preprocessing`` or both.
        inference: config with ``preprocessing``.
    """
    try:
        expected = list(_steps(inference, "preprocessing"))
        for part, goes_on in (("validate", False), ("train", True)):
            found = list(_steps(training, join(part, "preprocessing")))
            if found and expected:
                yield from _compared_steps(found, expected, goes_on)
    except _NotInTheTextError as error:
        yield error.finding
    ours, theirs = _window(training, "validate::inferer"), _window(inference, "inferer")
    if ours and theirs:
        yield from _compared_values(training, ours, inference, theirs)


class _NotInTheTextError(Exception):
    def __init__(self, finding: Finding):
        super().__init__(str(finding))
        self.finding = finding


class _Step:
    """One transform of a config, its references replaced."""

    def __init__(self, config: Config, at: str, node: dict[str, Any]):
        self.config = config
        self.at = at
        self.name = str(node.get("_target_", "")).rpartition(".")[2]
        self.values = {str(key): _value(config, join(at, str(key))) for key in node}
        keys = self.values.get("keys", [])
        self.keys = [str(key) for key in keys] if isinstance(keys, list) else [str(keys)]

    def counts(self, images: set[str]) -> bool:
        if self.name == _PADDING or (self.keys and images.isdisjoint(self.keys)):
            return False
        dtype = str(self.argument("dtype", images))
        return self.name != _STORAGE or not (dtype == _NOTHING or any(kind in dtype for kind in _FLOATS))

    def argument(self, name: str, images: set[str]) -> Any:
        """Return a value; where it has one a key, as the mode of interpolation, that of the images alone."""
        value = self.values.get(name, _NOTHING)
        if not isinstance(value, list) or len(value) != len(self.keys):
            return value
        chosen = [item for key, item in zip(self.keys, value, strict=True) if key in images]
        return chosen[0] if all(item == chosen[0] for item in chosen) else chosen


def _steps(config: Config, at: str) -> Iterator[_Step]:
    """Yield the transforms at an id, in order: of a Compose, a list, or several of them put together."""
    at, node = config.definition(at)
    if isinstance(node, list):
        for index in range(len(node)):
            yield from _steps(config, join(at, str(index)))
    elif isinstance(node, dict) and "transforms" in node:
        yield from _steps(config, join(at, "transforms"))
    elif isinstance(node, dict):
        yield _Step(config, at, node)
    elif isinstance(node, str):
        for part in _summands(config, at, node):
            yield from _steps(config, part)


def _summands(config: Config, at: str, text: str) -> list[str]:
    """Return the ids in ``$@one + @two``, or in ``$@one.transforms + @two.transforms``."""
    try:
        nodes = [getattr(parse(at, text), "body", None)]
    except SyntaxError:
        nodes = [None]
    while isinstance(nodes[0], ast.BinOp) and isinstance(nodes[0].op, ast.Add):
        nodes[:1] = [nodes[0].left, nodes[0].right]
    nodes = [
        node.value if isinstance(node, ast.Attribute) and node.attr == "transforms" else node
        for node in nodes
    ]
    ids = [name for node in nodes if node is not None and (name := referred(node))]
    if len(ids) < len(nodes):
        wrong = f"{text!r} is known only when it is run; expected a list of transforms, or a sum of lists"
        raise _NotInTheTextError(config.finding(at, wrong))
    return ids


def _compared_steps(found: Sequence[_Step], expected: Sequence[_Step], goes_on: bool) -> Iterator[Finding]:
    training, inference = found[0].config, expected[0].config
    images = {key for step in expected for key in step.keys}
    ours, theirs = ([step for step in steps if step.counts(images)] for steps in (found, expected))
    names = [step.name for step in theirs], [step.name for step in ours]
    for tag, i, i_end, j, j_end in SequenceMatcher(None, *names, autojunk=False).get_opcodes():
        if tag == "equal":
            for one, other in zip(ours[j:j_end], theirs[i:i_end], strict=True):
                yield from _compared_arguments(one, other, images)
            continue
        if not (goes_on and i_end == len(theirs)):
            for step in ours[j:j_end]:
                yield training.finding(step.at, f"{step.name}, which {_file(inference)} does not do here")
        for step in theirs[i:i_end]:
            yield inference.finding(step.at, f"{step.name}, which {_file(training)} does not do here")


def _compared_arguments(ours: _Step, theirs: _Step, images: set[str]) -> Iterator[Finding]:
    for name in sorted((ours.values.keys() | theirs.values.keys()) - _NOT_COMPARED):
        if ours.argument(name, images) != theirs.argument(name, images):
            places = join(ours.at, name), join(theirs.at, name)
            yield from _compared_values(ours.config, places[0], theirs.config, places[1])


def _compared_values(training: Config, ours: str, inference: Config, theirs: str) -> Iterator[Finding]:
    """Yield a finding where two ids have different values; references are followed to the key to change."""
    found, expected = _value(training, ours), _value(inference, theirs)
    if found != expected:
        here, there = training.definition(ours)[0], inference.definition(theirs)[0]
        place = f"{_file(inference)}: {shown(there)}"
        yield training.finding(here, f"found {found!r}, expected {expected!r} as in {place}")


def _value(config: Config, at: str, trail: tuple[str, ...] = ()) -> Any:
    """Return the content of an id, its references replaced; an expression as text, with what it refers to."""
    at, node = config.definition(at)
    if at not in config or at in trail:
        return _NOTHING
    trail = (*trail, at)
    if isinstance(node, dict):
        return {key: _value(config, join(at, str(key)), trail) for key in node}
    if isinstance(node, list):
        return [_value(config, join(at, str(index)), trail) for index in range(len(node))]
    if ConfigExpression.is_expression(node):
        values = {shown(name): _value(config, name, trail) for name in references(at, node)}
        return f"{node} with {values}" if values else node
    return node


def _window(config: Config, at: str) -> str:
    """Return the id of the window that an inferer slides, or nothing."""
    at, node = config.definition(at)
    ids = [inner for inner, _ in walk(at, node)]
    return next((one for one in ids if ReferenceResolver.split_id(one)[-1] == "roi_size"), "")


def _file(config: Config) -> str:
    return Path(config.files[0]).name
