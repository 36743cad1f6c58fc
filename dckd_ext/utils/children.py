"""Child processes that do not outlive their parent, however it ends."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Sequence
from typing import IO

__all__ = ["Children", "end_with_parent"]

_PATIENCE = 10  # seconds between the signals TERM and KILL


class Children:
    """Child processes, started from any threads, that can all be ended at once.

    Each gets an input that nothing is written to. The system closes it when this process ends, even if it was
    killed, and `end_with_parent` in the child takes that for the end.
    """

    def __init__(self) -> None:
        self.ended = False
        self._running: set[subprocess.Popen[bytes]] = set()
        self._guard = threading.Lock()

    def run(self, command: Sequence[str], output: IO[str]) -> int | None:
        """Run a command with all it prints in ``output``.

        Returns:
            The exit status; None when `end` ended it, or came before it.
        """
        with self._guard:
            if self.ended:
                return None
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output)
            self._running.add(child)
        with child:  # closes its input
            status = child.wait()
        with self._guard:
            self._running.remove(child)
        return None if self.ended else status

    def end(self) -> None:
        """End all that run, and start no more."""
        with self._guard:
            self.ended = True
            running = list(self._running)
        for child in running:
            child.terminate()
        for child in running:
            try:
                child.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                child.kill()


def end_with_parent() -> None:
    """End this process, which `Children` has started, as soon as its input is closed."""
    threading.Thread(target=_wait_for_the_end, daemon=True).start()


def _wait_for_the_end() -> None:
    while os.read(0, 1):  # not sys.stdin, whose lock would be held when the interpreter ends
        pass
    os._exit(1)
