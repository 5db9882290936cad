"""Sends many requests to an OpenAI-compatible endpoint, with structured output, a budget and a cache; starts and stops
the embedded one.

Answers come back in the order in which they arrive. The event loop runs in a worker thread, so that the client works
in scripts and in notebooks, which have a loop of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from gisttools.common import (
    DataError,
    MissingError,
    ParameterError,
    cache_folder,
    digest,
    in_background,
    open_client,
    problems,
)
from gisttools.synthesis.llm.asking import Asker, Reply, Request, Seen
from gisttools.synthesis.llm.batch import answer_by_batches
from gisttools.synthesis.llm.budget import Spent
from gisttools.synthesis.llm.cache import RENEWED, CallCache
from gisttools.synthesis.llm.live import answer_live
from gisttools.synthesis.llm.options import EMBEDDED, LLMOptions
from gisttools.synthesis.llm.server import find_model, identity, serve_local
from gisttools.synthesis.llm.several import answer_by_several, from_caches, order_of

_EMBEDDED_KEY = "local"  # the embedded server's port changes from run to run; its model's name says its content
_SHOWN = 5  # missing requests named in an error


class LLM:
    """A model behind an OpenAI-compatible endpoint.

    Args:
        options: which one, and how it is asked; `open_llm` opens the embedded one.
        cache: SQLite file of answers; equal requests are answered from it and cost nothing. None: no cache.
        endpoint: what answers are kept under in place of the address, where that changes and the model does not.
        job: a name for what the budget is for. All starts under it, also such as were killed, share one budget until
            `forget_spent`; None: it is for this object's calls.

    Attributes:
        seen: of each endpoint, what it taught, what its calls cost so far, and how they went.

    Raises:
        ParameterError: there is no cache, but mode or transport need one; or the embedded server is not started.
    """

    def __init__(
        self,
        options: LLMOptions,
        *,
        cache: str | Path | None = None,
        endpoint: str | None = None,
        job: str | None = None,
    ) -> None:
        self.options, self.cache = options, cache
        self._name = uuid.uuid4().hex
        self.seen = [Seen.of(of_one, endpoint, job) for of_one in options.each]
        for seen in self.seen:
            seen.health.others = len(self.seen) > 1
        found = []
        if options.base_url == EMBEDDED and not options.endpoints:
            found.append(f"base_url is {EMBEDDED!r}, a server that open_llm starts: use that")
        if cache is None and options.mode != "auto":
            found.append(f"mode is {options.mode!r}, but there is no cache: name its file")
        if cache is None and options.endpoints and (options.budget_usd, options.budget_tokens) != (None, None):
            found.append("several endpoints share one budget, but there is no cache, which keeps it: name its file")
        if cache is None and options.transport == "batch":
            found.append("transport is 'batch', but there is no cache, which remembers the batches: name its file")
        if found:
            raise ParameterError(problems(f"LLM: {len(found)} problem(s)", found))

    def live(self) -> LLM:
        """The same LLM, asked by live calls: a batch takes hours."""
        other = LLM(self.options.part(LLMOptions, transport="live"), cache=self.cache)
        other.seen = self.seen
        return other

    @property
    def is_embedded(self) -> bool:
        """Whether it is the server that `open_llm` starts here, whose slots share the cores."""
        return self.seen[0].endpoint == _EMBEDDED_KEY

    @property
    def spent(self) -> Spent:
        """Tokens and dollars of its calls so far."""
        each = [seen.spent for seen in self.seen]
        return Spent(**{name: sum(getattr(s, name) for s in each) for name in ("tokens", "usd", "cached")})

    @property
    def gave_up(self) -> bool:
        """Whether no endpoint is asked any more, for they answered and then failed again and again."""
        return all(seen.health.gave_up for seen in self.seen)

    @contextmanager
    def for_job(self, about: Sequence[object]) -> Iterator[None]:
        """Inside, the budget is for the job that `about` (frozen options and the like) describes, so that what killed
        starts of it spent counts; unless the object was told another job."""
        told, name = [seen.job for seen in self.seen], digest(repr(about), 32)
        for seen in self.seen:
            seen.job = seen.job or name
        try:
            yield
        finally:
            for seen, job in zip(self.seen, told, strict=True):
                seen.job = job

    def forget_spent(self) -> None:
        """The job is done: another run of it has its whole budget."""
        if self.cache is not None:
            with CallCache(self.cache) as cache:
                for job in {seen.job for seen in self.seen if seen.job}:
                    cache.forget_spent(job)

    def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer all requests; the replies stand in the order of the requests. Raises as `stream` does."""
        replies = dict(self.stream(requests))
        return [replies[i] for i in range(len(requests))]

    def stream(self, requests: Sequence[Request]) -> Iterator[tuple[int, Reply]]:
        """Answer all requests; yields (number of the request, reply) as they arrive, cached ones first.

        Every request gets one reply, also where it failed, was refused or is over the budget. Leaving the iterator
        early, or an interrupt, cancels what is under way; but batches go on, and the next run finds them.

        Raises:
            EndpointError: the endpoint is unreachable, refuses key, quota, model or every form of request, or fails
                again and again; what was under way arrives before. Also, a batch failed or was cancelled.
            MissingError: in mode replay, requests that are not in the cache; after those that are.
            DataError: the cache cannot be used.
        """
        return in_background(lambda put: self._answer(requests, put))

    async def _answer(self, requests: Sequence[Request], put: Callable[[tuple[int, Reply]], None]) -> None:
        try:
            with self.for_job([self._name]) if self.options.endpoints else nullcontext():  # one budget for all
                await self._answer_all(requests, put)
        except sqlite3.Error as error:
            raise DataError(
                f"The cache {self.cache} cannot be used: {error}. Make room, or name another file."
            ) from error

    async def _answer_all(self, requests: Sequence[Request], put: Callable[[tuple[int, Reply]], None]) -> None:
        options, each = self.options, self.options.each
        orders = [order_of(request, each, options.weights) for request in requests]
        with CallCache(self.cache) as cache:
            askers = [Asker(of_one, cache, seen) for of_one, seen in zip(each, self.seen, strict=True)]
            for asker in askers if len(askers) > 1 else ():
                asker.budget.announce()
            todo = []
            for i, request in enumerate(requests):
                reply = None if options.mode == "record" else await from_caches(askers, orders[i], request)
                if reply is None:
                    todo.append(i)
                else:
                    put((i, reply))
                await asyncio.sleep(0)  # or leaving the iterator early would have to wait for all
            if todo and options.mode == "replay":
                raise MissingError(self._not_recorded(requests, todo))
            if todo:
                renewing = asyncio.create_task(_renew(cache))
                try:
                    await self._carry(askers, orders, requests, todo, put)
                finally:
                    renewing.cancel()

    async def _carry(
        self, askers: list[Asker], orders: list[list[int]], requests: Sequence[Request], todo: list[int], put: Callable
    ) -> None:
        """Ask for what is not in the cache."""
        if len(askers) > 1:
            await answer_by_several(askers, orders, requests, todo, put)
            return
        options = askers[0].options
        async with open_client(options.base_url, options.key_variable, options.timeout) as client:
            carry = answer_live if options.transport == "live" else answer_by_batches
            await carry(askers[0], client, requests, todo, put)

    def _not_recorded(self, requests: Sequence[Request], todo: list[int]) -> str:
        found = []
        for i in todo[:_SHOWN]:
            words = " ".join(requests[i].messages[-1]["content"].split())
            words = words if len(words) <= 80 else f"{words[:80]}..."
            found.append(f"number {i}, replicate {requests[i].replicate}: {words!r}")
        found += [f"and {len(todo) - _SHOWN} more"] if len(todo) > _SHOWN else []
        title = f"{len(todo)} of {len(requests)} requests to {self.options.models!r} are not in the cache {self.cache}:"
        return problems(title, found, "Ask for the same as when it was recorded, or run with mode auto.")


