"""Shows a run in the terminal: one line, its progress and how long yet; without a terminal sparse lines."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TextIO

from gisttools.common import NOTICES

LATER: ContextVar[str] = ContextVar("later", default="")  # what comes after the run under way
_SPARSE = 30.0  # seconds between two lines of progress where there is no terminal
_CLEAR = "\r\x1b[2K"


@contextmanager
def line(title: str, status: Path, out: TextIO | None = None, *, later: str = "") -> Iterator[list[str]]:
    """One terminal line: title, then progress and time while it works, at last how long it took and what came out.

    Where there is no terminal a line of progress follows each half minute; what the run says once (`notice`) is a line
    of its own in either case. `later`: what comes after this step.
    """
    shown, said = _Line(title, status, out or sys.stdout, later), []
    shown.begin()
    try:
        yield said
    finally:
        shown.end(said)


class _Line:
    def __init__(self, title: str, status: Path, out: TextIO, later: str) -> None:
        self.title, self.status, self.out, self.later = title, status, out, later
        self.notices, self.told = status.with_name(NOTICES), 0
        self.live, self.started, self.done = out.isatty(), time.monotonic(), threading.Event()
        self.broken = False  # lines stand between the title and its end
        # what is gathered, to be told at the end, needs no progress
        gathered = isinstance(out, io.StringIO) and not self.live
        self.worker = None if gathered else threading.Thread(target=self._watch, daemon=True)

    def begin(self) -> None:
        if not self.live:
            self._write(f"{self.title} ... ")
        if self.worker:
            self.worker.start()

    def end(self, said: list[str]) -> None:
        self.done.set()
        if self.worker:
            self.worker.join()
        self._tell_news()
        self.notices.unlink(missing_ok=True)
        text = ", ".join([f"{time.monotonic() - self.started:.0f} s", *said])
        begun = self.live or self.broken
        self._write(f"{_CLEAR if self.live else ''}{f'{self.title} ... ' if begun else ''}{text}\n")

    def _watch(self) -> None:
        last = self.started
        while not self.done.wait(0.5):
            self._tell_news()
            now = time.monotonic()
            text = f"{now - self.started:.0f} s  " + "; ".join(filter(None, [_read(self.status), self.later]))
            if self.live:
                self._write(f"{_CLEAR}{self.title} ... {text}"[: _width()])
            elif now - last >= _SPARSE:
                last = now
                self._say(text)

    def _tell_news(self) -> None:
        text = _read(self.notices)
        lines = text[: text.rfind("\n") + 1].splitlines()  # the last one may be half written
        for text in lines[self.told :]:
            self._say(text)
        self.told = len(lines)

    def _say(self, text: str) -> None:
        """A line of its own."""
        begin = _CLEAR if self.live else "" if self.broken else "\n"
        self._write(f"{begin}    {text}\n")
        self.broken = True

    def _write(self, text: str) -> None:
        self.out.write(text)
        self.out.flush()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _width() -> int:
    try:
        return os.get_terminal_size().columns + len(_CLEAR) - 1
    except OSError:
        return 120
