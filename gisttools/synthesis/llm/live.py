"""Makes calls one by one, many under way: each is an HTTP request of its own, in the endpoint's pace."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from functools import partial

import openai

from gisttools.common import EndpointError, with_retries
from gisttools.synthesis.llm.asking import UNANSWERED, Asker, Reply, Request, is_completion, usage_of
from gisttools.synthesis.llm.budget import Pace, most_tokens_in
from gisttools.synthesis.llm.forms import RUNGS

log = logging.getLogger(__name__)


async def answer_live(
    asker: Asker, client: openai.AsyncOpenAI, requests: Sequence[Request], todo: list[int], put: Callable
) -> None:
    """Answer the requests of the numbers `todo`; each reply is `put` with its number. Raises as `LLM.stream` does."""
    calls, pending = LiveCalls(asker), iter(todo)

    async def worker() -> None:
        for i in pending:
            if calls.failed is not None:
                return
            try:
                reply = await calls.answer(client, requests[i])
            except EndpointError as error:  # what the others have under way is paid for: let it arrive
                calls.failed = calls.failed or error
                return
            if calls.failed is None or reply.finish_reason not in UNANSWERED:
                put((i, reply))

    async with asyncio.TaskGroup() as group:
        # More than may call at once: some wait for another attempt meanwhile.
        for _ in range(min(2 * asker.options.concurrency, len(todo))):
            group.create_task(worker())
    if calls.failed is not None:
        raise calls.failed


class LiveCalls:
    """The HTTP requests of one run; made inside its event loop. `failed` is the error that ends the run."""

    def __init__(self, asker: Asker) -> None:
        options = asker.options
        self._asker, self._options, self._learnt = asker, options, asker.learnt
        limits = {"requests_per_minute": options.requests_per_minute, "tokens_per_minute": options.tokens_per_minute}
        self._pace = Pace(options.concurrency, **limits)
        self._first = asyncio.Lock()
        self.failed: EndpointError | None = None

    async def answer(self, client: openai.AsyncOpenAI, request: Request) -> Reply:
        """The reply, by calls where the cache has none. Raises as `LLM.stream` does."""

        async def call(messages: list, request: Request, room: int, key: str) -> dict:
            # Once more, for another process may have asked; but a recording takes nothing from the cache.
            stored = self._asker.cache.get(key) if self._options.mode == "auto" else None
            if stored is not None:
                return {**stored, "cached": True}
            if not self._learnt.settled:  # one request finds out what the endpoint takes, the others wait
                async with self._first:
                    if not self._learnt.settled:
                        return await self._call(client, messages, request, room, key)
            return await self._call(client, messages, request, room, key)

        reply = await self._asker.answer(request, call)
        assert reply is not None  # `call` always has an answer
        return reply

    async def _call(self, client: openai.AsyncOpenAI, messages: list, request: Request, room: int, key: str) -> dict:
        """One call on the best rung that works, stored in the cache. A 400 may mean the form of the request, so lower
        rungs are tried until one has worked."""
        learnt, refusal = self._learnt, None
        rung = learnt.rung
        while rung < len(RUNGS):
            body = self._asker.body(messages, request, room, rung)
            try:
                response = await with_retries(partial(self._attempt, client, body, room), self._asker.health)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if error.code == "content_filter":
                    return self._asker.keep(key, {"error": error.body}, "content_filter")
                refusal = refusal or error
                if learnt.adapt(error.param):
                    continue
                if learnt.settled and rung == learnt.rung:
                    # others are answered: it is this request
                    return self._asker.unanswered("error", f"refused: {error}")
                rung += 1
                continue
            if response is None:
                return self._asker.unanswered("budget", "the budget does not hold the call")
            if isinstance(response, str):
                return self._asker.unanswered("error", response)
            if rung > learnt.rung:
                log.info("%s does not take %s; asking by %s", self._options.url, RUNGS[learnt.rung], RUNGS[rung])
            learnt.rung, learnt.settled = max(rung, learnt.rung), True
            return self._asker.keep(key, response)
        raise EndpointError(
            f"{self._options.url} refuses the request in every form: {refusal}. Check model and parameters."
        )

    async def _attempt(self, client: openai.AsyncOpenAI, body: dict, room: int) -> dict | str | None:
        """One HTTP request, in the endpoint's pace and within the budget: the response; None where the budget does not
        hold it; why it is not tried where the run is ending."""
        if self.failed is not None:
            return str(self.failed)
        most = (most_tokens_in(body["messages"], json.dumps(body.get("response_format"))), room)
        if not await self._asker.budget.reserve(*most):
            return None
        used = (0, 0)
        try:
            started = await self._pace.enter(sum(most))
            try:
                used = most  # until it is known better: a call that was sent may have to be paid
                # Not chat.completions.create, which takes 30 % of the time of a call to look at a body that is right.
                response = _read(await client.post("/chat/completions", body=body, cast_to=str))
                tokens = usage_of(response)
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
            self._asker.budget.settle(most, used)


def _read(answer: str) -> dict:
    """The response's JSON, where it is a chat completion; else an error that is worth another attempt."""
    try:
        response = json.loads(answer)
    except ValueError as error:
        raise openai.OpenAIError(f"no chat completion came ({error}): {answer[:200]!r}") from error
    if is_completion(response):
        return response
    raise openai.OpenAIError(f"no chat completion came: {answer[:200]!r}")
