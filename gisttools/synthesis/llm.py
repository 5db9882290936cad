"""The LLM client: many requests to an OpenAI-compatible endpoint, with structured output, a budget and a cache.

Answers come back in the order in which they arrive. The event loop runs in a worker thread, so that the client works
in scripts and in notebooks, which have a loop of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from gisttools.calls import in_background, open_client
from gisttools.errors import MissingError, ParameterError, problems
from gisttools.secret_text import safe_url
from gisttools.synthesis.asking import Asker, Learnt
from gisttools.synthesis.batches import answer_by_batches
from gisttools.synthesis.budget import Price, Spent, known_price
from gisttools.synthesis.cache import CallCache
from gisttools.synthesis.live import answer_live

_SHOWN = 5  # missing requests named in an error


@dataclass(frozen=True, kw_only=True)
class Request:
    """One question. `replicate` tells apart requests that are otherwise equal; it moves the seed that is sent."""

    messages: Sequence[dict[str, str]]
    schema: dict
    replicate: int = 0


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer.

    Attributes:
        key: of the call that gave it, in the cache.
        content: the raw text; of a refusal its words, of a call that failed the reason.
        finish_reason: as the endpoint says it; also "refusal", "error" (failed after all attempts) and "budget" (not
            asked, for the budget did not hold it).
        model: as the endpoint names it.
        tokens_in, tokens_out: of all calls that it took, cached ones too.
        cost_usd: of these tokens; None where the price is not known.
        calls: made now for it: 0 from the cache, up to 3.
        cached: nothing was asked for it now.
        problem: what does not fit the schema, after it was asked again; None where it fits, or was not looked at.
    """

    key: str
    content: str
    finish_reason: str
    model: str
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float | None = None
    calls: int = 0
    cached: bool = False
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class LLM:
    """A model behind an OpenAI-compatible endpoint.

    Args:
        base_url: address with its version part, as `http://127.0.0.1:8080/v1`.
        model: name that the endpoint knows.
        api_key_env: environment variable that holds the key; a local endpoint needs none.
        temperature: sampling temperature, 0 to 2.
        max_tokens: limit of an answer's length; one that is cut there is asked for once more with twice as much.
        seed: seed of the sampling; the replicate number is added.
        concurrency: requests under way at the same time, at most: fewer while the endpoint says 429.
        timeout: seconds until one attempt is given up.
        cache: SQLite file of answers; equal requests are answered from it and cost nothing. None: no cache.
        mode: auto: the cache, else the endpoint; record: always the endpoint, and the cache learns; replay: the cache
            alone, without network.
        transport: live: a call for each answer. batch: the endpoint's Batch API, cheaper and within a day; needs a
            cache, in which batches under way are found again after a restart.
        poll_seconds: seconds between two looks at a batch.
        requests_per_minute, tokens_per_minute: the account's limits; None: only what 429 teaches.
        budget_usd, budget_tokens: never overstepped by the calls of this object, for the most that a call can cost is
            reserved before it is sent; what is not asked for that reason says so. A call without an answer counts as
            paid in full. Cached answers cost nothing; answers of a batch that an earlier run left under way count.
        price_in, price_out: US dollars for a million tokens, both or none; None: the list price by the package
            genai-prices where it is installed and knows the model, else not known. Batches count at the same price,
            an upper bound where they are billed at a discount; give the prices as billed.

    Raises:
        ParameterError: a value is out of range, or a budget in dollars has no price; all of them at once.
    """

    base_url: str
    model: str
    api_key_env: str = "OPENAI_API_KEY"
    temperature: float = 0.8
    max_tokens: int = 300
    seed: int = 0
    concurrency: int = 4
    timeout: float = 120.0
    cache: str | Path | None = None
    mode: Literal["auto", "record", "replay"] = "auto"
    transport: Literal["live", "batch"] = "live"
    poll_seconds: float = 30.0
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    budget_usd: float | None = None
    budget_tokens: int | None = None
    price_in: float | None = None
    price_out: float | None = None
    learnt: Learnt = field(default_factory=Learnt, init=False, repr=False, compare=False)
    spent: Spent = field(default_factory=Spent, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        found = []
        if urlsplit(self.base_url).scheme not in ("http", "https") or not urlsplit(self.base_url).hostname:
            found.append(f"base_url is {self.base_url!r}, not an address such as http://127.0.0.1:8080/v1")
        if not self.model:
            found.append("model is empty")
        if not 0 <= self.temperature <= 2:
            found.append(f"temperature is {self.temperature}, not in 0..2")
        positive = ("max_tokens", "concurrency", "timeout", "requests_per_minute", "tokens_per_minute", "budget_usd",
                    "poll_seconds")  # fmt: skip
        values = {name: getattr(self, name) for name in (*positive, "budget_tokens")}
        found += [
            f"{name} is {value}, not above 0" for name, value in values.items() if value is not None and value <= 0
        ]
        prices = (self.price_in, self.price_out)
        if (None in prices and prices != (None, None)) or any(p is not None and p < 0 for p in prices):
            found.append(f"price_in and price_out are {prices[0]} and {prices[1]}; give both, 0 or more, or neither")
        elif self.budget_usd is not None and not found and self.price is None:
            found.append(
                f"budget_usd is {self.budget_usd}, but the price of {self.model!r} is not known: "
                "give price_in and price_out, or a budget of tokens"
            )
        if self.mode not in ("auto", "record", "replay"):
            found.append(f"mode is {self.mode!r}, not auto, record or replay")
        elif self.mode != "auto" and self.cache is None:
            found.append(f"mode is {self.mode!r}, but there is no cache: name its file")
        if self.transport not in ("live", "batch"):
            found.append(f"transport is {self.transport!r}, not live or batch")
        elif self.transport == "batch" and self.cache is None:
            found.append("transport is 'batch', but there is no cache, which remembers the batches: name its file")
        if found:
            raise ParameterError(problems(f"LLM: {len(found)} problem(s)", found))

    @property
    def url(self) -> str:
        """The address without user name and password."""
        return safe_url(self.base_url)

    @cached_property
    def price(self) -> Price | None:
        """What a million tokens cost; None where it is not known."""
        if self.price_in is not None:
            return Price(per_million_in=self.price_in, per_million_out=self.price_out)
        return known_price(self.url, self.model)

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
            asker, todo = Asker(self, cache), []
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
