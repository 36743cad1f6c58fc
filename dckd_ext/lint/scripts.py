"""The bundle's own modules, read and not run: what a name in them stands for, and how it is called."""

from __future__ import annotations

import ast
import builtins
import inspect
from abc import ABCMeta
from collections.abc import Callable, Iterable, Iterator
from importlib.util import resolve_name
from inspect import Parameter
from pathlib import Path
from typing import Any

__all__ = ["Script", "StandIn", "script_file"]

_Function = ast.FunctionDef | ast.AsyncFunctionDef


class StandIn:
    """Stands for a class or function of a script: it has the same signature, and cannot be called."""

    def __init__(self, parameters: Iterable[Parameter]) -> None:
        self.__signature__ = inspect.Signature(list(parameters))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse, since it was not imported."""
        raise TypeError("a script that was read cannot be called")

    def __getattr__(self, name: str) -> Any:
        """Let every attribute be there."""
        if name.startswith("__"):
            raise AttributeError(name)
        return _ANYTHING


# For what reading does not tell, such as what a decorator makes: it takes all arguments.
_ANYTHING = StandIn([Parameter("args", Parameter.VAR_POSITIONAL), Parameter("kwargs", Parameter.VAR_KEYWORD)])


def script_file(root: Path, name: str) -> Path | None:
    """Find the file of a module in a folder, or the folder of a package without `__init__.py`."""
    path = root.joinpath(*name.split("."))
    files = [file for file in (path / "__init__.py", path.with_name(f"{path.name}.py")) if file.is_file()]
    return files[0] if files else path if path.is_dir() else None


class Script:
    """A module of a bundle.

    Args:
        file: as `script_file` finds it.
        name: dotted name of the module.
        find: returns what a dotted name stands for, None if it is not there.

    Attributes:
        packages: those that the module needs, by the names of their top.

    Raises:
        ImportError: if it is no Python.
    """

    def __init__(self, file: Path, name: str, find: Callable[[str], Any]) -> None:
        self._find = find
        package = file.is_dir() or file.stem == "__init__"
        self._package = name if package else name.rpartition(".")[0]
        self._folder = file if file.is_dir() else file.parent if package else None
        try:
            body = ast.parse(file.read_bytes()).body if file.is_file() else []
        except (SyntaxError, ValueError) as error:
            raise ImportError(f"{file}: {error}") from error
        # at the top alone: what is imported under a condition may be missing
        needed = [name for node in body for name in self._imports(node).values()]
        self.packages = sorted({name.partition(".")[0] for name in needed})
        self._statements = list(_statements(body))

    def find(self, name: str) -> Any:
        """Return what a name of this module stands for, as far as reading tells; None if it is not there."""
        for node in reversed(self._statements):
            found = self._bound(node, name)
            if found is not None:
                return found
        inner = self._folder and script_file(self._folder, name)
        return self._find(f"{self._package}.{name}") if inner else None

    def _bound(self, node: ast.stmt, name: str) -> Any:
        match node:
            case ast.ClassDef(name=defined) if defined == name:
                return self._class(node)
            case ast.FunctionDef(name=defined) | ast.AsyncFunctionDef(name=defined) if defined == name:
                return _ANYTHING if node.decorator_list else StandIn(_parameters(node))
            case ast.Assign(targets=[ast.Name(id=defined)], value=value) if defined == name:
                return self._value(value)
            case ast.Import() | ast.ImportFrom():
                imports = self._imports(node)
                target = imports.get(name) or (f"{imports['*']}.{name}" if "*" in imports else "")
                return self._find(target) if target else None
        return _ANYTHING if name in _assigned(node) else None

    def _imports(self, node: ast.stmt) -> dict[str, str]:
        """Return the names that a statement imports, and what they stand for; `*` for a module's all."""
        match node:
            case ast.Import(names=aliases):
                tops = {alias.name.partition(".")[0]: alias.name.partition(".")[0] for alias in aliases}
                return tops | {alias.asname: alias.name for alias in aliases if alias.asname}
            case ast.ImportFrom(names=aliases):
                module = resolve_name("." * node.level + (node.module or ""), self._package)
                named = {alias.asname or alias.name: f"{module}.{alias.name}" for alias in aliases}
                return named | ({"*": module} if "*" in named else {})
        return {}

    def _class(self, node: ast.ClassDef) -> StandIn:
        methods = {item.name: item for item in node.body if isinstance(item, _Function)}
        if node.decorator_list or node.keywords or len(node.bases) > 1 or "__new__" in methods:
            return _ANYTHING
        if "__init__" in methods:
            return StandIn(_parameters(methods["__init__"])[1:])
        if not node.bases:
            return StandIn([])
        base = self._value(node.bases[0])
        if type(base) not in (StandIn, type, ABCMeta):
            return _ANYTHING
        try:
            return StandIn(inspect.signature(base).parameters.values())
        except (TypeError, ValueError):  # written in C
            return _ANYTHING

    def _value(self, node: ast.expr) -> Any:
        """Return what an expression stands for, if it is a name or an attribute of one."""
        match node:
            case ast.Name(id=name):
                return self.find(name) or getattr(builtins, name, None)
            case ast.Attribute(value=of, attr=name):
                found = self._value(of)
                return found.find(name) if isinstance(found, Script) else getattr(found, name, None)
            case ast.Subscript(value=of):  # Dataset[Tensor]
                return self._value(of)
        return _ANYTHING


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a module in their order, those under conditions too."""
    for node in body:
        yield node
        if not isinstance(node, ast.ClassDef | _Function):
            for block in ("body", "handlers", "orelse", "finalbody"):
                yield from _statements(getattr(node, block, ()))


def _assigned(node: ast.stmt) -> set[str]:
    """Return the names that a statement sets in its module."""
    if isinstance(node, ast.ClassDef | _Function):
        return set()
    return {
        part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
    }


def _parameters(node: _Function) -> list[Parameter]:
    taken = node.args
    positional = [*taken.posonlyargs, *taken.args]
    without = len(positional) - len(taken.defaults)
    found = [
        Parameter(
            item.arg,
            Parameter.POSITIONAL_ONLY if index < len(taken.posonlyargs) else Parameter.POSITIONAL_OR_KEYWORD,
            default=Parameter.empty if index < without else None,
        )
        for index, item in enumerate(positional)
    ]
    if taken.vararg:
        found.append(Parameter(taken.vararg.arg, Parameter.VAR_POSITIONAL))
    found += [
        Parameter(item.arg, Parameter.KEYWORD_ONLY, default=Parameter.empty if default is None else None)
        for item, default in zip(taken.kwonlyargs, taken.kw_defaults, strict=True)
    ]
    if taken.kwarg:
        found.append(Parameter(taken.kwarg.arg, Parameter.VAR_KEYWORD))
    return found
