"""Makes calls by the Batch API: all calls that are missing go up in files, and their answers come down within a day.

A request's next call is known once the one before is answered, so a cut or unfit answer makes a line of a later batch.
What one line's answer means for the request says `asking`, as for live calls, and both share the cache.

Which batches are under way stands in two tables of the cache's file. A batch is written down before it is submitted,
under a token that goes along with it, and gets its id afterwards: a process that dies in between leaves a token by
which the endpoint's list of batches can be searched. One process at a time submits.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Literal

import openai
from filelock import FileLock, Timeout
from openai.types import Batch, FileObject

from gisttools.common import EndpointError, Health, final_words, passing, problems, with_retries
from gisttools.synthesis.llm.answers import BadAnswer, readable, shown, usage_of
from gisttools.synthesis.llm.asking import Asker, Request
from gisttools.synthesis.llm.budget import certain, most_tokens_in
from gisttools.synthesis.llm.cache import CallCache
from gisttools.synthesis.llm.live import LiveCalls

_AT_ONCE = 500  # keys in one question to SQLite
_LOOK_AGAIN = 0.1  # seconds
TOKEN = "gisttools"  # the metadata's name for a batch's token
_CLOCKS = 24 * 3600.0  # seconds that this machine's clock and the endpoint's may differ by, generously
_TRIES = 3  # of a line that failed for a reason that passes, and of one that waits for the budget
_ENDED = ("completed", "expired", "failed", "cancelled")
_SHOWN = 5  # errors named in a message
MOST_LINES = 50_000  # of a file, as OpenAI has it
_MOST_BYTES = 200_000_000
PATH = "/v1/chat/completions"  # what the lines of a batch are sent to, as the Batch API names it

Kind = Literal["answer", "filtered", "refused", "passing", "failed"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SentBatch:
    """A batch that was submitted, or was about to be.

    Attributes:
        token: in its metadata at the endpoint.
        form: of all its calls, as `Learnt.form`.
        lines: the key of each call, and the most tokens in and out that it can take.
        created: seconds since 1970, UTC, by this machine's clock.
        id: the endpoint's; None where it is not known that it was submitted.
    """

    token: str
    form: dict
    lines: dict[str, tuple[int, int]]
    created: float
    id: str | None = None

    @property
    def most(self) -> tuple[int, int]:
        """Tokens in and out that all calls can take."""
        return sum(i for i, _ in self.lines.values()), sum(o for _, o in self.lines.values())


class BatchTable:
    """The batches under way that the processes of one cache know of."""

    def __init__(self, cache: CallCache) -> None:
        self._cache, self._sql = cache, cache.connection
        self._sql.execute(
            "CREATE TABLE IF NOT EXISTS batches (token TEXT PRIMARY KEY, id TEXT, form TEXT NOT NULL, created REAL)"
        )
        self._sql.execute(
            "CREATE TABLE IF NOT EXISTS batch_lines (key TEXT, token TEXT, tokens_in INTEGER, tokens_out INTEGER, "
            "PRIMARY KEY (key, token)) WITHOUT ROWID"
        )
        self._sql.execute("CREATE INDEX IF NOT EXISTS lines_of_batch ON batch_lines (token)")

    @asynccontextmanager
    async def submitting(self) -> AsyncIterator[None]:
        """The right to submit, which one process has at a time; one that dies loses it at once."""
        lock = FileLock(f"{self._cache.path}.lock")
        while True:
            try:
                lock.acquire(blocking=False)
                break
            except Timeout:
                await asyncio.sleep(_LOOK_AGAIN)
        try:
            yield
        finally:
            lock.release()

    def intend(self, batch: SentBatch) -> None:
        """Write down a batch that is about to be submitted; inside `submitting` only."""
        with self._cache.together(durable=True):
            self._sql.execute(
                "INSERT INTO batches VALUES (?, NULL, ?, ?)", (batch.token, json.dumps(batch.form), batch.created)
            )
            lines = ((key, batch.token, *most) for key, most in batch.lines.items())
            self._sql.executemany("INSERT INTO batch_lines VALUES (?, ?, ?, ?)", lines)

    def submitted(self, token: str, batch_id: str) -> None:
        """Add the endpoint's id."""
        with self._cache.together(durable=True):
            self._sql.execute("UPDATE batches SET id = ? WHERE token = ?", (batch_id, token))

    def forget(self, token: str) -> None:
        """Drop a batch whose answers are in the cache, or that was never submitted, or failed."""
        with self._cache.together():
            self._sql.execute("DELETE FROM batches WHERE token = ?", (token,))
            self._sql.execute("DELETE FROM batch_lines WHERE token = ?", (token,))

    def holding(self, keys: Sequence[str]) -> list[SentBatch]:
        """The batches that hold any of these calls, oldest first."""
        tokens: set[str] = set()
        for begin in range(0, len(keys), _AT_ONCE):
            part = keys[begin : begin + _AT_ONCE]
            marks = ",".join("?" * len(part))
            tokens |= {t for (t,) in self._sql.execute(f"SELECT token FROM batch_lines WHERE key IN ({marks})", part)}
        found = []
        for token in tokens:
            row = self._sql.execute("SELECT id, form, created FROM batches WHERE token = ?", (token,)).fetchone()
            rows = self._sql.execute("SELECT key, tokens_in, tokens_out FROM batch_lines WHERE token = ?", (token,))
            lines = {key: most for key, *most in rows}
            if row is not None:  # another process may have done with it meanwhile
                batch_id, form, created = row
                found.append(SentBatch(token=token, id=batch_id, form=json.loads(form), lines=lines, created=created))
        return sorted(found, key=lambda batch: batch.created)


