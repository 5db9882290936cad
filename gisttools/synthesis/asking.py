"""The calls of one run: how a request becomes an answer, whatever carries the calls (`live`, `batches`).

At most three calls a request: as asked; once more with more room where the answer was cut at its length; once more with
a word on what was wrong where it does not fit the schema. Each is cached by its own content, so that a killed run goes
on in the middle of a request.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from gisttools.calls import is_local
from gisttools.retry import Health
from gisttools.synthesis.budget import Budget
from gisttools.synthesis.cache import CallCache, call_key
from gisttools.synthesis.forms import RUNGS, fault, with_form

if TYPE_CHECKING:
    from gisttools.synthesis.llm import LLM, Reply, Request

log = logging.getLogger(__name__)

REFUSED = ("refusal", "content_filter")
UNANSWERED = ("error", "budget")
_DROPPABLE = ("temperature", "seed")  # reasoning models refuse them
Call = Callable[[list, "Request", int, str], Awaitable[dict | None]]  # messages, request, room, key


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
        llm, cache, learnt: whose run it is, where answers are kept, what the endpoint taught.
        budget, health: what may be spent, and how the endpoint's calls went.
    """

    def __init__(self, llm: LLM, cache: CallCache) -> None:
        self.llm, self.cache, self.learnt = llm, cache, llm.learnt
        self.budget = Budget(tokens=llm.budget_tokens, usd=llm.budget_usd, price=llm.price, spent=llm.spent)
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
        from gisttools.synthesis.llm import Reply

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
            problem = None if finish in (*REFUSED, *UNANSWERED, "length") else fault(content, request.schema)
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
