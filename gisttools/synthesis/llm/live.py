"""Makes calls one by one, many under way: each is an HTTP request of its own, in the endpoint's pace."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from functools import partial

import openai

from gisttools.common import EndpointError, busy, error_words, with_retries
from gisttools.synthesis.llm.answers import BadAnswer, readable, shown, usage_of
from gisttools.synthesis.llm.asking import UNANSWERED, Asker, Learnt, Reply, Request
from gisttools.synthesis.llm.budget import Pace, certain, most_tokens_in
from gisttools.synthesis.llm.forms import RUNGS

log = logging.getLogger(__name__)
_LOOK_AGAIN = 0.2  # seconds
_REFUSED = 3  # requests that are refused in every form, before it is the endpoint and not the request


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
            except Exception as error:  # noqa: BLE001 (what the others have under way is paid for: let it arrive)
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


class _Form:
    """The form of one request while it is looked for: `rung`, what was learnt before, and what the endpoint said
    against other forms."""

    def __init__(self, learnt: Learnt) -> None:
        self._learnt, self.before = learnt, learnt.form
        self.rung, self.settled, self.refusals = learnt.rung, learnt.settled, list[str]()

    @property
    def last(self) -> str:
        """The last refusal; of another call, where this one had none."""
        return self.refusals[-1] if self.refusals else "as another call found out"

    def another(self, error: openai.APIStatusError) -> bool:
        """Is there another form to try after this refusal? What was left out in vain is sent again where there is
        none."""
        learnt = self._learnt
        words = error_words(error)
        self.refusals.append(words)
        if learnt.adapt(error.param, words):
            return True
        self.settled = learnt.settled and self.rung == learnt.rung
        if self.settled:
            return False
        if self.rung + 1 < len(RUNGS):
            self.rung += 1
            return True
        if not learnt.settled and learnt.give_way():
            self.rung = learnt.rung
            return True
        learnt.back_to(self.before)
        return False


class LiveCalls:
    """The HTTP requests of one run; made inside its event loop. `failed` is the error that ends the run."""

    def __init__(self, asker: Asker) -> None:
        options = asker.options
        self._asker, self._options, self._learnt = asker, options, asker.learnt
        limits = {"requests_per_minute": options.requests_per_minute, "tokens_per_minute": options.tokens_per_minute}
        self._pace = Pace(options.concurrency, **limits)
        self._first = asyncio.Lock()
        self.failed: Exception | None = None
        self._warned = False

    async def answer(self, client: openai.AsyncOpenAI, request: Request) -> Reply:
        """The reply, by calls where the cache has none. Raises as `LLM.stream` does."""

        async def call(messages: list, request: Request, room: int, key: str) -> dict:
            if self._options.mode != "auto":  # a recording takes nothing from the cache
                return await ask(messages, request, room, key)
            while True:  # another process may ask the same: what it gets will do
                claimed = self._asker.cache.take(key)
                stored = self._asker.stored(key)
                if claimed and stored is None:
                    break
                if claimed:
                    self._asker.cache.release(key)
                if stored is not None:
                    return {**stored, "cached": True}
                await asyncio.sleep(_LOOK_AGAIN)
            try:
                return await ask(messages, request, room, key)
            finally:
                self._asker.cache.release(key)

        async def ask(messages: list, request: Request, room: int, key: str) -> dict:
            if not self._learnt.settled:  # one request finds out what the endpoint takes, the others wait
                async with self._first:
                    if not self._learnt.settled:
                        return await self._call(client, messages, request, room, key)
            return await self._call(client, messages, request, room, key)

        reply = await self._asker.answer(request, call)
        assert reply is not None  # `call` always has an answer
        return reply

    async def _call(self, client: openai.AsyncOpenAI, messages: list, request: Request, room: int, key: str) -> dict:
        """One call on the best rung that works, stored in the cache. A 400 may mean the form of the request: what it
        names is left out, else lower rungs are tried, else what is optional is left out, until one has worked."""
        form = _Form(self._learnt)
        while True:
            body = self._asker.body(messages, request, room, form.rung)
            most = (most_tokens_in(body["messages"], json.dumps(body.get("response_format"))), room)
            try:
                response = await with_retries(partial(self._attempt, client, body, most), self._asker.health)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if error.code == "content_filter":
                    return self._asker.keep(key, {"error": shown(error.body)}, "content_filter")
                if why := self._asker.effort_refused(error.param, error_words(error)):
                    raise EndpointError(why) from error
                if form.another(error):
                    continue
                return self._refused(form)
            if response is None:
                return self._asker.unanswered("budget", "the budget does not hold the call")
            if isinstance(response, str):
                return self._asker.unanswered("error", response)
            self._learn(form)
            return self._asker.keep(key, response, most=most)

    def _learn(self, form: _Form) -> None:
        """A call was answered in this form."""
        learnt, new = self._learnt, not self._learnt.settled
        learnt.rung, learnt.settled = max(form.rung, learnt.rung), True
        if otherwise := learnt.in_words(form.before):
            log.warning("%s does not take everything (%s); asking %s", self._options.url, form.last, otherwise)
        if new or otherwise:
            self._asker.remember()

    def _refused(self, form: _Form) -> dict:
        """What stands for a request that is refused. Raises EndpointError where three in a row are, in every form, and
        none was ever answered."""
        if form.settled:  # others are answered: it is this request
            return self._asker.unanswered("error", f"refused: {form.refusals[-1]}")
        told = " / ".join(dict.fromkeys([form.refusals[0], form.refusals[-1]]))
        health = self._asker.health
        health.refused_in_a_row += 1
        if not health.answered and health.refused_in_a_row >= _REFUSED:
            raise EndpointError(
                f"{self._options.url} refuses the requests in every form: {told}. Check model and parameters; what is "
                "not to be sent goes into leave_out."
            )
        return self._asker.unanswered("error", f"refused in every form: {told}")

    async def _attempt(self, client: openai.AsyncOpenAI, body: dict, most: tuple[int, int]) -> dict | str | None:
        """One HTTP request of so many tokens in and out at most, in the endpoint's pace and within the budget: the
        response; None where the budget does not hold it; why it is not tried where the run is ending."""
        if self.failed is not None:
            return str(self.failed)
        if not await self._asker.budget.reserve(*most):
            return None
        used, cached = (0, 0), 0
        try:
            started = await self._pace.enter(sum(most))
            try:
                if self.failed is not None:  # meanwhile
                    return str(self.failed)
                used = most  # until it is known better: a call that was sent may have to be paid
                # Not chat.completions.create, which takes 30 % of the time of a call to look at a body that is right.
                async with asyncio.timeout(self._options.timeout):  # the client's own starts anew with every byte
                    response = _read(await client.post("/chat/completions", body=body, cast_to=str))
                used = self._told(usage_of(response, most), most)
                cached = self._asker.cached_of(response, usage_of(response, most)[0])
                self._pace.went_well()
                return response
            except TimeoutError as error:
                raise openai.OpenAIError(f"no whole answer within {self._options.timeout:g} s") from error
            except openai.APIStatusError as error:
                used = (0, 0)
                if busy(error):
                    self._pace.slow_down(started)
                raise
            except openai.APIConnectionError as error:
                if type(error.__cause__).__name__ in ("ConnectError", "ConnectTimeout"):
                    used = (0, 0)
                raise
            finally:
                self._pace.leave(sum(most) - sum(used))
        finally:
            self._asker.budget.settle(most, used, cached)

    def _told(self, tokens: tuple[int, int], most: tuple[int, int]) -> tuple[int, int]:
        """What counts as used: what the endpoint says, or the most where it says nothing that can be."""
        if tokens[1] > most[1] and not self._warned:
            self._warned = True
            log.warning(
                "%s counts %s tokens in an answer that was to have %s at most: it does not keep to max_tokens, or "
                "thinks beyond it. They are counted as it says.", self._options.url, f"{tokens[1]:,}", f"{most[1]:,}"
            )  # fmt: skip
        return certain(tokens, most)


def _read(answer: str) -> dict:
    """The response as it came, where it is a chat completion; else an error that is worth another attempt."""
    try:
        return readable(json.loads(answer))
    except BadAnswer as error:
        raise openai.OpenAIError(str(error)) from error
    except (ValueError, RecursionError) as error:
        raise openai.OpenAIError(f"no chat completion came ({type(error).__name__}): {shown(answer)}") from error
