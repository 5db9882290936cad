"""The LLM client: many requests to an OpenAI-compatible endpoint, with structured output, a budget and a cache.

Answers come back in the order in which they arrive. The event loop runs in a worker thread, so that the client works
in scripts and in notebooks, which have a loop of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from gisttools.common import MissingError, in_background, open_client, problems
from gisttools.synthesis.asking import Asker, Learnt, LLMOptions, Reply, Request
from gisttools.synthesis.batches import answer_by_batches
from gisttools.synthesis.budget import Spent
from gisttools.synthesis.cache import CallCache
from gisttools.synthesis.live import answer_live

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
