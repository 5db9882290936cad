"""Turns a request into an answer by one call or several, whatever carries the calls (`live`, `batch`).

At most three calls a request: as asked; once more with more room where the answer was cut at its length; once more with
a word on what was wrong where it does not fit the schema (of a list of texts, where none does). Each is cached by
its own content, so that a killed run goes on in the middle of a request.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TypeGuard

from gisttools.common import EndpointError, Health, same_address
from gisttools.synthesis.llm.answers import (
    BadAnswer,
    cached_of,
    content_of,
    extract_json,
    only_thoughts,
    said,
    usage_of,
)
from gisttools.synthesis.llm.budget import Budget, Spent
from gisttools.synthesis.llm.cache import CallCache, call_key
from gisttools.synthesis.llm.forms import RUNGS, in_words, unfit, with_form
from gisttools.synthesis.llm.options import LLMOptions

log = logging.getLogger(__name__)

REFUSED = ("refusal", "content_filter")
UNANSWERED = ("error", "budget")
COUNTS = ("tokens_in", "tokens_out", "tokens_cached")
_TOKENS_AT_MOST = 10**9  # of a call; more is no count, but what an earlier version took for one
_THOUGHTS_ENOUGH = 3  # first answers that are nothing but thoughts, after which no more are paid for
# what an endpoint may refuse: by its name in a message, the most dispensable first
_OPTIONAL = ("seed", "temperature")
_LENGTHS = ("max_tokens", "max_completion_tokens")
_FORMS = ("response_format", "json_schema", "json_object")
_OF_THINKING = re.compile(r"reasoning|thinking", re.IGNORECASE)
_NAMED = re.compile(rf"(?<![A-Za-z0-9_])({'|'.join((*_OPTIONAL, *_LENGTHS, *_FORMS))})(?![A-Za-z0-9_])")


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
        tokens_cached: of those in, what the endpoint had in its cache of prompts.
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
    tokens_cached: int = 0
    cost_usd: float | None = None
    calls: int = 0
    cached: bool = False
    answer: dict | None = None
    problem: str | None = None


Call = Callable[[list, Request, int, str], Awaitable[dict | None]]  # messages, request, room, key


class Learnt:
    """What an endpoint taught: the rung of `RUNGS` that it takes, what its longest answer is called, and parameters
    that it refuses.

    Args:
        leave_out: parameters that are never sent.
    """

    def __init__(self, leave_out: Collection[str] = ()) -> None:
        self.rung, self.settled, self.limit = 0, False, "max_tokens"
        self._heeded = False
        self.drop: set[str] = set(leave_out)
        if "response_format" in self.drop:
            self.rung = len(RUNGS) - 1

    @property
    def form(self) -> dict:
        """What was learnt, as JSON: two calls of one form are asked in the same way."""
        return {"rung": self.rung, "limit": self.limit, "drop": sorted(self.drop)}

    def in_words(self, before: dict) -> str:
        """What is asked otherwise than before; empty where nothing is."""
        found = [f"without {name}" for name in sorted(self.drop - set(before["drop"]))]
        found += ["with max_completion_tokens for max_tokens"] if self.limit != before["limit"] else []
        return ", ".join(found + ([f"by {RUNGS[self.rung]}"] if self.rung > before["rung"] else []))

    def take(self, form: dict) -> None:
        """Take over the form of calls that an earlier run sent; it had found out that the endpoint takes it."""
        self.begin_with(form)
        self.settled = True

    def begin_with(self, form: dict) -> None:
        """Ask as an earlier run did, until something is refused."""
        self.rung, self.limit = max(self.rung, form["rung"]), form["limit"]
        self.drop |= set(form["drop"])

    def back_to(self, form: dict) -> None:
        """Forget what was tried in vain."""
        self.rung, self.limit, self.drop = form["rung"], form["limit"], set(form["drop"])

    def lower(self) -> None:
        """Go down a rung, where there is one, after a batch in which all calls were refused."""
        self.rung = min(self.rung + 1, len(RUNGS) - 1)

    def passed_over(self, holds_json: bool) -> bool:
        """Note whether an answer, asked for by `response_format`, holds JSON. True where that is passed over, for the
        first answer holds none: the prompt's words ask for it from now on."""
        self._heeded = self._heeded or holds_json
        if self._heeded or self.rung == len(RUNGS) - 1:
            return False
        self.rung = len(RUNGS) - 1
        return True

    def adapt(self, param: object, words: str = "") -> bool:
        """Learn from a refusal that names a parameter, in its field or in its words; True where the request is worth
        repeating."""
        named = [param] if isinstance(param, str) and _NAMED.fullmatch(param) else _NAMED.findall(words)
        return any(self._without(name) for name in dict.fromkeys(named))

    def give_way(self) -> bool:
        """Leave out what is optional, one thing after the other, where a refusal names nothing; False where nothing is
        left."""
        return any(self._without(name) for name in (*_OPTIONAL, self.limit))

    def _without(self, name: str) -> bool:
        if name in _OPTIONAL and name not in self.drop:
            self.drop.add(name)
            return True
        if name == "max_tokens" == self.limit and not (self.settled or name in self.drop):
            self.limit = "max_completion_tokens"
            return True
        return False


