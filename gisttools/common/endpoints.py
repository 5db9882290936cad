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
import math
import os
import queue
import re
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import openai
import tenacity

from gisttools.common.addresses import is_local
from gisttools.common.errors import EndpointError

log = logging.getLogger(__name__)
T = TypeVar("T")
_ATTEMPTS = 6
_ATTEMPTS_BESIDE_OTHERS = 2  # where another endpoint takes the call
_LONGEST_WORDS = 500  # characters of an error that are told
_NOT_CONNECTED = ("ConnectError", "ConnectTimeout", "UnsupportedProtocol", "LocalProtocolError")
_LONGEST_WAIT = 300.0  # seconds; an endpoint that asks for more is not worth waiting for
_PATIENCE_AT_START = 4.0  # seconds without a connection, before the first answer
_PATIENCE_LATER = 90.0
_PATIENCE_BUSY = 180.0  # seconds of nothing but "too many requests"
_PATIENCE_BESIDE_OTHERS = 20.0
_FAILURES_IN_A_ROW = 5
_REFUSALS_IN_A_ROW = 3
_OUTAGE = 60.0  # seconds without an answer, from which failures in a row mean that the endpoint is out of order
_QUOTA_CODES = ("insufficient_quota", "billing_hard_limit_reached")
_BUSY = (429, 529)  # too many requests; overloaded, as Anthropic says it
_OVERLOADED = re.compile(r"overloaded|high demand", re.IGNORECASE)  # what a status 503 may mean, as Gemini says it
# what a status 400 may mean: Gemini and Anthropic have no other for a wrong key and for an account without money
_NO_KEY = re.compile(r"api[ _]key[ _](not valid|invalid|not found)|missing or invalid authorization", re.IGNORECASE)
_NO_MONEY = re.compile(r"credit balance is too low", re.IGNORECASE)
_FOR_TODAY = re.compile(r"PerDay")  # the name of a quota of Gemini's that no waiting fills
_DELAY = re.compile(r"\d+(\.\d+)?s")


@dataclass(kw_only=True)
class Health:
    """What is known of an endpoint: by the calls of a run and, where answers are cached, by those of earlier ones.

    Attributes:
        url, key_name, model: for messages.
        others: there are other endpoints that take over: this one is given up sooner.
        reached: something came back in this run, if only a refusal.
        answered: it has answered a call, now or earlier: what fails then may be the request's fault.
        failed_in_a_row, refused_in_a_row: calls that failed after all attempts, and those among them that were refused
            by key, address or model.
        last: when it last answered, or this began (monotonic seconds).
        gave_up: why nothing more is asked; None while it works.
    """

    url: str
    key_name: str
    model: str
    others: bool = False
    reached: bool = False
    answered: bool = False
    failed_in_a_row: int = 0
    refused_in_a_row: int = 0
    last: float = field(default_factory=time.monotonic)
    gave_up: str | None = None

    def went_well(self) -> None:
        """A call was answered."""
        self.reached = self.answered = True
        self.failed_in_a_row, self.refused_in_a_row, self.last = 0, 0, time.monotonic()

    def failed(self, why: str) -> None:
        """A call has failed after all attempts. Where none was ever answered, it is the endpoint and not the request;
        where one was, an endpoint that answers nothing for a minute is left alone for the rest of the run.

        Raises:
            EndpointError: calls fail in a row, and none was ever answered.
        """
        self.failed_in_a_row += 1
        if self.failed_in_a_row < _FAILURES_IN_A_ROW:
            return
        if not self.answered:
            raise EndpointError(f"{self.url} fails again and again: {why}. Try later; answers so far are in the cache.")
        if time.monotonic() - self.last >= _OUTAGE:
            self.gave_up = f"{self.url} fails again and again: {why}"
            log.warning("%s. Nothing more is asked in this run; run again later.", self.gave_up)


async def with_retries(call: Callable[[], Awaitable], health: Health) -> Any:
    """Await `call()` until it answers; a text that says why, where it still fails after all attempts.

    Raises:
        EndpointError: a failure that no waiting fixes and that is not this request's alone, or one call after the other
            fails and none was ever answered.
        openai.BadRequestError, openai.UnprocessableEntityError: the request itself is refused.
    """
    if health.gave_up is not None:
        return health.gave_up
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
    except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
        health.reached = True
        if (hidden := _meant(error)) != error.status_code:
            raise EndpointError(final_words(hidden, None, error_words(error), health)) from error
        raise
    except openai.OpenAIError as error:
        final, why = _final(error, health), error_words(error)
        health.reached = health.reached or not _no_connection(error)
        if final and not _of_one_request(error, health):
            raise EndpointError(final) from error
        health.failed(why)
        return why
    health.went_well()
    return answer