@dataclass(frozen=True, kw_only=True)
class BatchAnswer:
    """What became of one line.

    Attributes:
        kind: answer: `response` is a chat completion; filtered: by the endpoint's content filter; refused: the request
            is not taken as it is; passing: worth another attempt; failed: not worth one.
        response: the completion, or the endpoint's error.
        status, code, param: HTTP status of the call, code and parameter that its error names; None where there is none.
        words: why there is no answer.
    """

    kind: Kind
    response: dict = field(default_factory=dict)
    status: int | None = None
    code: str | None = None
    param: str | None = None
    words: str = ""


def line_of(key: str, body: dict) -> bytes:
    """The line of a batch file that asks for `body`; `key` comes back with its answer."""
    return json.dumps({"custom_id": key, "method": "POST", "url": PATH, "body": body}).encode() + b"\n"


def read_batch_answers(content: bytes) -> Iterator[tuple[str, BatchAnswer]]:
    """Key and answer of each line of an output or error file; what is no such line is passed over with a warning."""
    for raw in content.split(b"\n"):  # not splitlines: a text may hold line separators that are no newline
        if not raw.strip():
            continue
        try:
            line = json.loads(raw)
            yield line["custom_id"], _batch_answer(line)
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            log.warning("a line of a batch's result cannot be read (%s): %r", error, raw[:200])


def _batch_answer(line: dict) -> BatchAnswer:
    response = _dict(line.get("response"))
    status, body = response.get("status_code"), response.get("body")
    if status == 200:
        with contextlib.suppress(BadAnswer):
            return BatchAnswer(kind="answer", response=readable(body))
    error = _dict(_dict(body).get("error")) or _dict(line.get("error"))
    code, param, message = error.get("code"), error.get("param"), error.get("message")
    words = str(message or code or line.get("error") or f"no chat completion came: {shown(body)}")
    words = shown(words) if status in (None, 200) else f"status {status}: {shown(words)}"
    kind: Kind
    if status in (400, 422):
        kind = "filtered" if code == "content_filter" else "refused"
    else:  # without a status the line was not executed, as in a batch that expired
        kind = "passing" if status in (None, 200) or passing(status, code) else "failed"
    return BatchAnswer(kind=kind, response={"error": error}, status=status, code=code, param=param, words=words)