@dataclass(kw_only=True)
class Seen:
    """What an `LLM` has seen of its endpoint, over all its runs.

    Attributes:
        endpoint: what its answers are kept under: the address, or a name for what has another address each time.
        job, start: whose budget it is, and a name for this start of it; see `LLM`.
        learnt, spent, health: what it taught, what its calls cost, how they went.
        thoughts, answers: replies that were nothing but thoughts, and others; cached ones too.
        failed: why one of several endpoints is not asked any more.
    """

    endpoint: str
    job: str | None
    learnt: Learnt
    spent: Spent
    health: Health
    thoughts: int = 0
    answers: int = 0
    failed: EndpointError | None = None
    start: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def of(cls, options: LLMOptions, endpoint: str | None = None, job: str | None = None) -> Seen:
        """Of an endpoint that was not asked yet."""
        health = Health(url=options.url, key_name=options.key_variable, model=options.model)
        name = endpoint or same_address(options.url)
        return cls(endpoint=name, job=job, learnt=Learnt(options.leave_out), spent=Spent(), health=health)


@dataclass(frozen=True)
class _JobLedger:
    """The ledger of a job in the file of answers."""

    cache: CallCache
    job: str
    start: str

    def together(self) -> AbstractContextManager[None]:
        return self.cache.together(durable=True)

    def others(self) -> tuple[int, float]:
        return self.cache.spent_by_others(self.job, self.start)

    def held_by_others(self) -> tuple[int, float]:
        return self.cache.held_by_others(self.job, self.start)

    def write(self, spent: tuple[int, float], held: tuple[int, float]) -> None:
        self.cache.note_spent(self.job, self.start, *spent, *held)

    def write_batch(self, token: str, held: tuple[int, float]) -> None:
        self.cache.note_spent(self.job, f"batch|{token}", 0, 0.0, *held)

    def strike_out_batch(self, token: str) -> bool:
        return self.cache.strike_out(self.job, f"batch|{token}")


