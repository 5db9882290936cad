"""Calls an OpenAI-compatible endpoint: its client, one retry layer, and many calls at once from plain code.

Which failures pass, how long to wait, and when to give up with a clear message is decided here alone. Failures that no
waiting fixes (key, quota, address, model) end the whole run at once; what was answered before is in the cache. The
event loop runs in a worker thread, so that it works in scripts and in notebooks, which have a loop of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import logging
import os
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import openai
import tenacity

from gisttools.common.errors import EndpointError

log = logging.getLogger(__name__)
T = TypeVar("T")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ATTEMPTS = 6
_LONGEST_WAIT = 300.0  # seconds; an endpoint that asks for more is not worth waiting for
_PATIENCE_AT_START = 4.0  # seconds without a connection, before the first answer
_PATIENCE_LATER = 90.0
_PATIENCE_BUSY = 180.0  # seconds of nothing but "too many requests"
_FAILURES_IN_A_ROW = 5
_QUOTA_CODES = ("insufficient_quota", "billing_hard_limit_reached")


@dataclass(kw_only=True)
class Health:
    """What the calls of one run have seen of an endpoint so far."""

    url: str
    key_name: str
    model: str
    answered: bool = False
    failed_in_a_row: int = 0


async def with_retries(call: Callable[[], Awaitable], health: Health) -> Any:
    """Await `call()` until it answers; a text that says why, where it still fails after all attempts.

    Raises:
        EndpointError: a failure that no waiting fixes, or one call after the other fails.
        openai.BadRequestError, openai.UnprocessableEntityError: the request itself is refused.
    """
    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(_passes),
        wait=_wait,
        stop=_Patience(health),
        reraise=True,
    )

    async def attempt() -> object:  # tenacity does not await what a plain function returns
        return await call()

    try:
        answer = await retrying(attempt)
    except (openai.BadRequestError, openai.UnprocessableEntityError):
        health.answered = True
        raise
    except openai.OpenAIError as error:
        final = _final(error, health)
        health.failed_in_a_row += 1
        if final:
            raise EndpointError(final) from error
        if not health.answered or health.failed_in_a_row >= _FAILURES_IN_A_ROW:
            raise EndpointError(
                f"{health.url} fails again and again: {error}. Try later; answers so far are in the cache."
            ) from error
        return f"{type(error).__name__}: {error}"
    health.answered, health.failed_in_a_row = True, 0
    return answer


def passing(status: int, code: str | None) -> bool:
    """Is a call that failed with this HTTP status and error code worth another attempt?"""
    return (status in (408, 409, 425, 429) or status >= 500) and code not in _QUOTA_CODES


def final_words(status: int | None, code: str | None, words: str, health: Health) -> str | None:
    """The message for a status and code that no waiting fixes, with the endpoint's words; None for others."""
    if status in (401, 403):
        return (
            f"{health.url} refuses the key (status {status}: {words}). "
            f"Put a valid key in the environment variable {health.key_name}."
        )
    if status == 402 or code in _QUOTA_CODES:
        return f"{health.url} says that the account's quota is used up ({words}). Add credit, or use another endpoint."
    if status == 404:
        return f"{health.url} does not know this address or the model {health.model!r} ({words}). Correct them."
    return None


def _passes(error: BaseException) -> bool:
    if isinstance(error, openai.APIStatusError):
        return passing(error.status_code, error.code) and (_asked_wait(error) or 0) <= _LONGEST_WAIT
    # The base class itself says that an answer came, but made no sense.
    return isinstance(error, openai.APIConnectionError) or type(error) is openai.OpenAIError


def _error_of(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _wait(state: tenacity.RetryCallState) -> float:
    asked = _asked_wait(_error_of(state))
    jitter = tenacity.wait_random_exponential(multiplier=0.5, max=30)(state)
    return jitter if asked is None else asked + min(jitter, 1.0)


class _Patience:
    """When one call is given up. Being told to wait is no failure: only what else goes wrong counts as an attempt."""

    def __init__(self, health: Health) -> None:
        self._health, self._failures = health, 0

    def __call__(self, state: tenacity.RetryCallState) -> bool:
        error, seconds = _error_of(state), state.seconds_since_start or 0.0
        if isinstance(error, openai.APIConnectionError) and not isinstance(error, openai.APITimeoutError):
            return seconds >= (_PATIENCE_LATER if self._health.answered else _PATIENCE_AT_START)
        if isinstance(error, openai.RateLimitError):
            return seconds >= _PATIENCE_BUSY
        self._failures += 1
        return self._failures >= _ATTEMPTS


def _asked_wait(error: BaseException | None) -> float | None:
    """Seconds that the answer's Retry-After header asks for: a number, or an HTTP date."""
    response = getattr(error, "response", None)
    value = response.headers.get("retry-after") if response is not None else None
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        try:
            return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
        except ValueError:
            return None


def _final(error: openai.OpenAIError, health: Health) -> str | None:
    """The message for a failure that no waiting fixes; None for others."""
    if isinstance(error, openai.APIConnectionError) and not isinstance(error, openai.APITimeoutError):
        return (
            f"No endpoint answers at {health.url} ({error.__cause__ or error}). "
            "Start the server there, or correct base_url."
        )
    known = final_words(getattr(error, "status_code", None), getattr(error, "code", None), str(error), health)
    if known is not None:
        return known
    asked = _asked_wait(error)
    if asked and asked > _LONGEST_WAIT:
        return f"{health.url} asks to wait {asked:.0f} s ({error}). Run again then; answers so far are in the cache."
    return None


def is_local(base_url: str) -> bool:
    """Does the endpoint run on this machine?"""
    return urlsplit(base_url).hostname in _LOOPBACK


def open_client(base_url: str, key_variable: str, timeout: float) -> openai.AsyncOpenAI:
    """A client that never retries by itself: `with_retries` is the one layer that does. `timeout` in seconds."""
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
    arrived: queue.Queue[tuple[T] | BaseException | None] = queue.Queue()
    under_way: list[tuple[asyncio.AbstractEventLoop, asyncio.Task]] = []

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None  # asyncio.run makes one
        under_way.append((asyncio.get_running_loop(), task))
        await work(lambda item: arrived.put((item,)))

    def run() -> None:
        end: BaseException | None = None
        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001 (an interrupt too is raised where the answers are awaited)
            end = error
            while isinstance(end, BaseExceptionGroup):
                end = end.exceptions[0]
        arrived.put(end)

    thread = threading.Thread(target=run, name="endpoint-calls", daemon=True)
    thread.start()
    try:
        while True:
            item = _next(arrived)
            if isinstance(item, BaseException):
                raise item
            if item is None:
                return
            yield item[0]
    finally:
        if thread.is_alive() and under_way:
            loop, task = under_way[0]
            try:
                loop.call_soon_threadsafe(task.cancel)
            except RuntimeError:
                log.debug("the loop of the calls had already ended")
        thread.join(10)


def _next(arrived: queue.Queue[T]) -> T:
    """The next item; a wait without end could not be interrupted on Windows."""
    while True:
        with contextlib.suppress(queue.Empty):
            return arrived.get(timeout=0.5)
