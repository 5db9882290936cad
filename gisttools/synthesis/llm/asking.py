"""The calls of one run: how a request becomes an answer, whatever carries the calls (`live`, `batches`).

At most three calls a request: as asked; once more with more room where the answer was cut at its length; once more with
a word on what was wrong where it does not fit the schema. Each is cached by its own content, so that a killed run goes
on in the middle of a request.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from gisttools.common import Health, ParameterError, is_local, problems, safe_url
from gisttools.synthesis.llm.budget import Budget, Price, Spent, known_price
from gisttools.synthesis.llm.cache import CallCache, call_key
from gisttools.synthesis.llm.forms import RUNGS, extract_json, fault, with_form

log = logging.getLogger(__name__)

REFUSED = ("refusal", "content_filter")
UNANSWERED = ("error", "budget")
_DROPPABLE = ("temperature", "seed")  # reasoning models refuse them


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
        answer: the JSON object in `content`; None where there is none, or none was looked for.
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
    answer: dict | None = None
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class LLMOptions:
    """Which model, behind which OpenAI-compatible endpoint, and how it is asked.

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


Call = Callable[[list, Request, int, str], Awaitable[dict | None]]  # messages, request, room, key


class Learnt:
    """What an endpoint taught: the rung of `RUNGS` that it takes, and parameters that it refuses."""

    def __init__(self) -> None:
        self.rung, self.settled, self.limit = 0, False, "max_tokens"
        self.drop: set[str] = set()

    @property
    def form(self) -> dict:
        """What was learnt, as JSON: two calls of one form are asked in the same way."""
        return {"rung": self.rung, "limit": self.limit, "drop": sorted(self.drop)}

    def take(self, form: dict) -> None:
        """Take over the form of calls that an earlier run sent; it had found out that the endpoint takes it."""
        self.rung, self.limit, self.drop, self.settled = form["rung"], form["limit"], set(form["drop"]), True

    def lower(self) -> None:
        """Go down a rung, where there is one, after a batch in which all calls were refused."""
        self.rung = min(self.rung + 1, len(RUNGS) - 1)

    def adapt(self, named: str | None) -> bool:
        """Learn from a refusal that names a parameter; True where the request is worth repeating."""
        if named == "max_tokens" and self.limit == "max_tokens":
            self.limit = "max_completion_tokens"
            return True
        if named in _DROPPABLE and named not in self.drop:
            log.warning("the endpoint refuses %s; asking without it", named)
            self.drop.add(named)
            return True
        return False


class Asker:
    """What the calls of one run of an `LLM` share, and how they follow each other; used inside one event loop.

    Attributes:
        llm, cache, learnt: how the endpoint is asked, where answers are kept, what the endpoint taught.
        budget, health: what may be spent, and how the endpoint's calls went.
    """

    def __init__(self, llm: LLMOptions, cache: CallCache, learnt: Learnt, spent: Spent) -> None:
        self.llm, self.cache, self.learnt = llm, cache, learnt
        self.budget = Budget(tokens=llm.budget_tokens, usd=llm.budget_usd, price=llm.price, spent=spent)
        self.health = Health(url=llm.url, key_name=llm.api_key_env, model=llm.model)
        # The port of a local server changes from run to run and says nothing about the model.
        self._endpoint = "local" if is_local(llm.url) else llm.url

    async def from_cache(self, request: Request) -> Reply | None:
        """The reply, where all calls that it takes are in the cache."""

        async def look(messages: list, request: Request, room: int, key: str) -> dict | None:
            stored = self.cache.get(key)
            return stored and {**stored, "cached": True}

        return await self.answer(request, look)

    async def answer(self, request: Request, call: Call) -> Reply | None:
        """The reply, by calls of `call`; None as soon as that has none."""
        llm, messages, room, turns, problem = self.llm, list(request.messages), self.llm.max_tokens, [], None
        longer = again = False
        while True:
            key = self.key(messages, request, room)
            turn = await call(messages, request, room, key)
            if turn is None:
                return None
            turns.append(turn)
            finish, content = turn["finish_reason"], content_of(turn)
            if finish == "length" and not longer:
                longer, room = True, 2 * room
                continue
            found = None if finish in UNANSWERED else extract_json(content)
            problem = None if finish in (*REFUSED, *UNANSWERED, "length") else fault(found, request.schema)
            if problem is None or again:
                break
            again = True
            messages = [
                *messages,
                {"role": "assistant", "content": content},
                {"role": "user", "content": f"That answer does not fit: {problem}. Answer again, with JSON that fits."},
            ]
        tokens_in, tokens_out = (sum(t.get(name, 0) for t in turns) for name in ("tokens_in", "tokens_out"))
        new = [t for t in turns if not t.get("cached") and t["finish_reason"] not in UNANSWERED]
        return Reply(
            key=key,
            content=content,
            finish_reason=finish,
            model=turn["model"],
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            cost_usd=llm.price.of(tokens_in, tokens_out) if llm.price else None,
            calls=len(new),
            cached=all(t.get("cached") for t in turns),
            answer=found,
            problem=problem,
        )

    def keep(self, key: str, response: dict, finish: str | None = None) -> dict:
        """Store a response under its call's key: a chat completion, or what stands for it with its finish reason."""
        if finish is None:
            choice = response["choices"][0]
            finish = "refusal" if choice["message"].get("refusal") else choice.get("finish_reason") or "stop"
        tokens_in, tokens_out = usage_of(response)
        model = response.get("model") or self.llm.model
        value = {"response": response, "finish_reason": finish, "model": model}
        value |= {"tokens_in": tokens_in, "tokens_out": tokens_out}
        self.cache.put(key, value)
        return value

    def unanswered(self, finish: str, why: str) -> dict:
        """What stands for a call that has no answer; it is not stored."""
        return {"response": {"error": {"message": why}}, "finish_reason": finish, "model": self.llm.model}

    def body(self, messages: list, request: Request, room: int, rung: int) -> dict:
        """The JSON that is sent."""
        llm, learnt = self.llm, self.learnt
        body = {"model": llm.model, "temperature": llm.temperature, "seed": llm.seed + request.replicate}
        body = {k: v for k, v in body.items() if k not in learnt.drop}
        body[learnt.limit] = room
        return body | with_form(messages, request.schema, rung)

    def key(self, messages: list, request: Request, room: int) -> str:
        """Under which the call's answer is kept."""
        llm = self.llm
        sampling = {"temperature": llm.temperature, "max_tokens": room, "seed": llm.seed}
        return call_key(self._endpoint, llm.model, messages, request.schema, sampling, request.replicate)


def content_of(turn: dict) -> str:
    """The text of a stored response: the answer, the words of a refusal, or the message of an error."""
    response = turn["response"]
    if "choices" not in response:
        error = response.get("error")
        return str(error.get("message", error) if isinstance(error, dict) else error)
    message = response["choices"][0]["message"]
    return message.get("refusal") or message.get("content") or ""


def usage_of(response: dict) -> tuple[int, int]:
    """Tokens in and out, as the endpoint counts them; zeros where it does not say."""
    usage = response.get("usage") or {}
    return usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0


def is_completion(response: Any) -> bool:
    """Is it a chat completion with a message?"""
    try:
        return isinstance(response["choices"][0]["message"], dict)
    except (LookupError, TypeError):
        return False
