"""Calls of an OpenAI-compatible endpoint: its address and client, and many calls at once from plain code.

The event loop runs in a worker thread, so that it works in scripts and in notebooks, which have a loop of their own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
from collections.abc import Awaitable, Callable, Generator
from typing import TypeVar
from urllib.parse import urlsplit

import openai

log = logging.getLogger(__name__)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
T = TypeVar("T")


def is_local(base_url: str) -> bool:
    """Does the endpoint run on this machine?"""
    return urlsplit(base_url).hostname in _LOOPBACK


def open_client(base_url: str, key_variable: str, timeout: float) -> openai.AsyncOpenAI:
    """A client that never retries by itself: `gisttools.retry` is the one layer that does. `timeout` in seconds."""
    return openai.AsyncOpenAI(
        base_url=base_url,
        api_key=os.environ.get(key_variable) or "none",
        max_retries=0,
        timeout=openai.Timeout(timeout, connect=5.0),
        # a proxy must not see local traffic
        http_client=openai.DefaultAsyncHttpxClient(trust_env=False) if is_local(base_url) else None,
    )


def in_background(work: Callable[[Callable[[T], None]], Awaitable[None]]) -> Generator[T]:
    """Run the coroutine `work(put)` in a thread and yield what it puts, as it comes.

    An error of `work` is raised here, after everything that was put before it. Leaving the iterator early, or an
    interrupt, cancels what is under way.
    """
    arrived: queue.Queue = queue.Queue()
    handle: list = []

    async def main() -> None:
        handle.append((asyncio.get_running_loop(), asyncio.current_task()))
        await work(lambda item: arrived.put((item,)))

    def run() -> None:
        end: BaseException | None = None
        try:
            asyncio.run(main())
        except BaseException as error:
            end = error
            while isinstance(end, BaseExceptionGroup):
                end = end.exceptions[0]
        arrived.put(end)

    thread = threading.Thread(target=run, name="endpoint-calls", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item = arrived.get(timeout=0.5)  # a wait without end cannot be interrupted on Windows
            except queue.Empty:
                continue
            if not isinstance(item, tuple):
                if item is not None:
                    raise item
                return
            yield item[0]
    finally:
        if thread.is_alive() and handle:
            loop, task = handle[0]
            try:
                loop.call_soon_threadsafe(task.cancel)
            except RuntimeError:
                log.debug("the loop of the calls had already ended")
        thread.join(10)
