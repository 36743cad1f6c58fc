"""`dckd COMMAND`: one module of this package a command.

The modules import what is heavy, or comes with an extra, in their functions: to list and describe the
commands, and to refuse a mistyped option, neither torch nor monai is loaded.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from keyword import iskeyword

from cyclopts import App, CycloptsError, Parameter

from dckd_ext import __version__
from dckd_ext.cli.workflows import bundle_options
from dckd_ext.utils.errors import root_cause

__all__ = ["COMMANDS", "command_line", "main"]

COMMANDS = (
    *("check", "train", "folds", "distil", "evaluate", "report", "segment", "export", "predict"),
    *("taps", "lint", "study", "phantom", "pack", "fetch", "import"),
)
_EXTRAS = {
    **dict.fromkeys(("onnx", "onnxscript", "onnxruntime"), "export"),
    "matplotlib": "report",
    "openvino": "openvino",
}


def main() -> None:
    """Run the command line; bad input ends in one line of text, not in a traceback.

    Ctrl-C and the signals TERM and HUP end it in order: nothing half is left, and the exit status is 128 plus
    the signal's number.

    Raises:
        SystemExit: with code 2 when the command line is wrong, before anything runs; with code 1 when the
            command fails.
    """
    _end_in_order()
    try:
        command_line(sys.argv[1:])(sys.argv[1:], print_error=False, exit_on_error=False)
    except CycloptsError as error:
        print(f"dckd: {str(error).rstrip('.')}", file=sys.stderr)
        sys.exit(2)
    except (ValueError, OSError, RuntimeError) as error:
        cause = root_cause(error)  # MONAI wraps what a config raises
        if not isinstance(cause, ValueError | OSError):
            raise
        sys.exit(f"dckd: {cause}")
    except KeyboardInterrupt as interrupt:
        print(f"dckd: interrupted{f': {interrupt}' if str(interrupt) else ''}", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except ModuleNotFoundError as error:
        module = str(error.name).partition(".")[0]
        if module not in _EXTRAS:
            raise
        extra = _EXTRAS[module]
        sys.exit(f"dckd: {module} is not installed; in the source tree: pip install '.[{extra}]'")


def command_line(words: Sequence[str] = ()) -> App:
    """Make the command line of all commands, from their signatures and docstrings.

    Args:
        words: that will be read; help on a workflow lists the options of the bundle that they name.
    """
    app = App(
        name="dckd",
        version=__version__,
        help="Small networks for medical segmentation by knowledge distillation, on MONAI bundles.",
        help_format="markdown",
        # options are spelled as in Python and in bundles
        default_parameter=Parameter(negative=(), name_transform=str),
        result_action="return_value",
        suppress_keyboard_interrupt=False,  # main says what was interrupted
    )
    for name in COMMANDS:
        about = bundle_options(words) if words[:1] == [name] else ""
        own = f"{name}_" if iskeyword(name) else name
        app.command(getattr(import_module(f"{__name__}.{own}"), own), name=name, help_epilogue=about)
    return app


def _end_in_order() -> None:
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no HUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores HUP
            signal.signal(number, lambda received, frame: sys.exit(128 + received))
