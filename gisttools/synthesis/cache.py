"""The cache of LLM calls: a SQLite file in which every answer stands under the hash of its request."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from pathlib import Path

from gisttools.errors import DataError


def call_key(endpoint: str, model: str, messages: list[dict], schema: dict, sampling: dict, replicate: int) -> str:
    """SHA-256 of the canonical request, as 64 hex digits."""
    request = [endpoint, model, messages, schema, sampling, replicate]
    return hashlib.sha256(json.dumps(request, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


class CallCache:
    """Answers on disk, to be used in a `with` block; several processes may share the file.

    Raises:
        DataError: the file cannot be opened, or is no cache.
    """

    def __init__(self, path: str | Path | None) -> None:
        self.path = path

    def __enter__(self) -> CallCache:
        if self.path is not None:
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = sqlite3.connect(
                ":memory:" if self.path is None else self.path, timeout=60, isolation_level=None
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute("CREATE TABLE IF NOT EXISTS calls (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        except sqlite3.Error as error:
            raise DataError(f"The cache {self.path} cannot be used: {error}. Name another file.") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def get(self, key: str) -> dict | None:
        """The stored answer (content, finish_reason, model, tokens_in, tokens_out), or None."""
        row = self._connection.execute("SELECT value FROM calls WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        value = json.loads(row[0])
        value.pop("time")
        return value

    def put(self, key: str, value: dict) -> None:
        """Store an answer; the time (seconds since 1970, UTC) is added."""
        text = json.dumps({**value, "time": time.time()})
        self._connection.execute("INSERT OR REPLACE INTO calls VALUES (?, ?)", (key, text))