class Asker:
    """What the calls of one run of an `LLM` share, and how they follow each other; used inside one event loop.

    Attributes:
        options, cache, learnt: how the endpoint is asked, where answers are kept, what the endpoint taught.
        budget, health: what may be spent, and how the endpoint's calls went.
        seen: all that the `LLM` has seen of it.
    """

    def __init__(self, options: LLMOptions, cache: CallCache, seen: Seen) -> None:
        self.options, self.cache, self.learnt, self.health = options, cache, seen.learnt, seen.health
        self.budget = Budget(
            tokens=options.budget_tokens,
            usd=options.budget_usd,
            price=options.price,
            spent=seen.spent,
            ledger=_JobLedger(cache, seen.job, seen.start) if seen.job else None,
        )
        self.seen = seen
        if not self.learnt.settled and is_form(form := cache.get(self._memory)):
            self.learnt.begin_with(form)

    @property
    def _memory(self) -> str:
        """Under which the cache keeps what the endpoint taught."""
        return f"learnt|{self.seen.endpoint}|{self.options.model}"

    def remember(self) -> None:
        """Keep what the endpoint taught for later runs."""
        self.cache.put(self._memory, self.learnt.form)

    async def from_cache(self, request: Request) -> Reply | None:
        """The reply, where all calls that it takes are in the cache."""

        async def look(messages: list, request: Request, room: int, key: str) -> dict | None:
            stored = self.stored(key)
            return stored and {**stored, "cached": True}

        return await self.answer(request, look)

    def stored(self, key: str) -> dict | None:
        """What the cache holds under a call's key, where that can be an answer; it says that the endpoint has
        answered."""
        value = self.cache.get(key)
        if value is None or not is_stored(value):
            return None
        self.health.answered = True
        return {**value, **{name: 0 for name in COUNTS if value.get(name, 0) > _TOKENS_AT_MOST}}

    async def answer(self, request: Request, call: Call) -> Reply | None:
        """The reply, by calls of `call`; None as soon as that has none."""
        messages, room, turns = list(request.messages), self.options.max_tokens, []
        longer = again = False
        problem: str | None
        while True:
            key = self.key(messages, request, room)
            turn = await call(messages, request, room, key)
            if turn is None:
                return None
            turns.append(turn)
            finish, content = str(turn["finish_reason"]), content_of(turn)
            if finish == "length" and not longer:
                longer, room = True, 2 * room
                continue
            found = None if finish in UNANSWERED else extract_json(content)
            if thinks := finish not in (*REFUSED, *UNANSWERED) and only_thoughts(turn):
                problem = "it holds thoughts and no answer"
                break  # asked again it would think again
            if finish not in (*REFUSED, *UNANSWERED, "length"):
                self._note_form(turn, found)
            problem = None if finish in (*REFUSED, *UNANSWERED, "length") else unfit(found, request.schema)
            if problem is None or again:
                break
            again = True
            messages = [
                *messages,
                {"role": "assistant", "content": content},
                {"role": "user", "content": f"That answer does not fit: {problem}. {_again(found, request.schema)}"},
            ]
        self._note(finish, thinks)
        tokens_in, tokens_out, tokens_cached = (sum(t.get(name, 0) for t in turns) for name in COUNTS)
        price = self.options.price
        new = [t for t in turns if not t.get("cached") and t["finish_reason"] not in UNANSWERED]
        return Reply(
            key=key,
            content=content,
            finish_reason=finish,
            model=turn["model"],
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            tokens_cached=tokens_cached,
            cost_usd=price.of(tokens_in, tokens_out, tokens_cached) if price else None,
            calls=len(new),
            cached=all(t.get("cached") for t in turns),
            answer=found,
            problem=problem,
        )

    def _note_form(self, turn: dict, found: dict | None) -> None:
        """Learn from a first answer whether the endpoint keeps to the form; one in the cache may be of another form."""
        if not turn.get("cached") and self.learnt.passed_over(found is not None):
            log.warning(
                "%s passes over response_format: an answer came that holds no JSON. The prompt's own words ask for it.",
                self.options.url,
            )

    def _note(self, finish: str, thinks: bool) -> None:
        """Count a reply. Raises EndpointError where the first ones are nothing but thoughts."""
        seen = self.seen
        if finish in UNANSWERED:
            return
        seen.thoughts, seen.answers = seen.thoughts + thinks, seen.answers + (not thinks)
        if seen.thoughts >= _THOUGHTS_ENOUGH and not seen.answers:
            raise EndpointError(
                f"{self.options.model!r} at {self.options.url} only thinks: the first {seen.thoughts} answers hold "
                f"thoughts and nothing else, within {self.options.max_tokens} tokens and twice as many. Raise "
                "max_tokens (to 4000, say), or let it think less (reasoning_effort), or switch thinking off at the "
                "server, or ask a model that does not think."
            )

    def keep(self, key: str, response: dict, finish: str | None = None, *, most: tuple[int, int] | None = None) -> dict:
        """Store a response under its call's key: a chat completion that is `readable`, or what stands for it with its
        finish reason. `most`: tokens in and out that the call was to take at most."""
        model = self.options.model
        if finish is None:
            told = said(response)
            model = told.model or model
            finish = "refusal" if told.refusal else told.finish or "stop"
        tokens_in, tokens_out = usage_of(response, most)
        value: dict[str, object] = {"response": response, "finish_reason": finish, "model": model}
        value |= {"tokens_in": tokens_in, "tokens_out": tokens_out}
        if cached := self.cached_of(response, tokens_in):
            value["tokens_cached"] = cached
        return self.cache.put(key, value)

    def cached_of(self, response: dict, tokens_in: int) -> int:
        """Tokens in that cost less, for the endpoint had them in its cache; none of batches, which have one price."""
        return cached_of(response, tokens_in) if self.options.transport == "live" else 0

    def effort_refused(self, param: object, words: str) -> str | None:
        """The message for a refusal of `reasoning_effort`; None where that was not sent, or is not what is refused."""
        effort = self.options.reasoning_effort
        if effort is None or not _OF_THINKING.search(f"{param or ''} {words}"):
            return None
        return (
            f"{self.options.url} does not take reasoning_effort {effort!r} for {self.options.model!r} ({words}). Leave "
            "it out (null), or give one that the model takes."
        )

    def unanswered(self, finish: str, why: str) -> dict:
        """What stands for a call that has no answer; it is not stored."""
        return {"response": {"error": {"message": why}}, "finish_reason": finish, "model": self.options.model}

    def body(self, messages: list, request: Request, room: int, rung: int) -> dict:
        """The JSON that is sent."""
        options, learnt = self.options, self.learnt
        body = {"model": options.model, "temperature": options.temperature, "seed": options.seed + request.replicate}
        body = {k: v for k, v in body.items() if k not in learnt.drop}
        if options.reasoning_effort is not None:
            body["reasoning_effort"] = options.reasoning_effort
        if "max_tokens" not in learnt.drop:
            body[learnt.limit] = room
        return body | with_form(messages, request.schema, rung)

    def key(self, messages: list, request: Request, room: int) -> str:
        """Under which the call's answer is kept."""
        options = self.options
        sampling: dict[str, object] = {"temperature": options.temperature, "max_tokens": room, "seed": options.seed}
        if options.reasoning_effort is not None:  # keys of before there was one stay
            sampling["reasoning_effort"] = options.reasoning_effort
        return call_key(self.seen.endpoint, options.model, messages, request.schema, sampling, request.replicate)


def _again(found: dict | None, schema: dict) -> str:
    """What is asked after an answer that does not fit; the schema in words, where no JSON came at all."""
    return "Answer again, with JSON that fits." if found else f"Answer again. {in_words(schema)}"


def is_form(value: object) -> TypeGuard[dict]:
    """Is it what `Learnt.form` gives?"""
    return (
        isinstance(value, dict)
        and value.get("rung") in range(len(RUNGS))
        and value.get("limit") in _LENGTHS
        and isinstance(value.get("drop"), list)
        and all(isinstance(name, str) for name in value["drop"])
    )


def is_stored(value: object) -> bool:
    """Is it what `Asker.keep` stores? Else a cache was damaged, or another version wrote it, and the call is made
    anew."""
    if not isinstance(value, dict) or not isinstance(value.get("response"), dict):
        return False
    words = all(isinstance(value.get(name), str) for name in ("finish_reason", "model"))
    numbers = all(isinstance(value.get(name, 0), int) and value.get(name, 0) >= 0 for name in COUNTS)
    if not (words and numbers):
        return False
    if value["finish_reason"] == "content_filter":
        return True
    try:
        return bool(said(value["response"]))
    except BadAnswer:
        return False
