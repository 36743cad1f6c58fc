"""`predict.py` as it is shipped: one file, with this package's modules in the place of their imports."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

__all__ = ["predict_source"]

_PACKAGE = "dckd_ext"


def predict_source() -> str:
    """Return the text of `dckd_ext.export.predict` that needs no other module of the package.

    So the shipped file reads volumes by the rules of `dckd_ext.data.volumes`, which are in it.
    """
    return _with_imports_replaced(f"{_PACKAGE}.export.predict", set())


def _with_imports_replaced(module: str, done: set[str]) -> str:
    """Return a module's text, each of the package's modules in it where it is imported first."""
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text(encoding="utf-8")
    body, lines = ast.parse(source).body, source.splitlines(keepends=True)
    inner = bool(done)
    done.add(module)
    texts: list[tuple[ast.stmt, str]] = []
    for node in body:
        name = str(node.module) if isinstance(node, ast.ImportFrom) else ""
        if name.startswith(f"{_PACKAGE}."):
            there = name in done
            texts.append((node, "" if there else f"# {name}\n\n{_with_imports_replaced(name, done)}"))
        elif inner and (node is body[0] or name == "__future__" or _names_all(node)):
            texts.append((node, ""))
    for node, text in reversed(texts):
        lines[node.lineno - 1 : node.end_lineno] = [text]
    return "".join(lines).strip() + "\n\n" * inner + "\n" * (not inner)


def _names_all(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
