"""What a run says in the terminal: one line, that moves while it works."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@contextmanager
def line(title: str, status: Path, out: TextIO | None = None) -> Iterator[list[str]]:
    """One terminal line: title, then progress and time while it works, at last how long it took and what came out."""
    out = out or sys.stdout
    live, done, started, said = out.isatty(), threading.Event(), time.monotonic(), []

    def redraw() -> None:
        while not done.wait(0.5):
            try:
                progress = status.read_text(encoding="utf-8")
            except OSError:
                progress = ""
            out.write(f"\r\x1b[2K{title} ... {time.monotonic() - started:.0f} s  {progress}"[: _width()])
            out.flush()

    if live:
        threading.Thread(target=redraw, daemon=True).start()
    else:
        out.write(f"{title} ... ")
        out.flush()
    try:
        yield said
    finally:
        done.set()
        took = f"{time.monotonic() - started:.0f} s"
        end = ", ".join([took, *said])
        out.write(f"\r\x1b[2K{title} ... {end}\n" if live else f"{end}\n")
        out.flush()


def _width() -> int:
    try:
        return os.get_terminal_size().columns + len("\r\x1b[2K") - 1
    except OSError:
        return 120
