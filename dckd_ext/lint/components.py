"""Components: targets that cannot be found, arguments that they do not take, mappings without a target."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from monai.bundle import ComponentLocator, ConfigComponent, ReferenceResolver

from dckd_ext.lint.config import Config, Finding, join, nearest
from dckd_ext.lint.expressions import used_as_object
from dckd_ext.lint.names import Names
from dckd_ext.lint.properties import COMPONENTS
from dckd_ext.lint.references import ENTRY_POINTS

__all__ = ["missing_targets", "wrong_calls"]

_NO_ARGUMENTS = ConfigComponent.non_arg_keys
# Arguments that MONAI's and PyTorch's classes want an object for, never a mapping.
_OBJECTS = {
    *("network", "optimizer", "lr_scheduler", "loss_function", "inferer", "transform", "postprocessing"),
    *("dataset", "sampler", "train_data_loader", "val_data_loader", "validator", "trainer", "evaluator"),
}


def wrong_calls(config: Config, names: Names) -> Iterator[Finding]:
    """Find targets that cannot be imported, arguments that they do not take, and arguments that they miss.

    Short names are MONAI's. A target that takes any keyword (``**kwargs``) is not checked for unknown ones.
    """
    locator = ComponentLocator()
    for at, node in config.items():
        if not ConfigComponent.is_instantiable(node):
            continue
        target = node["_target_"]
        if isinstance(target, str) and target[:1] in ("$", "@"):
            continue  # known only when the config is run
        try:
            path = ConfigComponent(node, locator=locator).resolve_module_name()
            found = names.find(path) if isinstance(path, str) else None
        except ImportError as error:
            yield config.finding(at, f"_target_ {target!r} cannot be imported: {error}")
            continue
        if not callable(found):
            yield config.finding(
                at,
                f"_target_ {target!r} cannot be found; expected a name of MONAI or a full path that imports",
                "" if names.trust else "what is neither installed nor in the bundle is found with --trust",
            )
            continue
        for argument, wrong, hint in _wrong_arguments(found, node):
            yield config.finding(join(at, argument) if argument else at, f"{target} {wrong}", hint)


def _wrong_arguments(target: Callable[..., Any], node: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Arguments, or nothing where one is missing, with what is wrong and a hint."""
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):  # written in C
        return
    given = [key for key in node if key not in _NO_ARGUMENTS]
    by_name = [
        item.name for item in parameters if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)
    ]
    unknown = [key for key in given if key not in by_name]
    if unknown and not any(item.kind is item.VAR_KEYWORD for item in parameters):
        for key in unknown:
            yield str(key), f"takes no argument {key!r}", nearest(str(key), by_name)
        return
    required = [item.name for item in parameters if item.name in by_name and item.default is item.empty]
    missing = [name for name in required if name not in given]
    if missing and node.get("_mode_") != "callable":
        yield "", f"needs {', '.join(missing)}, expected among its arguments", ""


def missing_targets(config: Config) -> Iterator[Finding]:
    """Find mappings without `_target_` where a component is expected, or that look like one."""
    used = set(_expected_objects(config))
    for at, node in config.items():
        if not isinstance(node, dict) or ConfigComponent.is_instantiable(node):
            continue
        special = (_NO_ARGUMENTS - {"_desc_"}) & node.keys()
        misspelled = difflib.get_close_matches("_target_", map(str, node), cutoff=0.8)
        if misspelled:
            yield config.finding(at, f"found {misspelled[0]!r}, expected '_target_'")
        elif special or at in used or at in COMPONENTS or _among_components(config, at):
            found = f"found a mapping with {', '.join(map(str, node))}"
            yield config.finding(at, "expected a component, but '_target_' is missing", found)


def _among_components(config: Config, at: str) -> bool:
    """Whether an item is in a list of transforms, handlers or steps, or in another list of components."""
    parent, _ = ReferenceResolver.split_id(at, last=True)
    siblings = config.find(parent) if parent else None
    if not isinstance(siblings, list):
        return False
    name = ReferenceResolver.split_id(parent)[-1]
    return (
        name in ENTRY_POINTS
        or name.endswith(("transforms", "handlers"))
        or any(map(ConfigComponent.is_instantiable, siblings))
    )


def _expected_objects(config: Config) -> Iterator[str]:
    """Ids given as an argument that must be an object, or of which an expression takes an attribute."""
    for at, node in config.items():
        if ConfigComponent.is_instantiable(node):
            for key in _OBJECTS & node.keys():
                yield config.definition(f"{at}::{key}")[0]
    for _, tree in config.expressions():
        for at, attribute in used_as_object(tree):
            if not hasattr(dict, attribute):
                yield config.definition(at)[0]