async def _renew(cache: CallCache) -> None:
    while True:
        await asyncio.sleep(RENEWED)
        with contextlib.suppress(sqlite3.OperationalError):  # the file is busy: the next time will do
            cache.renew()


@contextmanager
def open_llm(
    options: LLMOptions, *, log: str | Path | None = None, cache: str | Path | None = None, job: str | None = None
) -> Iterator[LLM]:
    """An `LLM` for the length of a `with` block.

    Args:
        options: which one, and how to ask it.
        log: file for what the embedded server writes.
        cache: SQLite file of answers; `llm.sqlite` in the package's cache folder where None.
        job: what the budget is for, see `LLM`.

    Raises:
        MissingError, EndpointError: the embedded server cannot be started.
    """
    cache = cache_folder() / "llm.sqlite" if cache is None else cache

    def embedded(base_url: str, model: str) -> LLM:
        there = {"base_url": base_url, "model": model, "price_in": 0.0, "price_out": 0.0}
        return LLM(options.part(LLMOptions, **there), cache=cache, endpoint=_EMBEDDED_KEY, job=job)

    if options.base_url != EMBEDDED or options.endpoints:
        yield LLM(options, cache=cache, job=job)
    elif options.mode == "replay":  # the file says which answers count; nobody is asked
        yield embedded("http://127.0.0.1/v1", identity(find_model(options.model)))
    else:
        with serve_local(options.model, slots=options.concurrency, context=options.context, log=log) as server:
            yield embedded(server.base_url, server.model)
