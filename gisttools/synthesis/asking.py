"""The calls of one run: how a request becomes an answer, from the cache or from the endpoint.

At most three calls a request: as asked; once more with more room where the answer was cut at its length; once more with
a word on what was wrong where it does not fit the schema. Each is cached by its own content, so that a killed run goes
on in the middle of a request.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import openai

from gisttools.calls import is_local
from gisttools.errors import EndpointError
from gisttools.retry import Health, with_retries
from gisttools.synthesis.budget import Budget, most_tokens_in
from gisttools.synthesis.cache import CallCache, call_key
from gisttools.synthesis.forms import RUNGS, fault, with_form
from gisttools.synthesis.pace import Pace

if TYPE_CHECKING:
    from gisttools.synthesis.llm import LLM, Reply, Request

log = logging.getLogger(__name__)

REFUSED = ("refusal", "content_filter")
UNANSWERED = ("error", "budget")
_DROPPABLE = ("temperature", "seed")  # reasoning models refuse them
_Call = Callable[[list, "Request", int, str], Awaitable[dict | None]]


class Learnt:
    """What an endpoint taught: the rung of `RUNGS` that it takes, and parameters that it refuses."""

    def __init__(self) -> None:
        self.rung, self.settled, self.limit = 0, False, "max_tokens"
        self.drop: set[str] = set()

    def adapt(self, error: openai.APIStatusError) -> bool:
        """Learn from a refusal that names a parameter; True where the request is worth repeating."""
        named = error.param
        if named == "max_tokens" and self.limit == "max_tokens":
            self.limit = "max_completion_tokens"
            return True
        if named in _DROPPABLE and named not in self.drop:
            log.warning("the endpoint refuses %s; asking without it", named)
            self.drop.add(named)
            return True
        return False


class Asker:
    """Answers requests of one `LLM`; made inside the event loop of a run, and used in it alone."""

    def __init__(self, llm: LLM, cache: CallCache) -> None:
        self._llm, self._cache, self._learnt = llm, cache, llm.learnt
        self._budget = Budget(tokens=llm.budget_tokens, usd=llm.budget_usd, price=llm.price, spent=llm.spent)
        self._pace = Pace(
            llm.concurrency, requests_per_minute=llm.requests_per_minute, tokens_per_minute=llm.tokens_per_minute
        )
        self._health = Health(url=llm.url, key_name=llm.api_key_env, model=llm.model)
        self._first = asyncio.Lock()
        # The port of a local server changes from run to run and says nothing about the model.
        self._endpoint = "local" if is_local(llm.url) else llm.url
        self.failed: EndpointError | None = None

    async def from_cache(self, request: Request) -> Reply | None:
        """The reply, where all calls that it takes are in the cache."""

        async def look(messages: list, request: Request, room: int, key: str) -> dict | None:
            stored = self._cache.get(key)
            return stored and {**stored, "cached": True}

        return await self._answer(request, look)

    async def from_endpoint(self, client: openai.AsyncOpenAI, request: Request) -> Reply:
        """The reply, by calls where the cache has none. Raises as `LLM.stream` does."""

        async def call(messages: list, request: Request, room: int, key: str) -> dict:
            # Once more, for another process may have asked; but a recording takes nothing from the cache.
            stored = self._cache.get(key) if self._llm.mode == "auto" else None
            if stored is not None:
                return {**stored, "cached": True}
            if not self._learnt.settled:  # one request finds out what the endpoint takes, the others wait
                async with self._first:
                    if not self._learnt.settled:
                        return await self._call(client, messages, request, room, key)
            return await self._call(client, messages, request, room, key)

        return await self._answer(request, call)

    async def _answer(self, request: Request, call: _Call) -> Reply | None:
        from gisttools.synthesis.llm import Reply

        llm, messages, room, turns, problem = self._llm, list(request.messages), self._llm.max_tokens, [], None
        longer = again = False
        while True:
            key = self._key(messages, request, room)
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

    async def _call(self, client: openai.AsyncOpenAI, messages: list, request: Request, room: int, key: str) -> dict:
        """One call on the best rung that works, stored in the cache. A 400 may mean the form of the request, so lower
        rungs are tried until one has worked."""
        learnt, refusal = self._learnt, None
        rung = learnt.rung
        while rung < len(RUNGS):
            body = self._body(messages, request, room, rung)
            try:
                response = await with_retries(lambda body=body: self._attempt(client, body, room), self._health)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if error.code == "content_filter":
                    return self._keep(key, {"error": error.body}, "content_filter")
                refusal = refusal or error
                if learnt.adapt(error):
                    continue
                if learnt.settled and rung == learnt.rung:
                    return self._unanswered("error", f"refused: {error}")  # others are answered: it is this request
                rung += 1
                continue
            if response is None:
                return self._unanswered("budget", "the budget does not hold the call")
            if isinstance(response, str):
                return self._unanswered("error", response)
            if rung > learnt.rung:
                log.info("%s does not take %s; asking by %s", self._llm.url, RUNGS[learnt.rung], RUNGS[rung])
            learnt.rung, learnt.settled = max(rung, learnt.rung), True
            choice = response["choices"][0]
            finish = "refusal" if choice["message"].get("refusal") else choice.get("finish_reason") or "stop"
            return self._keep(key, response, finish)
        raise EndpointError(
            f"{self._llm.url} refuses the request in every form: {refusal}. Check model and parameters."
        )

    async def _attempt(self, client: openai.AsyncOpenAI, body: dict, room: int) -> dict | str | None:
        """One HTTP request, in the endpoint's pace and within the budget: the response; None where the budget does not
        hold it; why it is not tried where the run is ending."""
        if self.failed is not None:
            return str(self.failed)
        most = (most_tokens_in(body["messages"], json.dumps(body.get("response_format"))), room)
        if not await self._budget.reserve(*most):
            return None
        used = (0, 0)
        try:
            started = await self._pace.enter(sum(most))
            try:
                used = most  # until it is known better: a call that was sent may have to be paid
                # Not chat.completions.create, which takes 30 % of the time of a call to look at a body that is right.
                response = _read(await client.post("/chat/completions", body=body, cast_to=str))
                tokens = _usage(response)
                used = tokens if any(tokens) else most
                self._pace.went_well()
                return response
            except openai.APIStatusError as error:
                used = (0, 0)
                if error.status_code == 429:
                    self._pace.slow_down(started)
                raise
            except openai.APIConnectionError as error:
                if type(error.__cause__).__name__ in ("ConnectError", "ConnectTimeout"):
                    used = (0, 0)
                raise
            finally:
                self._pace.leave(sum(most) - sum(used))
        finally:
            self._budget.settle(most, used)

    def _keep(self, key: str, response: dict, finish: str) -> dict:
        tokens_in, tokens_out = _usage(response)
        model = response.get("model") or self._llm.model
        value = {"response": response, "finish_reason": finish, "model": model}
        value |= {"tokens_in": tokens_in, "tokens_out": tokens_out}
        self._cache.put(key, value)
        return value

    def _unanswered(self, finish: str, why: str) -> dict:
        return {"response": {"error": {"message": why}}, "finish_reason": finish, "model": self._llm.model}

    def _body(self, messages: list, request: Request, room: int, rung: int) -> dict:
        llm, learnt = self._llm, self._learnt
        body = {"model": llm.model, "temperature": llm.temperature, "seed": llm.seed + request.replicate}
        body = {k: v for k, v in body.items() if k not in learnt.drop}
        body[learnt.limit] = room
        return body | with_form(messages, request.schema, rung)

    def _key(self, messages: list, request: Request, room: int) -> str:
        llm = self._llm
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


def _usage(response: dict) -> tuple[int, int]:
    usage = response.get("usage") or {}
    return usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0


def _read(answer: str) -> dict:
    """The response's JSON, where it is a chat completion; else an error that is worth another attempt."""
    try:
        response = json.loads(answer)
        if isinstance(response["choices"][0]["message"], dict):
            return response
        why = "no message"
    except (ValueError, LookupError, TypeError) as error:
        why = f"{type(error).__name__}: {error}"
    raise openai.OpenAIError(f"no chat completion came ({why}): {answer[:200]!r}")
