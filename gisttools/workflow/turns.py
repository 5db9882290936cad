"""Who does a piece of work that two ask for at once: one after the other, and the second finds it done."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from filelock import FileLock, Timeout

from gisttools.workflow.places import results_folder


@contextlib.contextmanager
def turn(verb: str, spec: str, waits: Callable[[], None]) -> Iterator[None]:
    """Inside, no other process is at work on this spec in the same results folder. A process that is killed gives up
    its turn.

    Args:
        waits: called once, if another is at work and this one must wait.
    """
    path = results_folder() / f".{verb}-{spec[:16]}.lock"
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waits()
        lock.acquire()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes it when it is released
            path.unlink()
        lock.release()
