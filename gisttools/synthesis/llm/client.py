"""Open the LLM that a run's parameters name: the embedded one, which is started and stopped, or any other endpoint.

The LLM client: many requests to an OpenAI-compatible endpoint, with structured output, a budget and a cache.

Answers come back in the order in which they arrive. The event loop runs in a worker thread, so that the client works
in scripts and in notebooks, which have a loop of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from gisttools.common import MissingError, ParameterError, cache_folder, in_background, open_client, problems
from gisttools.synthesis.llm.asking import Asker, Learnt, LLMOptions, Reply, Request
from gisttools.synthesis.llm.batch import answer_by_batches
from gisttools.synthesis.llm.budget import Spent
from gisttools.synthesis.llm.cache import CallCache
from gisttools.synthesis.llm.live import answer_live
from gisttools.synthesis.llm.server import find_model, identity, serve_local

_SHOWN = 5  # missing requests named in an error


@dataclass(frozen=True, kw_only=True)
class LLM(LLMOptions):
    """A model behind an OpenAI-compatible endpoint, made from the fields of `LLMOptions`; raises as that does.

    Attributes:
        learnt, spent: what the endpoint taught, and what its calls cost so far.
    """

    learnt: Learnt = field(default_factory=Learnt, init=False, repr=False, compare=False)
    spent: Spent = field(default_factory=Spent, init=False, repr=False, compare=False)

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
        return in_background(lambda put: self._answer_all(requests, put))

    async def _answer_all(self, requests: Sequence[Request], put: Callable[[tuple[int, Reply]], None]) -> None:
        with CallCache(self.cache) as cache:
            asker, todo = Asker(self, cache, self.learnt, self.spent), []
            for i, request in enumerate(requests):
                reply = None if self.mode == "record" else await asker.from_cache(request)
                if reply is None:
                    todo.append(i)
                else:
                    put((i, reply))
                await asyncio.sleep(0)  # or leaving the iterator early would have to wait for all
            if todo and self.mode == "replay":
                raise MissingError(self._not_recorded(requests, todo))
            if todo:
                async with open_client(self.base_url, self.api_key_env, self.timeout) as client:
                    carry = answer_live if self.transport == "live" else answer_by_batches
                    await carry(asker, client, requests, todo, put)

    def _not_recorded(self, requests: Sequence[Request], todo: list[int]) -> str:
        found = []
        for i in todo[:_SHOWN]:
            words = " ".join(requests[i].messages[-1]["content"].split())
            words = words if len(words) <= 80 else f"{words[:80]}..."
            found.append(f"number {i}, replicate {requests[i].replicate}: {words!r}")
        found += [f"and {len(todo) - _SHOWN} more"] if len(todo) > _SHOWN else []
        title = f"{len(todo)} of {len(requests)} requests to {self.model!r} are not in the cache {self.cache}:"
        return problems(title, found, "Ask for the same as when it was recorded, or run with mode auto.")


class LLMParams(Protocol):
    """The parameters that say which LLM, and how to ask it; `SynthesizeParams` has them."""

    llm_base_url: str  # "embedded", or the address of an OpenAI-compatible endpoint
    llm_model: str
    llm_key_variable: str
    temperature: float
    max_tokens: int
    concurrency: int
    seed: int
    llm_mode: Literal["auto", "record", "replay"]
    llm_transport: Literal["live", "batch"]
    llm_context: int
    llm_timeout: float
    requests_per_minute: float | None
    tokens_per_minute: float | None
    budget_usd: float | None
    budget_tokens: int | None
    price_in: float | None
    price_out: float | None


@contextmanager
def open_llm(params: LLMParams, *, log: str | Path | None = None, cache: str | Path | None = None) -> Iterator[LLM]:
    """An `LLM` for the length of a `with` block.

    Args:
        params: which one, and how to ask it.
        log: file for what the embedded server writes.
        cache: SQLite file of answers; `llm.sqlite` in the package's cache folder where None.

    Raises:
        MissingError, EndpointError: the embedded server cannot be started.
        ParameterError: a value is out of range, or batches are asked of the embedded server.
    """
    if cache is None:
        cache = cache_folder() / "llm.sqlite"

    def llm(base_url: str, model: str, price: tuple[float | None, float | None]) -> LLM:
        return LLM(
            base_url=base_url,
            model=model,
            api_key_env=params.llm_key_variable,
            temperature=params.temperature,
            max_tokens=params.max_tokens,
            concurrency=params.concurrency,
            seed=params.seed,
            cache=cache,
            mode=params.llm_mode,
            transport=params.llm_transport,
            timeout=params.llm_timeout,
            requests_per_minute=params.requests_per_minute,
            tokens_per_minute=params.tokens_per_minute,
            budget_usd=params.budget_usd,
            budget_tokens=params.budget_tokens,
            price_in=price[0],
            price_out=price[1],
        )

    if params.llm_base_url != "embedded":
        yield llm(params.llm_base_url, params.llm_model, (params.price_in, params.price_out))
        return
    if params.llm_transport == "batch":
        raise ParameterError(
            "llm_transport is 'batch', but the embedded server (llm_base_url 'embedded') has no Batch API. Set "
            "llm_transport to live, or llm_base_url to an endpoint that has one."
        )
    free = (0.0, 0.0)
    if params.llm_mode == "replay":  # the file says which answers count; nobody is asked
        yield llm("http://127.0.0.1/v1", identity(find_model(params.llm_model)), free)
        return
    with serve_local(params.llm_model, slots=params.concurrency, context=params.llm_context, log=log) as server:
        yield llm(server.base_url, server.model, free)
