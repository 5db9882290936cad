"""Turns a request into an answer by one call or several, whatever carries the calls (`live`, `batch`).

At most three calls a request: as asked; once more with more room where the answer was cut at its length; once more with
a word on what was wrong where it does not fit the schema. Each is cached by its own content, so that a killed run goes
on in the middle of a request.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from gisttools.common import Health, is_local
from gisttools.synthesis.llm.budget import Budget, Spent
from gisttools.synthesis.llm.cache import CallCache, call_key
from gisttools.synthesis.llm.forms import RUNGS, extract_json, fault, with_form
from gisttools.synthesis.llm.options import LLMOptions

log = logging.getLogger(__name__)

REFUSED = ("refusal", "content_filter")
UNANSWERED = ("error", "budget")
_DROPPABLE = ("temperature", "seed")  # reasoning models refuse them


@dataclass(frozen=True, kw_only=True)
class Request:
    """One question. `replicate` makes requests differ that are otherwise equal; it moves the seed that is sent."""

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
        options, cache, learnt: how the endpoint is asked, where answers are kept, what the endpoint taught.
        budget, health: what may be spent, and how the endpoint's calls went.
    """

    def __init__(self, options: LLMOptions, cache: CallCache, learnt: Learnt, spent: Spent) -> None:
        self.options, self.cache, self.learnt = options, cache, learnt
        self.budget = Budget(tokens=options.budget_tokens, usd=options.budget_usd, price=options.price, spent=spent)
        self.health = Health(url=options.url, key_name=options.key_variable, model=options.model)
        # The port of a local server changes from run to run and says nothing about the model.
        self._endpoint = "local" if is_local(options.url) else options.url

    async def from_cache(self, request: Request) -> Reply | None:
        """The reply, where all calls that it takes are in the cache."""

        async def look(messages: list, request: Request, room: int, key: str) -> dict | None:
            stored = self.cache.get(key)
            return stored and {**stored, "cached": True}

        return await self.answer(request, look)

    async def answer(self, request: Request, call: Call) -> Reply | None:
        """The reply, by calls of `call`; None as soon as that has none."""
        messages, room, turns = list(request.messages), self.options.max_tokens, []
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
        price = self.options.price
        new = [t for t in turns if not t.get("cached") and t["finish_reason"] not in UNANSWERED]
        return Reply(
            key=key,
            content=content,
            finish_reason=finish,
            model=turn["model"],
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            cost_usd=price.of(tokens_in, tokens_out) if price else None,
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
        model = response.get("model") or self.options.model
        value = {"response": response, "finish_reason": finish, "model": model}
        value |= {"tokens_in": tokens_in, "tokens_out": tokens_out}
        self.cache.put(key, value)
        return value

    def unanswered(self, finish: str, why: str) -> dict:
        """What stands for a call that has no answer; it is not stored."""
        return {"response": {"error": {"message": why}}, "finish_reason": finish, "model": self.options.model}

    def body(self, messages: list, request: Request, room: int, rung: int) -> dict:
        """The JSON that is sent."""
        options, learnt = self.options, self.learnt
        body = {"model": options.model, "temperature": options.temperature, "seed": options.seed + request.replicate}
        body = {k: v for k, v in body.items() if k not in learnt.drop}
        body[learnt.limit] = room
        return body | with_form(messages, request.schema, rung)

    def key(self, messages: list, request: Request, room: int) -> str:
        """Under which the call's answer is kept."""
        options = self.options
        sampling = {"temperature": options.temperature, "max_tokens": room, "seed": options.seed}
        return call_key(self._endpoint, options.model, messages, request.schema, sampling, request.replicate)


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


def is_completion(response: object) -> TypeGuard[dict]:
    """Is it a chat completion with a message?"""
    try:
        return isinstance(response, dict) and isinstance(response["choices"][0]["message"], dict)
    except (LookupError, TypeError):
        return False