def _dict(value: object) -> dict:
    return value if isinstance(value, dict) else {}


@dataclass(kw_only=True)
class MissingCall:
    """A call that has no answer yet.

    Attributes:
        messages, request, room: as `Asker.body` takes them.
        numbers: of the requests that wait for it.
        tries: batches in which it failed for a reason that passes.
        passed_over: files that the budget had no room in for it.
    """

    messages: list
    request: Request
    room: int
    numbers: list[int]
    tries: int = 0
    passed_over: int = 0


@dataclass(frozen=True)
class BatchFile:
    """The content of a file, and the key of each line with the most tokens in and out that it can take."""

    content: bytes
    lines: dict[str, tuple[int, int]]


def pack(asker: Asker, missing: dict[str, MissingCall], most_lines: int, over: dict[str, bool]) -> Iterator[BatchFile]:
    """The calls as files, in order.

    Args:
        missing: by key.
        most_lines: of a file.
        over: gets the keys that the budget does not hold: True where it never will, False where it may once other
            calls have left something. Whoever takes a file holds back its cost before taking the next one.
    """
    lines, content, total = {}, bytearray(), (0, 0)
    for key, call in missing.items():
        body = asker.body(call.messages, call.request, call.room, asker.learnt.rung)
        most = (most_tokens_in(body["messages"], json.dumps(body.get("response_format"))), call.room)
        line = line_of(key, body)
        if lines and (len(lines) >= most_lines or len(content) + len(line) > _MOST_BYTES):
            yield BatchFile(bytes(content), lines)
            lines, content, total = {}, bytearray(), (0, 0)
        with_it = (total[0] + most[0], total[1] + most[1])
        if not asker.budget.fits(*with_it):
            over[key] = not asker.budget.fits(*most, ever=True)
            continue
        lines[key], total = most, with_it
        content += line
    if lines:
        yield BatchFile(bytes(content), lines)


@dataclass(kw_only=True)
class Results:
    """Keys of a batch's lines by what became of them.

    Attributes:
        answered: in the cache now, with those of the content filter.
        refused: not taken as they were asked.
        again: worth another attempt, and why.
        failed: not worth one, and why.
        used: tokens in and out; the most, where an answer did not come or did not say.
        final: why the whole run ends; None where it does not.
    """

    answered: set[str] = field(default_factory=set)
    refused: dict[str, BatchAnswer] = field(default_factory=dict)
    again: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    used: tuple[int, int] = (0, 0)
    final: str | None = None


async def store(asker: Asker, batch: SentBatch, content: bytes, status: str) -> Results:
    """Keep the answers among the lines of a batch that ended with this status, also those that nobody waits for."""
    results, seen, answers = Results(), set(), read_batch_answers(content)
    while part := list(islice(answers, _AT_ONCE)):
        with asker.cache.together():
            for key, answer in part:
                if key in batch.lines and key not in seen:
                    seen.add(key)
                    _sort(asker, batch, key, answer, results)
        await asyncio.sleep(0)
    for key, most in batch.lines.items():
        if key not in seen:
            results.again[key] = f"the batch ended as {status} without an answer"
            if status == "completed":  # else it was not executed
                results.used = (results.used[0] + most[0], results.used[1] + most[1])
    return results


def _sort(asker: Asker, batch: SentBatch, key: str, answer: BatchAnswer, results: Results) -> None:
    match answer.kind:
        case "answer":
            asker.keep(key, answer.response, most=batch.lines[key])
            used = certain(usage_of(answer.response, batch.lines[key]), batch.lines[key])
            results.used = (results.used[0] + used[0], results.used[1] + used[1])
            results.answered.add(key)
        case "filtered":
            asker.keep(key, answer.response, "content_filter")
            results.answered.add(key)
        case "refused":
            results.refused[key] = answer
        case "passing":
            results.again[key] = answer.words
        case "failed":
            results.failed[key] = answer.words
            results.final = results.final or final_words(answer.status, answer.code, answer.words, asker.health)