def busy(error: BaseException | None) -> bool:
    """Does a failure mean that the endpoint has too much to do, so that fewer calls at a time, and waiting, help?"""
    if not isinstance(error, openai.APIStatusError):
        return False
    overloaded = error.status_code == 503 and _OVERLOADED.search(error_words(error)) is not None
    return error.status_code in _BUSY or overloaded


def _meant(error: openai.APIStatusError) -> int:
    """The HTTP status that a failure should have: 401 for a wrong key, 402 for no money or a quota that is used up for
    the day."""
    words = str(_told(error.body))
    if error.status_code == 400 and _NO_KEY.search(words):
        return 401
    if error.status_code == 400 and _NO_MONEY.search(words):
        return 402
    return 402 if error.status_code == 429 and _FOR_TODAY.search(words) else error.status_code


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
        return passing(_meant(error), error.code) and (_asked_wait(error) or 0) <= _LONGEST_WAIT
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
        if error is not None and _no_connection(error):
            later = self._health.reached and not self._health.others
            return seconds >= (_PATIENCE_LATER if later else _PATIENCE_AT_START)
        if busy(error):
            if self._health.others:
                return seconds + (_asked_wait(error) or 0.0) >= _PATIENCE_BESIDE_OTHERS
            return seconds >= _PATIENCE_BUSY
        self._failures += 1
        return self._failures >= (_ATTEMPTS_BESIDE_OTHERS if self._health.others else _ATTEMPTS)


def _asked_wait(error: BaseException | None) -> float | None:
    """Seconds that the answer's Retry-After header asks for, a number or an HTTP date; or its body, as Gemini's."""
    response = getattr(error, "response", None)
    value = response.headers.get("retry-after") if response is not None else None
    if not value:
        return _delay(_told(getattr(error, "body", None)))
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return None if math.isnan(seconds) else max(0.0, seconds)


def _delay(told: object) -> float | None:
    """The seconds of `retryDelay` (as "17.5s") among the details of an error."""
    details = told.get("details") if isinstance(told, dict) else None
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str) and _DELAY.fullmatch(delay):
            return float(delay[:-1])
    return None


def _final(error: openai.OpenAIError, health: Health) -> str | None:
    """The message for a failure that no waiting fixes; None for others."""
    if _no_connection(error):
        return (
            f"No endpoint answers at {health.url} ({error_words(error)}). Start the server there, or correct base_url."
        )
    status = _meant(error) if isinstance(error, openai.APIStatusError) else None
    known = final_words(status, getattr(error, "code", None), error_words(error), health)
    if known is not None:
        return known
    asked = _asked_wait(error)
    if asked and asked > _LONGEST_WAIT:
        return f"{health.url} asks to wait {asked:.0f} s ({error}). Run again then; answers so far are in the cache."
    return None


def _no_connection(error: BaseException) -> bool:
    """Was nobody there? A connection that breaks off later is a server that answered badly."""
    return isinstance(error, openai.APIConnectionError) and type(error.__cause__).__name__ in _NOT_CONNECTED


def _of_one_request(error: openai.OpenAIError, health: Health) -> bool:
    """May a refusal of key, address or model be one of this request alone: others were answered, and it is not the
    third in a row?"""
    if getattr(error, "status_code", None) not in (403, 404) or not health.answered:
        return False
    health.refused_in_a_row += 1
    return health.refused_in_a_row < _REFUSALS_IN_A_ROW


def _told(body: object) -> object:
    """What an endpoint says of an error: the object with its message, also where that stands in a list, as Gemini's."""
    if isinstance(body, list) and body and isinstance(body[0], dict):
        return body[0].get("error", body[0])
    return body


def error_words(error: BaseException) -> str:
    """What went wrong, never empty, in a line of bounded length."""
    cause = error.__cause__ if isinstance(error, openai.APIConnectionError) and error.__cause__ else error
    text = str(cause)
    body = getattr(error, "body", None)
    told = _told(body)
    message = told.get("message") if isinstance(told, dict) else None
    if body and (told is not body or not isinstance(message, str)):  # the client tells OpenAI's own errors' words alone
        text += f" - {message if isinstance(message, str) else body}"
    text = " ".join(text.split())[:_LONGEST_WORDS].encode("utf-8", "replace").decode()
    name = type(cause).__name__
    broken = isinstance(error, openai.APIConnectionError) and not _no_connection(error)
    words = f"{name}: {text}" if text else name
    return f"the answer broke off or cannot be read ({words})" if broken and cause is not error else words


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
