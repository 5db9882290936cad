"""Calls by the Batch API: all calls that are missing go up in files, and their answers come down within a day.

A request's next call is known once the one before is answered, so a cut or unfit answer makes a line of a later batch.
What one line's answer means for the request says `asking`, as for live calls, and both share the cache.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import openai

from gisttools.common import EndpointError
from gisttools.synthesis.asking import Asker, Request
from gisttools.synthesis.batch_calls import BatchCalls
from gisttools.synthesis.batch_files import MOST_LINES, BatchFile, MissingCall, pack
from gisttools.synthesis.batch_results import Results, failure, queue_is_full, store
from gisttools.synthesis.batch_table import BatchTable, SentBatch
from gisttools.synthesis.live import LiveCalls

if TYPE_CHECKING:
    from openai.types import Batch

log = logging.getLogger(__name__)
_TRIES = 3  # of a line that failed for a reason that passes, and of one that waits for the budget
_ENDED = ("completed", "expired", "failed", "cancelled")


async def answer_by_batches(
    asker: Asker, client: openai.AsyncOpenAI, requests: Sequence[Request], todo: list[int], put: Callable
) -> None:
    """Answer the requests of the numbers `todo`; each reply is `put` with its number. Raises as `LLM.stream` does."""
    await _BatchRun(asker, client, requests, put).run(todo)


class _BatchRun:
    def __init__(self, asker: Asker, client: openai.AsyncOpenAI, requests: Sequence[Request], put: Callable) -> None:
        self._asker, self._llm, self._learnt, self._budget = asker, asker.llm, asker.learnt, asker.budget
        self._client, self._requests, self._put = client, requests, put
        self._table, self._live = BatchTable(asker.cache), LiveCalls(asker)
        self._calls = BatchCalls(client, asker.health)
        self._wanted: dict[str, MissingCall] = {}  # by key
        self._under_way: dict[str, SentBatch] = {}
        self._stands: dict[str, str] = {}  # how they stood when last looked at
        self._sent: set[str] = set()  # the keys of all lines under way
        self._fresh: set[str] = set()  # calls that were answered now
        self._failed: dict[str, dict] = {}  # what stands for those that will not be
        self._most_lines, self._one_at_a_time = MOST_LINES, False
        self._proven = False  # some line of a batch was answered, so that batches take the form

    async def run(self, todo: list[int]) -> None:
        for i in todo:
            await self._advance(i)
            await asyncio.sleep(0)  # or an interrupt would have to wait for all
        try:
            changed = True
            while self._wanted:
                if changed and not (self._one_at_a_time and self._under_way):
                    await self._submit()
                changed = await self._look()
                if self._under_way and not changed:
                    await asyncio.sleep(self._llm.poll_seconds)
        finally:
            for batch in self._under_way.values():
                self._budget.leave(batch.token, batch.most)

    async def _advance(self, number: int) -> None:
        """The request's reply, where all its calls are known; else it waits for the first that is not."""
        missing: list = []

        async def look(messages: list, request: Request, room: int, key: str) -> dict | None:
            turn = self._failed.get(key)
            if turn is None and (key in self._fresh or self._llm.mode == "auto"):
                turn = self._asker.cache.get(key)
                turn = turn if turn is None or key in self._fresh else {**turn, "cached": True}
            if turn is None:
                missing[:] = [key, MissingCall(messages=messages, request=request, room=room, numbers=[])]
            return turn

        reply = await self._asker.answer(self._requests[number], look)
        if reply is not None:
            self._put((number, reply))
            return
        key, wanted = missing
        self._wanted.setdefault(key, wanted).numbers.append(number)

    async def _resolve(self, key: str) -> None:
        for number in self._wanted.pop(key).numbers:
            await self._advance(number)

    async def _give_up(self, key: str, finish: str, why: str) -> None:
        self._failed[key] = self._asker.unanswered(finish, why)
        await self._resolve(key)

    def _idle(self) -> dict[str, MissingCall]:
        """What is in no batch."""
        return {key: call for key, call in self._wanted.items() if key not in self._sent}

    async def _submit(self) -> None:
        """Take over what other processes have done or submitted, and submit the rest."""
        async with self._table.submitting():
            for key in self._idle() if self._llm.mode == "auto" else ():
                if self._asker.cache.get(key) is not None:
                    await self._resolve(key)
            await self._find_again()
            # What the endpoint takes is found out by live calls, for a batch takes hours.
            while not self._learnt.settled and (idle := self._idle()):
                call = self._wanted.pop(next(iter(idle)))
                self._put((call.numbers[0], await self._live.answer(self._client, call.request)))
                for number in call.numbers[1:]:
                    await self._advance(number)
            over: dict[str, bool] = {}
            for file in pack(self._asker, self._idle(), self._most_lines, over):
                await self._send(file)
                if self._one_at_a_time:
                    break
            for key, for_good in over.items():
                self._wanted[key].passed_over += 1
                if for_good or self._wanted[key].passed_over >= _TRIES:
                    await self._give_up(key, "budget", "the budget does not hold the call")

    async def _find_again(self) -> None:
        """Batches of earlier runs and of other processes that hold what is wanted."""
        for batch in self._table.holding(list(self._idle())):
            if not self._learnt.settled:
                self._learnt.take(batch.form)
            if batch.id is None:  # whoever meant to submit it is gone, and may have done it or not
                batch_id = await self._calls.find(batch)
                if batch_id is None:
                    self._table.forget(batch.token)
                    continue
                self._table.submitted(batch.token, batch_id)
                batch = dataclasses.replace(batch, id=batch_id)
            log.info("batch %s of %d calls is found again", batch.id, len(batch.lines))
            self._follow(batch)

    def _follow(self, batch: SentBatch) -> None:
        self._budget.hold(batch.token, batch.most)
        self._under_way[batch.token] = batch
        self._sent |= batch.lines.keys()

    async def _send(self, file: BatchFile) -> None:
        batch = SentBatch(token=uuid.uuid4().hex, form=self._learnt.form, lines=file.lines, created=time.time())
        self._follow(batch)
        self._table.intend(batch)
        batch_id = await self._calls.start(batch, file.content)
        self._table.submitted(batch.token, batch_id)
        self._under_way[batch.token] = dataclasses.replace(batch, id=batch_id)
        log.info("batch %s of %d calls is submitted", batch_id, len(batch.lines))

    async def _look(self) -> bool:
        """Look at all batches; True where one has ended."""
        ended = False
        for batch in list(self._under_way.values()):
            seen = await self._calls.look(batch.id)
            if seen is None:
                continue
            done = getattr(seen.request_counts, "completed", None) or 0
            stands = f"{seen.status}, {done} of {len(batch.lines)} calls are answered"
            if self._stands.get(batch.token) != stands:
                self._stands[batch.token] = stands
                log.info("batch %s: %s", batch.id, stands)
            if seen.status in _ENDED:
                await self._end(batch, seen)
                ended = True
        return ended

    async def _end(self, batch: SentBatch, seen: Batch) -> None:
        results = await store(self._asker, batch, await self._calls.results(seen), seen.status)
        self._table.forget(batch.token)
        self._budget.settle(batch.most, results.used)
        del self._under_way[batch.token]
        self._sent -= batch.lines.keys()
        self._fresh |= results.answered
        self._proven = self._proven or bool(results.answered)
        if seen.status == "failed" and queue_is_full(seen):
            self._make_smaller(batch, seen)
            return
        for key in batch.lines:
            if key in results.answered and key in self._wanted:
                await self._resolve(key)
        if results.final is not None:
            raise EndpointError(results.final)
        if seen.status in ("failed", "cancelled"):
            raise EndpointError(failure(self._llm.url, seen, len(results.answered), len(batch.lines)))
        await self._go_on(batch, results)

    async def _go_on(self, batch: SentBatch, results: Results) -> None:
        """What was not answered waits for the next batch, or is given up."""
        learnt, refused = self._learnt, results.refused
        for outcome in refused.values():
            learnt.adapt(outcome.param)
        if learnt.form == batch.form and not self._proven and len(refused) == len(batch.lines) > 1:
            learnt.lower()
        if learnt.form == batch.form:  # others are answered in this form: it is these requests
            results.failed |= {key: f"refused: {outcome.words}" for key, outcome in refused.items()}
        for key, why in results.failed.items():
            if key in self._wanted:
                await self._give_up(key, "error", why)
        for key, why in results.again.items():
            if key in self._wanted:
                self._wanted[key].tries += 1
                if self._wanted[key].tries >= _TRIES:
                    await self._give_up(key, "error", f"{why} ({_TRIES} batches)")

    def _make_smaller(self, batch: SentBatch, seen: Batch) -> None:
        """The account's queue does not hold the batch: one at a time from now on, and where that is so already, half as
        many lines."""
        self._one_at_a_time = True
        if self._under_way:
            return
        if len(batch.lines) == 1:
            raise EndpointError(failure(self._llm.url, seen, 0, 1))
        self._most_lines = max(1, len(batch.lines) // 2)
        log.warning("the account's queue does not hold a batch of %d calls; going on with %d at a time",
                    len(batch.lines), self._most_lines)  # fmt: skip
