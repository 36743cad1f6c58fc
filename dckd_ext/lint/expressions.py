"""What the texts of a config say (`@id`, `%id`, `$expression`), read without evaluating anything."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from typing import Any

from monai.bundle import ConfigParser, ReferenceResolver
from monai.bundle.config_parser import _default_globals
from monai.bundle.utils import ID_REF_KEY, MACRO_KEY

__all__ = [
    "imported_name",
    "macro_target",
    "parse",
    "reference_of",
    "references",
    "referred",
    "undefined_names",
    "used_as_object",
]

_REFERENCES = ReferenceResolver._vars  # the name that MONAI gives the references inside an expression
_KNOWN_NAMES = {*dir(builtins), *_default_globals, _REFERENCES}


def references(at: str, text: str) -> list[str]:
    """List the ids that a text at ``id`` refers to: its macro, its reference, or those in its expression."""
    if target := macro_target(at, text):
        path, of = target
        return [] if path else [of]
    return list(ReferenceResolver.match_refs_pattern(_absolute(at, text)))


def reference_of(at: str, node: Any) -> str | None:
    """Return the id that stands for the whole of a content: that of `@id` or `%id`, else None."""
    if not isinstance(node, str) or node[:1] not in (ID_REF_KEY, MACRO_KEY):
        return None
    found = references(at, node)
    return found[0] if found else None


def macro_target(at: str, node: Any) -> tuple[str, str] | None:
    """Return the file (or nothing) and id that a macro at ``id`` stands for; None where there is no macro."""
    if not isinstance(node, str) or not node.startswith(MACRO_KEY):
        return None
    return ConfigParser.split_path_id(_absolute(at, node)[len(MACRO_KEY) :])


def parse(at: str, text: str) -> ast.AST:
    """Parse an expression at ``id``, with its references as items of one dictionary, as MONAI does.

    Raises:
        SyntaxError: if it is neither an expression nor an import.
    """
    absolute = _absolute(at, text)
    names = dict.fromkeys(ReferenceResolver.match_refs_pattern(absolute))
    code = ReferenceResolver.update_refs_pattern(absolute, names)[1:]
    statements = ast.parse(code).body
    if statements and isinstance(statements[0], (ast.Import, ast.ImportFrom)):
        return statements[0]
    return ast.parse(code, mode="eval")


def imported_name(tree: ast.AST) -> str | None:
    """Return the name that an import defines for other expressions; MONAI takes the first alone."""
    if isinstance(tree, (ast.Import, ast.ImportFrom)):
        return tree.names[0].asname or tree.names[0].name
    return None


def undefined_names(tree: ast.AST, imported: set[str]) -> list[str]:
    """Find names that an expression uses and nobody defines."""
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    bound = {node.id for node in names if not isinstance(node.ctx, ast.Load)}
    bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    return sorted({node.id for node in names} - bound - imported - _KNOWN_NAMES)


def used_as_object(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield each reference of which an attribute is taken, with the attribute: ('network', 'parameters')."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (at := referred(node.value)):
            yield at, node.attr


def _absolute(at: str, text: str) -> str:
    """Make relative references absolute; one that goes above the top stays, and is no key then."""
    try:
        return ConfigParser.resolve_relative_ids(at, text)
    except ValueError:
        return ReferenceResolver.normalize_id(text)


def referred(node: ast.AST) -> str | None:
    """Return the id that a node of a parsed expression stands for, or None."""
    match node:
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(at))) if name == _REFERENCES:
            return at
    return None
