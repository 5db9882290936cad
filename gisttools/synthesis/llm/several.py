"""Asks several endpoints at once: each request goes to one by its content, and to another where that one fails."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

import openai

from gisttools.common import EndpointError, open_client, same_address
from gisttools.synthesis.llm.asking import UNANSWERED, Asker, Reply, Request
from gisttools.synthesis.llm.live import LiveCalls
from gisttools.synthesis.llm.options import LLMOptions

log = logging.getLogger(__name__)


def order_of(request: Request, options: Sequence[LLMOptions], weights: Sequence[float]) -> list[int]:
    """The endpoints in the order in which a request is offered to them: the first by their weights.

    By weighted rendezvous hashing: another start offers it alike, and without one of them, or with one more, only the
    requests that it had, or gets, are offered to others (Schindelhauer and Schomaker 2005).
    """
    if len(options) == 1:
        return [0]

    def distance(place: int) -> float:
        asked = (same_address(options[place].base_url), options[place].model, request.messages, request.replicate)
        drawn = int.from_bytes(hashlib.blake2b(repr(asked).encode("utf-8", "replace"), digest_size=7).digest())
        return -math.log((drawn + 1) / (1 << 56)) / weights[place]

    return sorted(range(len(options)), key=distance)


async def from_caches(askers: Sequence[Asker], order: Sequence[int], request: Request) -> Reply | None:
    """The reply that one of them has in the cache, the first in order.

    Raises:
        EndpointError: the only one has given nothing but thoughts; one of several is passed over.
    """
    for place in order:
        try:
            reply = await askers[place].from_cache(request)
        except EndpointError:
            if len(askers) == 1:
                raise
            continue
        if reply is not None:
            return reply
    return None


class _Several:
    """The endpoints of one run, each with its calls, its client, and a gate for those who wait for it."""

    def __init__(self, askers: Sequence[Asker], clients: Sequence[openai.AsyncOpenAI]) -> None:
        self.calls, self._clients = [LiveCalls(asker) for asker in askers], clients
        self._seen = [asker.seen for asker in askers]
        for call, seen in zip(self.calls, self._seen, strict=True):
            call.failed = seen.failed  # in an earlier round
        # more than may call at once: some wait for another attempt meanwhile
        self._gates = [asyncio.Semaphore(2 * asker.options.concurrency) for asker in askers]

    @property
    def some_work(self) -> bool:
        """Whether not all have failed."""
        return any(call.failed is None for call in self.calls)

    async def answer(self, order: Sequence[int], request: Request) -> Reply | None:
        """The reply of the first in order that has an answer, else the last one's words; None where all have failed."""
        reply = None
        for place in order:
            async with self._gates[place]:
                if self.calls[place].failed is not None:
                    continue
                try:
                    reply = await self.calls[place].answer(self._clients[place], request)
                except EndpointError as error:
                    self._failed(place, error)
                    continue
            if reply.finish_reason != "error":
                return reply
        return reply

    def _failed(self, place: int, error: EndpointError) -> None:
        first = self.calls[place].failed is None
        self.calls[place].failed = self._seen[place].failed = error
        if first and self.some_work:
            log.warning("%s The other endpoints take its requests.", error)


async def answer_by_several(
    askers: Sequence[Asker],
    orders: Sequence[Sequence[int]],
    requests: Sequence[Request],
    todo: Sequence[int],
    put: Callable[[tuple[int, Reply]], None],
) -> None:
    """Answer the requests of the numbers `todo`, each by the first in its order that has an answer; each reply is `put`
    with its number. Raises as `LLM.stream` does once all endpoints have failed; what is under way arrives before."""
    async with AsyncExitStack() as opened:
        options = [asker.options for asker in askers]
        several = _Several(
            askers,
            [await opened.enter_async_context(open_client(o.base_url, o.key_variable, o.timeout)) for o in options],
        )

        faults: list[Exception] = []

        async def answer(number: int) -> None:
            if faults:
                return
            try:
                reply = await several.answer(orders[number], requests[number])
            except Exception as error:  # noqa: BLE001 (what the others have under way is paid for: let it arrive)
                faults.append(error)
                return
            if reply is not None and (several.some_work or reply.finish_reason not in UNANSWERED):
                put((number, reply))

        async with asyncio.TaskGroup() as group:
            for number in todo:
                group.create_task(answer(number))
    if faults:
        raise faults[0]
    errors = [call.failed for call in several.calls if call.failed is not None]
    if len(errors) == len(several.calls):
        raise errors[0]