def queue_is_full(seen: Batch) -> bool:
    """Did a batch fail only because the account may not have as many tokens waiting?"""
    return any(error.code == "token_limit_exceeded" for error in _errors(seen))


def failure(url: str, seen: Batch, answered: int, lines: int) -> str:
    """The message for a batch that failed or was cancelled."""
    title = f"Batch {seen.id} at {url} {'failed' if seen.status == 'failed' else 'was cancelled'}:"
    found = [
        " ".join(filter(None, (e.line and f"line {e.line}:", e.message, e.code and f"({e.code})")))
        for e in _errors(seen)
    ]
    more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    if seen.status == "cancelled":
        found = [*found, f"{answered} of {lines} calls had been answered, and are in the cache"]
        return problems(title, found[:_SHOWN] + more, "Run again to submit the others anew.")
    fix = "Correct what the endpoint names, and run again."
    if queue_is_full(seen):
        fix = "Run again when the account's other batches have ended, or ask for higher limits."
    return problems(title, found[:_SHOWN] + more or ["the endpoint does not say why"], fix)


def _errors(seen: Batch) -> list:
    return getattr(seen.errors, "data", None) or []


class BatchCalls:
    """The Batch API of one endpoint. All raise EndpointError where it refuses, or fails after all attempts."""

    def __init__(self, client: openai.AsyncOpenAI, health: Health) -> None:
        self._client, self._health = client, health

    async def start(self, batch: SentBatch, content: bytes) -> str:
        """Submit the lines of a file; the id of the batch."""
        name = f"gisttools-{batch.token}.jsonl"

        async def upload() -> FileObject:
            return await self._client.files.create(file=(name, content), purpose="batch")

        tried = False

        async def create() -> Batch:
            nonlocal tried
            # After a failure it may be there all the same, and a second one would be paid as well.
            if tried and (there := await self._search(batch)) is not None:
                return there
            tried = True
            return await self._client.batches.create(
                input_file_id=uploaded.id, endpoint=PATH, completion_window="24h", metadata={TOKEN: batch.token}
            )

        missing = f"{self._health.url} has no Batch API"
        fix = "Use transport live, or an endpoint that has one."
        uploaded = await self._do(upload, "a file for a batch", missing, fix)
        return (await self._do(create, "a batch", missing, fix)).id

    async def find(self, batch: SentBatch) -> str | None:
        """The id of a batch that may have been submitted, by its token; None where the endpoint has none."""

        async def search() -> list[Batch]:
            found = await self._search(batch)
            return [] if found is None else [found]

        missing = f"{self._health.url} has no list of batches"
        found = await self._do(search, "the list of batches", missing, "Use transport live.")
        return found[0].id if found else None

    async def look(self, batch_id: str) -> Batch | None:
        """How a batch stands; None where that cannot be seen just now."""

        async def retrieve() -> Batch:
            return await self._client.batches.retrieve(batch_id)

        missing = f"{self._health.url} does not know the batch {batch_id}, which was submitted there"
        fix = f"Put the key of the account that submitted it into {self._health.key_name}; or use transport live."
        seen = await self._try(retrieve, f"the batch {batch_id}", missing, fix)
        if isinstance(seen, str):
            log.warning("batch %s cannot be looked at just now: %s", batch_id, seen)
            return None
        return seen

    async def results(self, batch: Batch) -> bytes:
        """The lines of output and errors; empty where the endpoint has none, or none any more."""
        parts = []
        for file_id in (batch.output_file_id, batch.error_file_id):
            if file_id:
                parts.append(await self._do(partial(self._download, file_id), f"file {file_id}"))
        return b"\n".join(parts)

    async def _download(self, file_id: str) -> bytes:
        try:
            return (await self._client.files.content(file_id)).content
        except openai.NotFoundError:
            log.warning("%s does not have file %s any more; what it held is asked for again", self._health.url, file_id)
            return b""

    async def _search(self, batch: SentBatch) -> Batch | None:
        async for seen in self._client.batches.list(limit=100):  # the newest first
            if (seen.metadata or {}).get(TOKEN) == batch.token:
                return seen
            since = getattr(seen, "created_at", None)
            if isinstance(since, int | float) and since < batch.created - _CLOCKS:
                break
        return None

    async def _do(self, call: Callable[[], Awaitable], what: str, missing: str = "", fix: str = "") -> Any:
        answer = await self._try(call, what, missing, fix)
        if isinstance(answer, str):
            raise EndpointError(
                f"{self._health.url} fails at {what}: {answer}. Run again later: what is under way is found again."
            )
        return answer

    async def _try(self, call: Callable[[], Awaitable], what: str, missing: str, fix: str) -> object:
        """As `with_retries`. `missing` is the problem where the address is not found."""

        async def known() -> object:
            try:
                return await call()
            except openai.NotFoundError as error:
                raise EndpointError(f"{missing} ({error}). {fix}") from error

        try:
            return await with_retries(known, self._health)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            raise EndpointError(f"{self._health.url} refuses {what}: {error}. {fix}".rstrip()) from error


