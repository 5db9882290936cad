"""Keeps the responses of LLM calls in a SQLite file, each under the hash of its request."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tenacity

from gisttools.common import DataError, known_secrets, redact


def call_key(endpoint: str, model: str, messages: list[dict], schema: dict, sampling: dict, replicate: int) -> str:
    """SHA-256 of the canonical request, as 64 hex digits."""
    request = {
        "endpoint": endpoint,
        "model": model,
        "messages": messages,
        "schema": schema,
        "sampling": sampling,
        "replicate": replicate,
    }
    text = json.dumps(request, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class CallCache:
    """Responses on disk, to be used in a `with` block; several processes may share the file.

    A response that was put is kept whatever happens to the process.

    Raises:
        DataError: the file cannot be opened, or is no cache.
    """

    def __init__(self, path: str | Path | None) -> None:
        self.path = path

    def __enter__(self) -> CallCache:
        if self.path is not None:
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        try:
            self.connection = sqlite3.connect(
                ":memory:" if self.path is None else self.path, timeout=60, isolation_level=None
            )
            for attempt in _while_busy():
                with attempt:
                    self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA synchronous = NORMAL")
            self.connection.execute("CREATE TABLE IF NOT EXISTS responses (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        except sqlite3.Error as error:
            raise DataError(f"The cache {self.path} cannot be used: {error}. Name another file.") from error
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def get(self, key: str) -> dict | None:
        """The stored value: response (as it came), finish_reason, model, tokens_in, tokens_out, time; or None."""
        row = self.connection.execute("SELECT value FROM responses WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    @contextmanager
    def together(self, *, durable: bool = False) -> Iterator[None]:
        """Changes inside the block are kept all or none. `durable`: whatever happens to the machine, too."""
        self.connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        finally:
            self.connection.execute("PRAGMA synchronous = NORMAL")

    def put(self, key: str, value: dict) -> None:
        """Store a value in place of an older one; the time (seconds since 1970, UTC) is added, and keys that an
        endpoint repeated are redacted."""
        text = redact(json.dumps({**value, "time": time.time()}), known_secrets())
        self.connection.execute("INSERT OR REPLACE INTO responses VALUES (?, ?)", (key, text))


def _while_busy() -> tenacity.Retrying:
    """SQLite does not wait by itself where two processes turn a new file's journal to WAL at the same time."""
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda e: getattr(e, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY),
        wait=tenacity.wait_random(0, 0.05),
        stop=tenacity.stop_after_delay(60),
        reraise=True,
    )
