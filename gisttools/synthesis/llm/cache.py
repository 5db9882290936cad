"""Keeps the responses of LLM calls in a SQLite file, each under the hash of its request; says which calls are under way
in which process, and what a job has spent.

A call is claimed before it is sent, so that two processes with one file pay once: the other waits for the answer. A
claim is a lease that its process renews; where the process dies, others take over at once on the same machine, after
the lease on another.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import sqlite3
import time
import uuid
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


LEASE = 15.0  # seconds that a claim holds unless it is renewed
RENEWED = 3.0  # seconds between two renewals


class CallCache:
    """Responses on disk, to be used in a `with` block; several processes may share the file.

    A response that was put is kept whatever happens to the process. `owner` names this opening of the file among those
    that have claims.

    Raises:
        DataError: the file cannot be opened, or is no cache.
    """

    def __init__(self, path: str | Path | None) -> None:
        self.path = path
        self.owner = f"{socket.gethostname()}|{os.getpid()}|{uuid.uuid4().hex}"
        self._claimed: set[str] = set()

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
            self.connection.execute("CREATE TABLE IF NOT EXISTS claims (key TEXT PRIMARY KEY, owner TEXT, until REAL)")
            self.connection.execute(
                "CREATE TABLE IF NOT EXISTS spending (job TEXT, owner TEXT, tokens INTEGER, usd REAL, "
                "PRIMARY KEY (job, owner)) WITHOUT ROWID"
            )
        except sqlite3.Error as error:
            raise DataError(f"The cache {self.path} cannot be used: {error}. Name another file.") from error
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(sqlite3.Error):  # the leases end by themselves
            self.connection.execute("DELETE FROM claims WHERE owner = ?", (self.owner,))
        self.connection.close()

    def take(self, key: str) -> bool:
        """Claim a call; False where it is under way, here or in another process. Every True is ended by `release`."""
        if key in self._claimed:
            return False
        with self.together():
            row = self.connection.execute("SELECT owner, until FROM claims WHERE key = ?", (key,)).fetchone()
            if row is not None and row[1] > time.time() and _may_live(row[0]):
                return False
            values = (key, self.owner, time.time() + LEASE)
            self.connection.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", values)
        self._claimed.add(key)
        return True

    def release(self, key: str) -> None:
        """The call has ended, well or not."""
        self._claimed.discard(key)
        self.connection.execute("DELETE FROM claims WHERE key = ? AND owner = ?", (key, self.owner))

    def renew(self) -> None:
        """Keep all claims of this process for another lease."""
        if self._claimed:
            until = time.time() + LEASE
            self.connection.execute("UPDATE claims SET until = ? WHERE owner = ?", (until, self.owner))

    def spent_by_others(self, job: str, owner: str) -> tuple[int, float]:
        """Tokens and US dollars that other starts of a job have spent or hold back; of one that was killed the most
        that its calls under way could cost."""
        row = self.connection.execute(
            "SELECT SUM(tokens), SUM(usd) FROM spending WHERE job = ? AND owner != ?", (job, owner)
        ).fetchone()
        return row[0] or 0, row[1] or 0.0

    def note_spent(self, job: str, owner: str, tokens: int, usd: float) -> None:
        """Write down what this start of a job has spent and holds back."""
        self.connection.execute("INSERT OR REPLACE INTO spending VALUES (?, ?, ?, ?)", (job, owner, tokens, usd))

    def forget_spent(self, job: str) -> None:
        """A job is done: another run of it has its whole budget."""
        self.connection.execute("DELETE FROM spending WHERE job = ?", (job,))

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


def _may_live(owner: str) -> bool:
    """Whether the process that made a claim may be alive; known only of those of this machine."""
    host, pid, _ = owner.rsplit("|", 2)
    if host != socket.gethostname() or os.name == "nt" or not pid.isdigit():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _while_busy() -> tenacity.Retrying:
    """SQLite does not wait by itself where two processes turn a new file's journal to WAL at the same time."""
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda e: getattr(e, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY),
        wait=tenacity.wait_random(0, 0.05),
        stop=tenacity.stop_after_delay(60),
        reraise=True,
    )