async def answer_by_batches(
    asker: Asker, client: openai.AsyncOpenAI, requests: Sequence[Request], todo: list[int], put: Callable
) -> None:
    """Answer the requests of the numbers `todo`; each reply is `put` with its number. Raises as `LLM.stream` does."""
    await _BatchRun(asker, client, requests, put).run(todo)


class _BatchRun:
    def __init__(self, asker: Asker, client: openai.AsyncOpenAI, requests: Sequence[Request], put: Callable) -> None:
        self._asker, self._options, self._learnt, self._budget = asker, asker.options, asker.learnt, asker.budget
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
                    await asyncio.sleep(self._options.poll_seconds)
        finally:
            for batch in self._under_way.values():
                self._budget.leave(batch.token, batch.most)

    async def _advance(self, number: int) -> None:
        """The request's reply, where all its calls are known; else it waits for the first that is not."""
        missing: list = []

        async def look(messages: list, request: Request, room: int, key: str) -> dict | None:
            turn = self._failed.get(key)
            if turn is None and (key in self._fresh or self._options.mode == "auto"):
                turn = self._asker.stored(key)
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
            for key in self._idle() if self._options.mode == "auto" else ():
                if self._asker.stored(key) is not None:
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
            assert batch.id is not None  # only what was submitted is looked at
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
        self._budget.settle_batch(batch.token, batch.most, results.used)
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
            raise EndpointError(failure(self._options.url, seen, len(results.answered), len(batch.lines)))
        await self._go_on(batch, results)

    async def _go_on(self, batch: SentBatch, results: Results) -> None:
        """What was not answered waits for the next batch, or is given up."""
        learnt, refused = self._learnt, results.refused
        for answer in refused.values():
            if why := self._asker.effort_refused(answer.param, answer.words):
                raise EndpointError(why)
            learnt.adapt(answer.param, answer.words)
        if learnt.form == batch.form and not self._proven and len(refused) == len(batch.lines) > 1:
            learnt.lower()
        if learnt.form == batch.form:  # others are answered in this form: it is these requests
            results.failed |= {key: f"refused: {answer.words}" for key, answer in refused.items()}
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
            raise EndpointError(failure(self._options.url, seen, 0, 1))
        self._most_lines = max(1, len(batch.lines) // 2)
        log.warning("the account's queue does not hold a batch of %d calls; going on with %d at a time",
                    len(batch.lines), self._most_lines)  # fmt: skip
