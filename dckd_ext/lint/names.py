"""What dotted names stand for: installed packages are imported, the bundle's own modules are read."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from pydoc import ErrorDuringImport, locate
from typing import Any

from dckd_ext.lint.scripts import Script, script_file

__all__ = ["Names"]


class Names:
    """Finds names as a run of a bundle would, without running its code.

    Args:
        root: folder of the bundle.
        trust: import whatever a run would import, which runs the bundle's code; for this its modules must be
            importable, see `dckd_ext.bundle.importable`.
    """

    def __init__(self, root: Path, trust: bool = False) -> None:
        self.root, self.trust = root.resolve(), trust

    def has(self, module: str) -> bool:
        """Tell whether the package of a module is there."""
        package = module.partition(".")[0]
        if self.trust:
            return find_spec(package) is not None
        return package in _installed() or script_file(self.root, package) is not None

    def find(self, name: str) -> Any:
        """Return what a dotted name stands for, or a stand-in with its signature; None if it is not there.

        Raises:
            ImportError: if its module cannot be imported.
        """
        package = name.partition(".")[0]
        loaded = package in _installed() and package in sys.modules  # goes before the bundle's, as in a run
        try:
            if self.trust:
                return locate(name)
            if not loaded and script_file(self.root, package):
                return self._read(name)
            if package in _installed() or hasattr(builtins, package):
                with self._installed_only():
                    return locate(name)
        except ErrorDuringImport as error:
            raise ImportError(repr(error.value)) from error
        except RecursionError as error:
            raise ImportError("modules import this name from each other") from error
        return None

    def _read(self, name: str) -> Any:
        """Find a name of the bundle's own modules."""
        parts = name.split(".")
        heads = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
        module = next(head for head in heads if script_file(self.root, head))
        script = self._script(module)
        if module == name:
            return script
        found = script.find(parts[module.count(".") + 1])
        for part in parts[module.count(".") + 2 :]:
            found = found.find(part) if isinstance(found, Script) else getattr(found, part, None)
        return found

    def _script(self, module: str) -> Script:
        file = script_file(self.root, module)
        assert file is not None
        script = Script(file, module, self.find)
        missing = [package for package in script.packages if not self.has(package)]
        if missing:
            raise ImportError(f"{file}: No module named {missing[0]!r}")
        return script

    @contextmanager
    def _installed_only(self) -> Iterator[None]:
        """Keep Python from looking where the bundle or the caller is."""
        before = sys.path[:]
        sys.path[:] = [entry for entry in before if entry and Path(entry).resolve() != self.root]
        try:
            yield
        finally:
            sys.path[:] = before


@cache
def _installed() -> set[str]:
    """List the packages of Python and of installed distributions."""
    return {*sys.stdlib_module_names, *packages_distributions(), __name__.partition(".")[0]}
