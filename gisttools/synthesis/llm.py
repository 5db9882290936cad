"""The LLM client: many requests to an OpenAI-compatible endpoint, with structured output, retries and a cache.

Answers come back in the order in which they arrive. The event loop runs in a worker thread, so that the client works
in scripts and in notebooks, which have a loop of their own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import openai

from gisttools.calls import in_background, is_local, open_client, safe_url
from gisttools.errors import EndpointError, ParameterError, problems
from gisttools.retry import Health, with_retries
from gisttools.synthesis.cache import CallCache, call_key
from gisttools.synthesis.forms import RUNGS, with_form

log = logging.getLogger(__name__)

_DROPPABLE = ("temperature", "seed")  # reasoning models refuse them


@dataclass(frozen=True, kw_only=True)
class Request:
    """One question. `replicate` tells apart requests that are otherwise equal; it moves the seed that is sent."""

    messages: Sequence[dict[str, str]]
    schema: dict
    replicate: int = 0


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer. `content` is the raw text; a call that failed has finish_reason "error" and says why in it."""

    key: str
    content: str
    finish_reason: str
    model: str
    tokens_in: int = 0
    tokens_out: int = 0
    cached: bool = False


@dataclass(frozen=True, kw_only=True)
class LLM:
    """A model behind an OpenAI-compatible endpoint.

    Args:
        base_url: address with its version part, as `http://127.0.0.1:8080/v1`.
        model: name that the endpoint knows.
        api_key_env: environment variable that holds the key; a local endpoint needs none.
        temperature: sampling temperature, 0 to 2.
        max_tokens: limit of an answer's length.
        seed: seed of the sampling; the replicate number is added.
        concurrency: requests under way at the same time.
        timeout: seconds until one attempt is given up.
        cache: SQLite file of answers; equal requests are answered from it and cost nothing. None: no cache.

    Raises:
        ParameterError: a value is out of range; all of them at once.
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
    # What the endpoint taught us: the rung it takes, parameters it refuses.
    _learnt: dict = field(default_factory=lambda: {"rung": 0, "drop": set(), "limit": "max_tokens"}, repr=False)

    def __post_init__(self) -> None:
        found = []
        if urlsplit(self.base_url).scheme not in ("http", "https") or not urlsplit(self.base_url).hostname:
            found.append(f"base_url is {self.base_url!r}, not an address such as http://127.0.0.1:8080/v1")
        if not self.model:
            found.append("model is empty")
        if not 0 <= self.temperature <= 2:
            found.append(f"temperature is {self.temperature}, not in 0..2")
        found += [f"{n} is {getattr(self, n)}, not above 0" for n in ("max_tokens", "concurrency", "timeout")
                  if getattr(self, n) <= 0]  # fmt: skip
        if found:
            raise ParameterError(problems(f"LLM: {len(found)} problem(s)", found))

    @property
    def url(self) -> str:
        """The address without user name and password."""
        return safe_url(self.base_url)

    def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer all requests; the replies stand in the order of the requests. Raises as `stream` does."""
        replies = dict(self.stream(requests))
        return [replies[i] for i in range(len(requests))]

    def stream(self, requests: Sequence[Request]) -> Iterator[tuple[int, Reply]]:
        """Answer all requests; yields (number of the request, reply) as they arrive, cached ones first.

        A request that still fails after retries yields a reply with finish_reason "error". Leaving the iterator early,
        or an interrupt, cancels what is under way.

        Raises:
            EndpointError: the endpoint is unreachable, refuses key, quota, model or every form of request, or fails
                again and again.
        """
        return in_background(lambda put: self._answer_all(requests, put))

    async def _answer_all(self, requests: Sequence[Request], put: Callable[[tuple[int, Reply]], None]) -> None:
        with CallCache(self.cache) as cache:
            keys = [self._key(r) for r in requests]
            todo = []
            for i, key in enumerate(keys):
                stored = cache.get(key)
                if stored is None:
                    todo.append(i)
                else:
                    put((i, Reply(**stored, key=key, cached=True)))
            if not todo:
                return
            pending, health = iter(todo), Health(url=self.url, key_name=self.api_key_env, model=self.model)
            async with open_client(self.base_url, self.api_key_env, self.timeout) as client:

                async def worker() -> None:
                    for i in pending:
                        stored = await self._answer(client, requests[i], health)
                        if stored["finish_reason"] != "error":
                            cache.put(keys[i], stored)
                        put((i, Reply(**stored, key=keys[i])))

                async with asyncio.TaskGroup() as group:
                    for _ in range(min(self.concurrency, len(todo))):
                        group.create_task(worker())

    async def _answer(self, client: openai.AsyncOpenAI, request: Request, health: Health) -> dict:
        """Ask on the best rung that works. A 400 may mean the form of the request, so lower rungs are tried first."""
        rung, refusal = self._learnt["rung"], None
        while rung < len(RUNGS):
            try:
                answer = await with_retries(
                    lambda rung=rung: client.chat.completions.create(**self._body(request, rung)), health
                )
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                refusal = refusal or error
                if not self._adapt(error):
                    rung += 1
                continue
            if isinstance(answer, str):
                return {"content": answer, "finish_reason": "error", "model": self.model}
            if rung > self._learnt["rung"]:
                log.info("%s does not take %s; asking by %s", self.url, RUNGS[self._learnt["rung"]], RUNGS[rung])
                self._learnt["rung"] = rung
            choice = answer.choices[0] if answer.choices else None
            return {
                "content": (choice and choice.message.content) or "",
                "finish_reason": (choice and choice.finish_reason) or "empty",
                "model": answer.model or self.model,
                "tokens_in": answer.usage.prompt_tokens if answer.usage else 0,
                "tokens_out": answer.usage.completion_tokens if answer.usage else 0,
            }
        raise EndpointError(f"{self.url} refuses the request in every form: {refusal}. Check model and parameters.")

    def _adapt(self, error: openai.APIStatusError) -> bool:
        """Learn from a refusal that names a parameter; True where the request is worth repeating."""
        named = error.param
        if named == "max_tokens" and self._learnt["limit"] == "max_tokens":
            self._learnt["limit"] = "max_completion_tokens"
            return True
        if named in _DROPPABLE and named not in self._learnt["drop"]:
            log.warning("%s refuses %s; asking without it", self.url, named)
            self._learnt["drop"].add(named)
            return True
        return False

    def _body(self, request: Request, rung: int) -> dict:
        body = {"model": self.model, "temperature": self.temperature, "seed": self.seed + request.replicate}
        body = {k: v for k, v in body.items() if k not in self._learnt["drop"]}
        body[self._learnt["limit"]] = self.max_tokens
        return body | with_form(request.messages, request.schema, rung)

    def _key(self, request: Request) -> str:
        # The port of a local server changes from run to run and says nothing about the model.
        endpoint = "local" if is_local(self.url) else self.url
        sampling = {"temperature": self.temperature, "max_tokens": self.max_tokens, "seed": self.seed}
        return call_key(endpoint, self.model, list(request.messages), request.schema, sampling, request.replicate)
