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
import logging
import os
import socket
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tenacity
from filelock import FileLock

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


log = logging.getLogger(__name__)
_LOOKED_THROUGH = 1 << 30  # bytes; a larger file is taken as it is
_ENDINGS = (".sqlite", ".sqlite3", ".db")
_sound: set[str] = set()  # files that were looked through
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
        self._holds = False

    def __enter__(self) -> CallCache:
        if self.path is not None:
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        try:
            if self._open():
                self._mend()
        except (sqlite3.Error, OSError) as error:
            raise DataError(f"The cache {self.path} cannot be used: {error}. Name another file.") from error
        return self

    def _open(self) -> str:
        """Open the file, and say what is wrong with it; empty where nothing is."""
        try:
            self._connect()
            return "" if self.path is None else self._damage()
        except sqlite3.DatabaseError as error:
            # what has another ending may be anybody's file, named by mistake
            if not _is_damage(error) or Path(str(self.path)).suffix not in _ENDINGS:
                raise
            return str(error)

    def _connect(self) -> None:
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
            "CREATE TABLE IF NOT EXISTS ledger (job TEXT, owner TEXT, tokens INTEGER, usd REAL, held_tokens INTEGER, "
            "held_usd REAL, process TEXT, until REAL, PRIMARY KEY (job, owner)) WITHOUT ROWID"
        )

    def _damage(self) -> str:
        """What is wrong with the file; empty where nothing is. A process looks through a file once."""
        known = str(Path(str(self.path)).resolve())
        if known in _sound or Path(known).stat().st_size > _LOOKED_THROUGH:
            return ""
        try:
            (told,) = self.connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            return str(error) if _is_damage(error) else ""
        if told == "ok":
            _sound.add(known)
        return "" if told == "ok" else str(told)

    def _mend(self) -> None:
        """Set a damaged file aside, and take over the answers that can still be read; one process at a time."""
        path = Path(str(self.path))
        with FileLock(path.with_name(f"{path.name}.mend")):
            self.connection.close()
            if why := self._open():  # else another process has mended it meanwhile
                self._set_aside(path, why)

    def _set_aside(self, path: Path, why: str) -> None:
        found = dict(_readable_rows(self.connection))
        self.connection.close()
        aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
        path.rename(aside)
        for ending in ("-wal", "-shm"):
            with contextlib.suppress(OSError):
                path.with_name(path.name + ending).rename(aside.with_name(aside.name + ending))
        self._connect()
        self.connection.executemany("INSERT OR IGNORE INTO responses VALUES (?, ?)", found.items())
        log.warning("%s was damaged (%s); it is set aside, and %d answers were taken over", aside, why, len(found))

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
        """Keep all claims of this process, and what it holds back, for another lease."""
        until = time.time() + LEASE
        if self._claimed:
            self.connection.execute("UPDATE claims SET until = ? WHERE owner = ?", (until, self.owner))
        if self._holds:
            self.connection.execute("UPDATE ledger SET until = ? WHERE process = ?", (until, self.owner))

    def spent_by_others(self, job: str, owner: str) -> tuple[int, float]:
        """Tokens and US dollars that other starts of a job have spent or hold back; of one that was killed the most
        that its calls under way could cost."""
        row = self.connection.execute(
            "SELECT SUM(tokens + held_tokens), SUM(usd + held_usd) FROM ledger WHERE job = ? AND owner != ?",
            (job, owner),
        ).fetchone()
        return row[0] or 0, row[1] or 0.0

    def held_by_others(self, job: str, owner: str) -> tuple[int, float]:
        """Of that what may be left over yet: what starts that are under way hold back."""
        rows = self.connection.execute(
            "SELECT held_tokens, held_usd, process FROM ledger WHERE job = ? AND owner != ? AND until > ?",
            (job, owner, time.time()),
        )
        held = [(tokens, usd) for tokens, usd, process in rows if _may_live(process)]
        return sum(tokens for tokens, _ in held), sum(usd for _, usd in held)

    def note_spent(
        self, job: str, owner: str, tokens: int, usd: float, held_tokens: int = 0, held_usd: float = 0.0
    ) -> None:
        """Write down what this start of a job has spent and holds back."""
        self._holds = True
        values = (job, owner, tokens, usd, held_tokens, held_usd, self.owner, time.time() + LEASE)
        self.connection.execute("INSERT OR REPLACE INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)

    def strike_out(self, job: str, owner: str) -> bool:
        """Drop a line of the ledger; False where there is none."""
        return self.connection.execute("DELETE FROM ledger WHERE job = ? AND owner = ?", (job, owner)).rowcount > 0

    def forget_spent(self, job: str) -> None:
        """A job is done: another run of it has its whole budget."""
        self.connection.execute("DELETE FROM ledger WHERE job = ?", (job,))

    def get(self, key: str) -> dict | None:
        """The stored value: response (as it came), finish_reason, model, tokens_in, tokens_out, time; or None."""
        row = self.connection.execute("SELECT value FROM responses WHERE key = ?", (key,)).fetchone()
        try:
            return None if row is None else json.loads(row[0])
        except (ValueError, TypeError, RecursionError):
            log.warning("an answer in %s is damaged, and is asked for again", self.path)
            return None

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

    def put(self, key: str, value: dict) -> dict:
        """Store a value in place of an older one, and return what is stored: with the time (seconds since 1970, UTC),
        without keys that an endpoint repeated."""
        told = {**value, "time": time.time()}
        text = json.dumps(told)
        clean = redact(text, known_secrets())
        self.connection.execute("INSERT OR REPLACE INTO responses VALUES (?, ?)", (key, clean))
        return told if clean == text else json.loads(clean)


def _is_damage(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _readable_rows(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """The answers before the first damaged place, and those behind the last one."""
    for order in ("ASC", "DESC"):
        try:
            for key, value in connection.execute(f"SELECT key, value FROM responses ORDER BY rowid {order}"):
                if isinstance(key, str) and isinstance(value, str):
                    yield key, value
        except sqlite3.Error as error:
            log.debug("%s", error)


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
