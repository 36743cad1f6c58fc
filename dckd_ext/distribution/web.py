"""Answers of servers, bounded in size and in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.request import Request, urlopen

__all__ = ["LEAST", "TIMEOUT", "SizeError", "ask", "chunks"]

TIMEOUT = 30.0
"""Seconds to wait for an answer; in so many of them at least `LEAST` bytes have to come."""
LEAST = 2**14
"""Bytes."""


class SizeError(ValueError):
    """A server sends another number of bytes than it should."""


def ask(request: str | Request) -> Any:
    """Open an address.

    Raises:
        TimeoutError: when the head of the answer is not there after twice `TIMEOUT`. The time limit of
            `urlopen` alone starts anew with every byte.
        OSError: as `urlopen` does.
    """
    answers: list[Any] = []

    def wait() -> None:
        try:
            answers.append(urlopen(request, timeout=TIMEOUT))
        except BaseException as error:  # for the thread that asked
            answers.append(error)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    thread.join(2 * TIMEOUT)
    if not answers:
        raise TimeoutError(f"no answer within {2 * TIMEOUT:g} s")
    if isinstance(answers[0], BaseException):
        raise answers[0]
    return answers[0]


def chunks(response: Any, most: int) -> Iterator[bytes]:
    """Yield the body of an answer as it comes.

    Raises:
        SizeError: as soon as it has more than ``most`` bytes.
        TimeoutError: when fewer than `LEAST` bytes come in `TIMEOUT` seconds.
    """
    received = counted = 0
    start = time.monotonic()
    while chunk := response.read1(2**16):
        received += len(chunk)
        if received > most:
            raise SizeError(f"sends more than {most} bytes")
        now = time.monotonic()
        if now - start > TIMEOUT:
            if received - counted < LEAST:
                raise TimeoutError(f"sends fewer than {LEAST} bytes in {TIMEOUT:g} s")
            counted, start = received, now
        yield chunk
