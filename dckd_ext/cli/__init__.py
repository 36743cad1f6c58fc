"""`dckd COMMAND`: one module of this package a command, imported only when it is called.

The modules import what an extra brings in their functions, so that `dckd` can list them all without it.
"""

from __future__ import annotations

import signal
import sys
from importlib import import_module

import fire

__all__ = ["main"]

_EXTRAS = {"matplotlib": "report", "onnx": "export", "onnxscript": "export", "onnxruntime": "export"}
_COMMANDS = ("taps", "report", "study", "phantom", "check", "pack", "fetch", "lint", "export", "predict")


def main() -> None:
    """Run the command line; bad input ends in one line of text, not in a traceback.

    Ctrl-C and the signals TERM and HUP end it in order: nothing half is left, and the exit status is 128 plus
    the signal's number.
    """
    _end_in_order()
    chosen = [name for name in _COMMANDS if name in sys.argv[1:2]] or _COMMANDS
    try:
        fire.Fire({name: getattr(import_module(f"{__name__}.{name}"), name) for name in chosen}, name="dckd")
    except (ValueError, OSError) as error:
        sys.exit(f"dckd: {error}")
    except KeyboardInterrupt as interrupt:
        print(f"dckd: interrupted{f': {interrupt}' if str(interrupt) else ''}", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except ModuleNotFoundError as error:
        module = str(error.name).partition(".")[0]
        if module not in _EXTRAS:
            raise
        extra = _EXTRAS[module]
        sys.exit(f"dckd: {module} is not installed; in the source tree: pip install '.[{extra}]'")


def _end_in_order() -> None:
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no HUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores HUP
            signal.signal(number, lambda received, frame: sys.exit(128 + received))
