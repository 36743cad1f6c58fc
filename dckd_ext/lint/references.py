"""References to keys that do not exist, expressions that cannot work, keys that nothing refers to."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Any

from monai.bundle import ConfigComponent, ConfigExpression, ReferenceResolver
from monai.bundle.utils import ID_REF_KEY, MERGE_KEY

from dckd_ext.lint.config import Config, Finding, inside, join, nearest, shown, walk
from dckd_ext.lint.expressions import (
    imported_name,
    macro_target,
    parse,
    references,
    undefined_names,
)
from dckd_ext.lint.names import Names

__all__ = ["ENTRY_POINTS", "broken_texts", "unreferenced_keys"]

ENTRY_POINTS = {"imports", "initialize", "run", "finalize"}


def broken_texts(config: Config, names: Names) -> Iterator[Finding]:
    """Find references and macros without a key, and expressions that are no Python or use undefined names.

    Modules are looked for, not imported.
    """
    known = [shown(at) for at, _ in config.items()]
    texts = [(at, node) for at, node in config.items() if isinstance(node, str)]
    imported = {name for _, tree in config.expressions() if (name := imported_name(tree))}
    for at, text in texts:
        found = references(at, text)
        for name in found:
            if name not in config:
                refers = f"{text!r} refers to {shown(name)!r}, which is no key"
                yield config.finding(at, refers, nearest(shown(name), known))
        target = macro_target(at, text)
        if target and target[0] and at not in config:
            yield config.finding(at, f"{text!r}: expected a file (from here or the bundle) and a key of it")
        if text.startswith(ID_REF_KEY) and not found:
            yield config.finding(
                at, f"{text!r} stays a text; expected '@key' alone, or '$' for an expression"
            )
        if ConfigExpression.is_expression(text):
            yield from (
                config.finding(at, f"{text!r} {wrong}") for wrong in _wrong(at, text, imported, names)
            )


def _wrong(at: str, text: str, imported: set[str], modules: Names) -> Iterator[str]:
    try:
        tree = parse(at, text)
    except SyntaxError as error:
        yield f"is no Python expression: {error.msg}"
        return
    if isinstance(tree, (ast.Import, ast.ImportFrom)):
        module = tree.names[0].name if isinstance(tree, ast.Import) else tree.module or ""
        if not module or not modules.has(module):
            yield "imports a module that is not installed, nor in the bundle"
    elif names := undefined_names(tree, imported):
        yield f"uses {', '.join(names)}, which no expression under 'imports' imports"


def unreferenced_keys(configs: Sequence[Config], exempt: set[str]) -> Iterator[Finding]:
    """Find keys that nothing refers to, in none of the configs that their file is part of.

    Entry points need no reference (nor what calls ``.run()`` or repeats an entry point by a macro), nor do
    imports, keys that start with an underscore, and arguments of components. Of a mapping that is never
    referred to as a whole, such as ``train``, each key must be.

    Args:
        configs: all that are checked together.
        exempt: ids that are used from outside the config.
    """
    uses: dict[str, list[tuple[str, str]]] = {}
    for config in configs:
        for file in config.contents:
            uses.setdefault(file, []).extend(_references_in_files(config))
    for config in configs:
        yield from _unreferenced(config, uses, exempt, "", config.top())


def _references_in_files(config: Config) -> Iterator[tuple[str, str]]:
    """Where from and where to; what a later file replaces counts too, but not a mere check of options."""
    checks = [at for at, node in config.items() if _checks_options(node)]
    for content in config.contents.values():
        for key, value in content.items():
            for at, node in walk(ReferenceResolver.normalize_id(key).removeprefix(MERGE_KEY), value):
                if isinstance(node, str) and not any(inside(at, check) for check in checks):
                    yield from ((at, target) for target in references(at, node))


def _checks_options(node: Any) -> bool:
    target = node.get("_target_") if isinstance(node, dict) else None
    return str(target).rpartition(".")[2] == "check_options"


def _unreferenced(
    config: Config,
    uses: dict[str, list[tuple[str, str]]],
    exempt: set[str],
    parent: str,
    node: dict[str, Any],
) -> Iterator[Finding]:
    for key, value in node.items():
        at = join(parent, str(key))
        used = {to for source, to in uses.get(config.origin(at), []) if not inside(source, at)} | exempt
        if any(inside(at, to) for to in used) or str(key).startswith("_") or _runs(config, at):
            continue
        if not any(inside(to, at) for to in used):
            yield config.finding(
                at, "nothing refers to it; expected a reference, '@" + shown(at) + "', or no such key"
            )
        elif isinstance(value, dict) and not ConfigComponent.is_instantiable(value):
            yield from _unreferenced(config, uses, exempt, at, value)


def _runs(config: Config, at: str) -> bool:
    """Whether MONAI is told to run a key, or runs it by itself."""
    if at not in config:
        return True  # a macro of what does not exist, which is a finding already
    defined, value = config.definition(at)
    texts = [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]
    return bool({at, defined} & ENTRY_POINTS) or any(
        re.match(r"\$(import|from) |\$.*\.run\(", text) for text in texts
    )
