"""The end of training on several processes."""

from __future__ import annotations

from torch import distributed

__all__ = ["leave_process_group"]

_left: list[distributed.ProcessGroup | None] = []


def leave_process_group() -> None:
    """Destroy the default process group, if there is one, while networks wrapped by DDP still live.

    `destroy_process_group` alone then leaves DDP the last reference to the group. Gloo's destructor joins its
    threads, and DDP's calls it with Python's lock held. If a thread waits for that lock, to free the tensors
    of the last collective, the process hangs for ever (seen with torch 2.13). The reference kept here
    outlives DDP's.
    """
    if distributed.is_available() and distributed.is_initialized():
        _left.append(distributed.group.WORLD)
        distributed.destroy_process_group()
