"""Which batches are under way: two tables in the cache's file, and the lock of those who submit.

A batch is written down before it is submitted, under a token that goes along with it, and gets its id afterwards: a
process that dies in between leaves a token by which the endpoint's list of batches can be searched.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from filelock import FileLock, Timeout

from gisttools.synthesis.cache import CallCache

_AT_ONCE = 500  # keys in one question to SQLite
_LOOK_AGAIN = 0.1  # seconds


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
