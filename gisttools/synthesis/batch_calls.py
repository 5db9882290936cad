"""The calls of the Batch API: a file goes up, a batch is made of it, looked at, and its files come down."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import openai
from openai.types import Batch, FileObject

from gisttools.common import EndpointError, Health, with_retries
from gisttools.synthesis.batch_lines import PATH
from gisttools.synthesis.batch_table import SentBatch

log = logging.getLogger(__name__)
TOKEN = "gisttools"  # the metadata's name for a batch's token
_CLOCKS = 24 * 3600.0  # seconds that this machine's clock and the endpoint's may differ by, generously


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
        mend = "Use transport live, or an endpoint that has one."
        uploaded = await self._do(upload, "a file for a batch", missing, mend)
        return (await self._do(create, "a batch", missing, mend)).id

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
        mend = f"Put the key of the account that submitted it into {self._health.key_name}; or use transport live."
        seen = await self._try(retrieve, f"the batch {batch_id}", missing, mend)
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

    async def _do(self, call: Callable[[], Awaitable], what: str, missing: str = "", mend: str = "") -> Any:
        answer = await self._try(call, what, missing, mend)
        if isinstance(answer, str):
            raise EndpointError(
                f"{self._health.url} fails at {what}: {answer}. Run again later: what is under way is found again."
            )
        return answer

    async def _try(self, call: Callable[[], Awaitable], what: str, missing: str, mend: str) -> object:
        """As `with_retries`. `missing` is the problem where the address is not found."""

        async def known() -> object:
            try:
                return await call()
            except openai.NotFoundError as error:
                raise EndpointError(f"{missing} ({error}). {mend}") from error

        try:
            return await with_retries(known, self._health)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            raise EndpointError(f"{self._health.url} refuses {what}: {error}. {mend}".rstrip()) from error
