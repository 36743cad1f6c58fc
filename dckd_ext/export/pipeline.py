"""One volume is read ahead and one written behind while the network computes, and what is left is told."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

__all__ = ["Progress", "in_line"]


def in_line(
    items: Iterable[Any],
    read: Callable[[Any], Any],
    compute: Callable[[Any, Any], Any],
    write: Callable[[Any, Any], Any],
    beside: bool,
) -> Iterator[tuple[Any, Any, float]]:
    """Read, compute and write items in order; an item that fails costs no other.

    Args:
        items: what to work on.
        read: from an item to what ``compute`` takes.
        compute: runs in the caller's thread, the items one after another.
        write: takes the item and what was computed.
        beside: read the next item and write the one before while one is computed, each in a thread; so three
            items are in memory. Else everything is done one after another in the caller's thread.

    Yields:
        The item, what ``write`` returned or the exception, and the seconds of work, without waiting.
    """
    if not beside:
        for item in items:
            outcome, one = _timed(read, item)
            if not isinstance(outcome, Exception):
                outcome, two = _timed(compute, item, outcome)
                one += two
            if not isinstance(outcome, Exception):
                outcome, two = _timed(write, item, outcome)
                one += two
            yield item, outcome, one
        return
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        yield from _overlapped(list(items), read, compute, write, reader, writer)


def _overlapped(
    items: list[Any],
    read: Callable[[Any], Any],
    compute: Callable[[Any, Any], Any],
    write: Callable[[Any, Any], Any],
    reader: ThreadPoolExecutor,
    writer: ThreadPoolExecutor,
) -> Iterator[tuple[Any, Any, float]]:
    behind: tuple[Any, Future[tuple[Any, float]], float] | None = None
    ahead = reader.submit(_timed, read, items[0]) if items else None
    try:
        for number, item in enumerate(items):
            assert ahead is not None
            outcome, spent = ahead.result()
            ahead = reader.submit(_timed, read, items[number + 1]) if number + 1 < len(items) else None
            if not isinstance(outcome, Exception):
                outcome, more = _timed(compute, item, outcome)
                spent += more
            if behind is not None:
                yield _written(*behind)
            behind = None
            if isinstance(outcome, Exception):
                yield item, outcome, spent
            else:
                behind = item, writer.submit(_timed, write, item, outcome), spent
            del outcome
        if behind is not None:
            yield _written(*behind)
    finally:
        reader.shutdown(cancel_futures=True)


def _written(item: Any, future: Future[tuple[Any, float]], spent: float) -> tuple[Any, Any, float]:
    outcome, more = future.result()
    return item, outcome, spent + more


def _timed(work: Callable[..., Any], *given: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    try:
        outcome = work(*given)
    except Exception as error:
        outcome = error
    return outcome, time.perf_counter() - start


class Progress:
    """Counts windows on a terminal, and says once what the volumes take.

    Args:
        volumes: how many there are.
    """

    def __init__(self, volumes: int) -> None:
        self.volumes, self.number = volumes, 0
        self.windows = 0  # of the volume before: what it takes is said again when that changes
        self.start = 0.0
        self.live = sys.stderr.isatty()

    def begin(self) -> None:
        """Note that a volume's first window begins."""
        self.number += 1
        self.start = time.perf_counter()

    def window(self, done: int, total: int, gigabytes: float | None) -> None:
        """Note that a window is done; after the first one say what the volume takes."""
        spent = time.perf_counter() - self.start
        if done == 1 and total != self.windows:
            self.windows = total
            room = "" if gigabytes is None else f" and {gigabytes:.2g} GB"
            count = "1 window" if total == 1 else f"{total} windows"
            which = f"volume {self.number} of {self.volumes}"
            print(f"{which}: {count}, about {total * spent:.1f} s{room}", flush=True)
        if self.live and total > 1:
            left = (total - done) * spent / done
            text = f"volume {self.number} of {self.volumes}: window {done} of {total}, {left:.0f} s left"
            print(f"\r{text:<70}", end="\r" if done < total else "\r" + " " * 70 + "\r", file=sys.stderr)
